#include "probes/io/icmp_filter.hpp"

namespace reachd {
namespace {

constexpr std::uint32_t accept_bytes = 0xffff;

sock_filter statement(unsigned code, std::uint32_t k) {
    return {static_cast<std::uint16_t>(code), 0, 0, k};
}

sock_filter jump(unsigned code, std::uint32_t k, std::uint8_t if_true, std::uint8_t if_false) {
    return {static_cast<std::uint16_t>(code), if_true, if_false, k};
}

sock_filter jump_equal(std::uint32_t k, std::uint8_t if_true, std::uint8_t if_false) {
    return jump(BPF_JMP | BPF_JEQ | BPF_K, k, if_true, if_false);
}

/// Accepts when the 16 bits now in A are one of our identifiers; the last four of any program.
void append_identifier_check(std::vector<sock_filter>& program, EchoIdentifiers identifiers) {
    program.push_back(statement(BPF_ALU | BPF_AND | BPF_K,
                                static_cast<std::uint16_t>(~(identifiers.count - 1U))));
    program.push_back(jump_equal(identifiers.first, 0, 1));
    program.push_back(statement(BPF_RET | BPF_K, accept_bytes));
    program.push_back(statement(BPF_RET | BPF_K, 0));
}

std::vector<sock_filter> ipv4_filter(EchoIdentifiers identifiers) {
    // X is the offset of the ICMP header, later that of the quoted one.
    std::vector<sock_filter> program{
        statement(BPF_LDX | BPF_B | BPF_MSH, 0),   //  0  X = 4 * header length
        statement(BPF_LD | BPF_B | BPF_IND, 0),    //  1  A = type
        jump_equal(0, 12, 0),                      //  2  echo reply: to 15
        jump_equal(3, 2, 0),                       //  3  unreachable: to 6
        jump_equal(11, 1, 0),                      //  4  time exceeded: to 6
        statement(BPF_RET | BPF_K, 0),             //  5
        statement(BPF_LD | BPF_B | BPF_IND, 17),   //  6  A = quoted protocol
        jump_equal(1, 1, 0),                       //  7  ICMP: to 9
        statement(BPF_RET | BPF_K, 0),             //  8
        statement(BPF_LD | BPF_B | BPF_IND, 8),    //  9  A = quoted version and length
        statement(BPF_ALU | BPF_AND | BPF_K, 15),  // 10
        statement(BPF_ALU | BPF_LSH | BPF_K, 2),   // 11
        statement(BPF_ALU | BPF_ADD | BPF_K, 8),   // 12
        statement(BPF_ALU | BPF_ADD | BPF_X, 0),   // 13
        statement(BPF_MISC | BPF_TAX, 0),          // 14  X = offset of the quoted ICMP header
        statement(BPF_LD | BPF_H | BPF_IND, 4),    // 15  A = identifier
    };
    append_identifier_check(program, identifiers);
    return program;
}

std::vector<sock_filter> ipv6_filter(EchoIdentifiers identifiers) {
    std::vector<sock_filter> program{
        statement(BPF_LD | BPF_B | BPF_ABS, 0),          //  0  A = type
        jump_equal(129, 11, 0),                          //  1  echo reply: to 13
        jump(BPF_JMP | BPF_JGE | BPF_K, 4, 9, 0),        //  2  not 0 to 3: to 12
        statement(BPF_LD | BPF_B | BPF_ABS, 14),         //  3  A = quoted next header
        jump_equal(58, 10, 0),                           //  4  ICMPv6: to 15
        jump_equal(44, 0, 6),                            //  5  no fragment header: to 12
        statement(BPF_LD | BPF_B | BPF_ABS, 48),         //  6  A = the one after it
        jump_equal(58, 0, 4),                            //  7  not ICMPv6: to 12
        statement(BPF_LD | BPF_H | BPF_ABS, 50),         //  8  A = fragment offset and flags
        jump(BPF_JMP | BPF_JSET | BPF_K, 0xfff8, 2, 0),  //  9  not the first one: to 12
        statement(BPF_LD | BPF_H | BPF_ABS, 60),         // 10  A = identifier behind it
        jump(BPF_JMP | BPF_JA, 4, 0, 0),                 // 11  to 16
        statement(BPF_RET | BPF_K, 0),                   // 12
        statement(BPF_LD | BPF_H | BPF_ABS, 4),          // 13  A = identifier
        jump(BPF_JMP | BPF_JA, 1, 0, 0),                 // 14  to 16
        statement(BPF_LD | BPF_H | BPF_ABS, 52),         // 15  A = quoted identifier
    };
    append_identifier_check(program, identifiers);
    return program;
}

}  // namespace

std::vector<sock_filter> icmp_filter(Family family, EchoIdentifiers identifiers) {
    return family == Family::ipv4 ? ipv4_filter(identifiers) : ipv6_filter(identifiers);
}

}  // namespace reachd
