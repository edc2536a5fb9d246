// Fuzz target: frames that a guest sends. Whatever the bytes are, what is made of them keeps the
// promises of probes/neighbour_packet.hpp, and was let through by the filter before. What we ask is
// read as what it is.
//
//   input = a frame; its bytes are also the addresses of a question of ours
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "common/bytes.hpp"
#include "common/check.hpp"
#include "probes/neighbour_filter.hpp"
#include "probes/neighbour_packet.hpp"
#include "tests/probes/classic_bpf.hpp"

namespace reachd {
namespace {

using Kind = NeighbourFrame::Kind;

constexpr std::size_t ether_type_at = 12;
constexpr std::uint16_t ether_type_ipv4 = 0x0800;
constexpr std::uint16_t ether_type_vlan = 0x8100;
constexpr std::uint16_t ether_type_service_vlan = 0x88a8;

bool contains(ByteView bytes, ByteView part) {
    return std::search(bytes.begin(), bytes.end(), part.begin(), part.end()) != bytes.end();
}

bool is_ipv6(Kind kind) {
    return kind == Kind::solicitation || kind == Kind::advertisement;
}

void check_frame(const NeighbourFrame& frame, ByteView bytes) {
    ENSURE(!frame.frame_source.is_group() && !frame.frame_source.is_zero());
    ENSURE(!frame.mac.is_group() && !frame.mac.is_zero());
    ENSURE(frame.mac == frame.frame_source || frame.kind == Kind::dhcp_ack);
    ENSURE(frame.vlan <= 4095);
    const Family family = is_ipv6(frame.kind) ? Family::ipv6 : Family::ipv4;
    ENSURE(frame.address.family() == family);
    ENSURE(frame.address.scope() == IfIndex::any && frame.target.scope() == IfIndex::any);
    ENSURE(!frame.address.is_multicast() && !frame.address.is_loopback());
    ENSURE(frame.address.is_unspecified() || contains(bytes, frame.address.bytes()));
    ENSURE(frame.target.is_unspecified() || contains(bytes, frame.target.bytes()));
    ENSURE(!frame.address.is_unspecified() || frame.is_probe());
    ENSURE(!frame.solicited || (frame.kind == Kind::advertisement && !frame.target.is_multicast()));
    if (frame.is_probe()) {
        ENSURE(frame.kind == Kind::arp_request || frame.kind == Kind::solicitation ||
               frame.kind == Kind::dhcp_request);
    }
}

/// What the filter does not know: a second tag, a service tag, DHCP with IPv4 options.
bool is_beyond_filter(ByteView bytes) {
    std::size_t at = ether_type_at;
    if (read_u16(bytes, at) == ether_type_vlan) {
        at += 4;
    }
    const auto type = read_u16(bytes, at);
    const bool is_tag = type == ether_type_vlan || type == ether_type_service_vlan;
    return is_tag || (type == ether_type_ipv4 && read_u8(bytes, at + 2) != 0x45);
}

void read_all_ways(ByteView bytes) {
    const auto strict = read_neighbour_frame(bytes);
    const auto lenient = read_neighbour_frame(bytes, Checksum::left_to_device);
    if (strict) {
        check_frame(*strict, bytes);
        ENSURE(lenient && lenient->kind == strict->kind && lenient->address == strict->address);
    }
    if (lenient) {
        check_frame(*lenient, bytes);
        const auto verdict = test::BpfMachine(bytes).run(neighbour_filter());
        ENSURE(verdict.bytes >= bytes.size() || is_beyond_filter(bytes) ||
               bytes.size() > neighbour_frame_bytes_max);
    } else if (strict.error() == FrameFlaw::foreign) {
        ENSURE(lenient.error() == FrameFlaw::foreign);
    }
    static_cast<void>(read_request_target(bytes));
}

MacAddress station(ByteView bytes) {
    std::array<std::uint8_t, MacAddress::size> octets{};
    std::copy_n(bytes.begin(), octets.size(), octets.begin());
    octets[0] = static_cast<std::uint8_t>((octets[0] | 2U) & ~1U);
    return MacAddress(octets);
}

/// Our question, read by a host that is as strict as we are.
void ask(ByteView input) {
    std::array<std::uint8_t, 44> fields{};
    std::copy_n(input.begin(), std::min(input.size(), fields.size()), fields.begin());
    const ByteView bytes(fields);
    const std::size_t size = (fields[43] & 1U) != 0 ? 16 : 4;
    NeighbourTarget target{IfIndex{1},
                           *IpAddress::from_bytes(bytes.subspan(0, size)),
                           station(bytes.subspan(32)),
                           station(bytes.subspan(38)),
                           *IpAddress::from_bytes(bytes.subspan(16, size))};
    if (size == 16 && target.sender.is_unspecified()) {
        return;
    }
    std::array<std::uint8_t, neighbour_request_bytes_max> frame{};
    const ByteView written = ByteView(frame).first(write_neighbour_request(target, frame));
    ENSURE(read_request_target(written) == target.address);
    const auto found = read_neighbour_frame(written);
    if (!found) {
        return;  // addresses that no host has
    }
    ENSURE(found->frame_destination == target.mac && found->mac == target.sender_mac);
    ENSURE(found->address == target.sender && found->target == target.address);
}

}  // namespace
}  // namespace reachd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const reachd::ByteView input(data, size);
    reachd::read_all_ways(input);
    reachd::ask(input);
    return 0;
}
