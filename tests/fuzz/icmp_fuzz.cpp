// Fuzz target: packets from anywhere. Each input is read in every way a socket might read it, and
// what comes out must agree with the bytes; what was encoded must come back.
//
//   input = a packet; its first byte also chooses the family of the way back
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "common/bytes.hpp"
#include "common/check.hpp"
#include "probes/icmp_packet.hpp"

namespace reachd {
namespace {

using Bytes = std::vector<std::uint8_t>;

bool contains(ByteView bytes, ByteView part) {
    return std::search(bytes.begin(), bytes.end(), part.begin(), part.end()) != bytes.end();
}

/// A cookie is never made up: it stands in the packet as it is.
void check_cookie(const ProbeCookie& cookie, ByteView bytes) {
    std::array<std::uint8_t, ProbeCookie::bytes> wire{};
    cookie.write(wire);
    ENSURE(contains(bytes, wire));
}

void check_error(const EchoError& error, ByteView bytes, Family family) {
    ENSURE(is_loss(error.reason));
    ENSURE(error.destination.family() == family && error.source.family() == family);
    ENSURE(contains(bytes, error.destination.bytes()) && contains(bytes, error.source.bytes()));
    ENSURE(error.mtu == 0 || error.reason == FailureReason::too_big);
    if (error.cookie) {
        check_cookie(*error.cookie, bytes);
    }
}

void check_packet(const IcmpPacket& packet, ByteView bytes, Family family) {
    if (const auto* reply = std::get_if<EchoReply>(&packet)) {
        ENSURE(bytes.size() >= echo_head_bytes);
        check_cookie(reply->cookie, bytes);
    } else if (const auto* error = std::get_if<EchoError>(&packet)) {
        check_error(*error, bytes, family);
    }
}

void read_all_ways(ByteView bytes) {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        for (const bool whole : {true, false}) {
            for (const Framing framing : {Framing::icmp, Framing::ipv4_header}) {
                check_packet(decode_icmp(bytes, family, framing, whole), bytes, family);
            }
        }
        if (const auto looped = decode_looped_request(bytes, family)) {
            check_cookie(*looped, bytes);
        }
        const std::uint8_t type = bytes.empty() ? std::uint8_t{0} : bytes.front();
        const auto error = decode_icmp_error(type, 0, 1400, tail(bytes, 1), family);
        if (const auto* found = std::get_if<EchoError>(&error)) {
            check_error(*found, bytes, family);
        }
    }
}

/// Our request, turned into the reply an honest host makes of it, is the reply to our request.
void go_and_return(ByteView input, Family family) {
    std::array<std::uint8_t, ProbeCookie::bytes + 2> fields{};
    std::copy_n(input.begin(), std::min(input.size(), fields.size()), fields.begin());
    const ProbeCookie cookie = *ProbeCookie::read(fields);
    const std::uint16_t identifier = *read_u16(fields, ProbeCookie::bytes);
    Bytes message(echo_head_bytes + input.size());
    encode_echo_request(message, family, identifier, cookie);
    const bool v4 = family == Family::ipv4;
    ENSURE(!v4 || internet_checksum(message) == 0);
    message[0] = v4 ? 0 : 129;
    if (v4) {
        message[2] = message[3] = 0;
        write_big_endian(ByteSpan(message), 2, internet_checksum(message));
    }
    const auto packet = decode_icmp(message, family, Framing::icmp, true);
    const auto* reply = std::get_if<EchoReply>(&packet);
    ENSURE(reply != nullptr && reply->identifier == identifier);
    ENSURE(reply->cookie.tag == cookie.tag && reply->cookie.token == cookie.token);
}

}  // namespace
}  // namespace reachd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const reachd::ByteView input(data, size);
    reachd::read_all_ways(input);
    const bool v6 = size > 0 && (data[0] & 1U) != 0;
    reachd::go_and_return(reachd::tail(input, 1), v6 ? reachd::Family::ipv6 : reachd::Family::ipv4);
    return 0;
}
