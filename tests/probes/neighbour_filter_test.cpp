// The filter, run by an interpreter of classic BPF: what passes, and how many instructions the
// traffic that does not pass has to pay.
#include "probes/neighbour_filter.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/probes/classic_bpf.hpp"
#include "tests/probes/neighbour_frame_builder.hpp"

namespace reachd {
namespace {

using test::arp;
using test::Bytes;
using test::ethernet;
using test::ip;
using test::mac;
using test::nd;
using test::with_tag;

const MacAddress guest = mac("52:54:00:00:00:01");
const MacAddress host = mac("52:54:00:00:00:02");

test::BpfVerdict run(const Bytes& frame) {
    return test::BpfMachine(frame).run(neighbour_filter());
}

bool passes(const Bytes& frame) {
    const auto bytes = run(frame).bytes;
    return bytes > 0 && bytes >= frame.size();
}

Bytes udp_frame(std::size_t from, std::size_t to, std::size_t bytes = 300) {
    return ethernet(
        host, guest, 0x0800, test::udp(ip("10.0.0.1"), ip("10.0.0.2"), from, to, Bytes(bytes)));
}

Bytes ipv6_frame(std::uint8_t type, std::uint8_t hop_limit, std::uint8_t next_header = 58) {
    Bytes packet =
        test::icmpv6(ip("fe80::1"), ip("fe80::2"), nd(type, 0, ip("fe80::2")), hop_limit);
    packet[6] = next_header;
    return ethernet(host, guest, 0x86dd, packet);
}

Bytes ipv4_frame(std::uint8_t protocol) {
    return ethernet(host,
                    guest,
                    0x0800,
                    test::ipv4_packet(ip("10.0.0.1"), ip("10.0.0.2"), Bytes(40), 0, protocol));
}

Bytes with_protocol(Bytes ipv4, std::uint8_t protocol) {
    ipv4.at(23) = protocol;
    return ipv4;
}

Bytes arp_frame() {
    return ethernet(
        host, guest, 0x0806, arp(1, guest, ip("10.0.0.1"), MacAddress{}, ip("10.0.0.2")));
}

TEST_CASE("neighbour filter: ARP, neighbour discovery and DHCP pass, tagged or not") {
    const std::vector<Bytes> wanted{
        arp_frame(),
        ipv6_frame(135, 255),
        ipv6_frame(136, 255),
        udp_frame(68, 67),
        udp_frame(67, 68),
    };
    for (const Bytes& frame : wanted) {
        CHECK(passes(frame));
        CHECK(passes(with_tag(frame, 0x2005)));
        CHECK_FALSE(passes(with_tag(with_tag(frame, 5), 6)));
        CHECK_FALSE(passes(with_tag(frame, 5, 0x88a8)));
    }
}

TEST_CASE("neighbour filter: everything else is dropped") {
    std::vector<Bytes> unwanted{
        ipv4_frame(6),
        ipv4_frame(1),
        with_protocol(udp_frame(68, 67), 6),
        udp_frame(53, 53),
        udp_frame(67, 67),
        udp_frame(68, 68),
        udp_frame(1067, 68),
        ipv6_frame(135, 254),
        ipv6_frame(136, 64),
        ipv6_frame(134, 255),
        ipv6_frame(128, 255),
        ipv6_frame(135, 255, 0),
        ipv6_frame(135, 255, 44),
        ethernet(host, guest, 0x88cc, Bytes(100)),
        ethernet(
            host,
            guest,
            0x0800,
            test::ipv4_packet(ip("10.0.0.1"), ip("10.0.0.2"), {0, 68, 0, 67, 0, 8, 0, 0}, 10, 17)),
        ethernet(host, guest, 0x8035, Bytes(28)),
    };
    for (const std::size_t fragment : {0x2000U, 0x0001U, 0x1fffU}) {
        unwanted.push_back(udp_frame(68, 67));
        test::put_u16(unwanted.back(), 20, fragment);
    }
    for (const Bytes& frame : unwanted) {
        CHECK_FALSE(passes(frame));
        CHECK_FALSE(passes(with_tag(frame, 5)));
    }
}

TEST_CASE("neighbour filter: don't fragment is no fragment") {
    Bytes frame = udp_frame(68, 67);
    test::put_u16(frame, 20, 0x4000);
    CHECK(passes(frame));
}

TEST_CASE("neighbour filter: cut short anywhere, a frame passes or not, and nothing breaks") {
    for (const Bytes& whole : {arp_frame(), ipv6_frame(135, 255), udp_frame(68, 67, 20)}) {
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            if (passes(cut)) {
                CHECK(size >= 14);
            }
        }
    }
}

TEST_CASE("neighbour filter: of a macvtap only what goes out") {
    const Bytes frame = arp_frame();
    test::BpfMachine machine(frame);
    CHECK(machine.run(neighbour_filter(PortUse::macvtap_guest)).bytes == 0);
    machine.packet_type = 4;  // PACKET_OUTGOING
    CHECK(machine.run(neighbour_filter(PortUse::macvtap_guest)).bytes >= frame.size());
}

TEST_CASE("neighbour filter: of gateways only answers") {
    const auto passed = [](const Bytes& frame, PortUse use) {
        const auto bytes = test::BpfMachine(frame).run(neighbour_filter(use)).bytes;
        return bytes > 0 && bytes >= frame.size();
    };
    const Bytes reply =
        ethernet(host, guest, 0x0806, arp(2, guest, ip("10.0.0.1"), host, ip("10.0.0.2")));
    CHECK(passed(reply, PortUse::gateway_arp));
    CHECK_FALSE(passed(arp_frame(), PortUse::gateway_arp));
    CHECK(passed(ipv6_frame(136, 255), PortUse::gateway_nd));
    for (const Bytes& frame : {ipv6_frame(135, 255),
                               ipv6_frame(134, 255),
                               ipv6_frame(136, 64),
                               ipv6_frame(136, 255, 6)}) {
        CHECK_FALSE(passed(frame, PortUse::gateway_nd));
    }
    // What is sent to everybody is no answer to us, and anybody could fill the buffer with it.
    for (const MacAddress& group : {mac("ff:ff:ff:ff:ff:ff"), mac("33:33:00:00:00:01")}) {
        Bytes frame = reply;
        std::copy(group.bytes().begin(), group.bytes().end(), frame.begin());
        CHECK_FALSE(passed(frame, PortUse::gateway_arp));
        CHECK(passed(frame, PortUse::guest));
        frame = ipv6_frame(136, 255);
        std::copy(group.bytes().begin(), group.bytes().end(), frame.begin());
        CHECK_FALSE(passed(frame, PortUse::gateway_nd));
        CHECK(passed(frame, PortUse::guest));
    }
    Bytes giant = reply;
    giant.resize(neighbour_frame_bytes_max + 1);
    CHECK_FALSE(passed(giant, PortUse::gateway_arp));
    for (std::size_t size = 0; size < 22; ++size) {
        const Bytes cut(reply.begin(), reply.begin() + static_cast<std::ptrdiff_t>(size));
        CHECK_FALSE(passed(cut, PortUse::gateway_arp));
    }
    // All IPv6 traffic of an uplink pays this much.
    CHECK(test::BpfMachine(ipv6_frame(135, 64, 6))
              .run(neighbour_filter(PortUse::gateway_nd))
              .instructions <= 3);
}

TEST_CASE("neighbour filter: giants are dropped") {
    Bytes frame = arp_frame();
    frame.resize(neighbour_frame_bytes_max);
    CHECK(passes(frame));
    frame.push_back(0);
    CHECK_FALSE(passes(frame));
}

TEST_CASE("neighbour filter: other traffic is dropped after a few instructions") {
    CHECK(run(ipv4_frame(6)).instructions <= 6);
    CHECK(run(ipv4_frame(1)).instructions <= 6);
    CHECK(run(ipv6_frame(135, 64, 6)).instructions <= 6);
    CHECK(run(udp_frame(40000, 443)).instructions <= 6);
    CHECK(run(ipv6_frame(135, 64, 17)).instructions <= 6);
    CHECK(run(ethernet(host, guest, 0x88cc, Bytes(60))).instructions <= 6);
}

}  // namespace
}  // namespace reachd
