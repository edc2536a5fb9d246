// Frames that neighbours send, from real life and from liars; and what we ask, against the RFCs
// byte by byte.
#include "probes/neighbour_packet.hpp"

#include <algorithm>
#include <functional>
#include <string>

#include <catch2/catch.hpp>

#include "tests/probes/neighbour_frame_builder.hpp"

namespace reachd {
namespace {

using test::arp;
using test::Bytes;
using test::DhcpFields;
using test::ethernet;
using test::icmpv6;
using test::ip;
using test::join;
using test::link_layer_option;
using test::mac;
using test::nd;
using test::with_tag;
using Kind = NeighbourFrame::Kind;

const MacAddress guest = mac("52:54:00:00:00:01");
const MacAddress host = mac("52:54:00:00:00:02");
const MacAddress other = mac("52:54:00:00:00:03");
const MacAddress broadcast = mac("ff:ff:ff:ff:ff:ff");
const MacAddress nobody;
const IpAddress none_v6 = ip("::");

NeighbourFrame read(const Bytes& frame) {
    const auto found = read_neighbour_frame(frame);
    REQUIRE(found.has_value());
    return *found;
}

bool is_read(const Bytes& frame, Checksum checksum = Checksum::complete) {
    return read_neighbour_frame(frame, checksum).has_value();
}

bool is_foreign(const Bytes& frame) {
    const auto found = read_neighbour_frame(frame);
    return !found && found.error() == FrameFlaw::foreign;
}

bool is_damaged(const Bytes& frame) {
    const auto found = read_neighbour_frame(frame);
    return !found && found.error() == FrameFlaw::damaged;
}

Bytes arp_frame(std::size_t operation, std::string_view sender, std::string_view target) {
    return ethernet(
        broadcast, guest, 0x0806, arp(operation, guest, ip(sender), nobody, ip(target)));
}

Bytes nd_frame(const IpAddress& source, const IpAddress& destination, const Bytes& message) {
    return ethernet(host, guest, 0x86dd, icmpv6(source, destination, message));
}

Bytes solicitation(std::string_view source = "fe80::5", std::string_view target = "fd00::9") {
    return nd_frame(
        ip(source), ip("ff02::1:ff00:9"), nd(135, 0, ip(target), link_layer_option(1, guest)));
}

Bytes advertisement(std::string_view target = "fd00::9", std::string_view to = "fe80::7") {
    return nd_frame(ip("fe80::5"), ip(to), nd(136, 0x60, ip(target), link_layer_option(2, guest)));
}

Bytes dhcp_frame(const IpAddress& source, const DhcpFields& fields) {
    const bool to_server = fields.operation == 1;
    return ethernet(broadcast,
                    to_server ? fields.hardware : host,
                    0x0800,
                    test::udp(source,
                              ip("255.255.255.255"),
                              to_server ? 68 : 67,
                              to_server ? 67 : 68,
                              test::dhcp(fields)));
}

Bytes dhcp_request(const Bytes& options = {53, 1, 3, 50, 4, 10, 0, 0, 9, 255}) {
    DhcpFields fields;
    fields.hardware = guest;
    fields.options = options;
    return dhcp_frame(IpAddress{}, fields);
}

Bytes dhcp_ack(std::string_view granted = "10.0.0.9") {
    DhcpFields fields;
    fields.operation = 2;
    fields.hardware = guest;
    fields.yours = ip(granted);
    fields.options = {53, 1, 5, 51, 4, 0, 0, 14, 16, 255};
    return dhcp_frame(ip("10.0.0.1"), fields);
}

/// One of each, all valid.
std::vector<Bytes> one_of_each() {
    return {arp_frame(1, "10.0.0.9", "10.0.0.1"),
            arp_frame(2, "10.0.0.9", "10.0.0.1"),
            solicitation(),
            advertisement(),
            dhcp_request(),
            dhcp_ack()};
}

Bytes changed(Bytes frame, std::size_t at, std::size_t value) {
    frame.at(at) = static_cast<std::uint8_t>(value);
    return frame;
}

// ---- What we ask

NeighbourTarget target_of(std::string_view address, std::string_view sender) {
    return {IfIndex{4}, ip(address), guest, host, ip(sender)};
}

Bytes written(const NeighbourTarget& target) {
    Bytes frame(neighbour_request_bytes_max + 10, 0xee);
    frame.resize(write_neighbour_request(target, frame));
    return frame;
}

TEST_CASE("neighbour request: an ARP probe, unicast") {
    CHECK(written(target_of("10.0.0.9", "0.0.0.0")) ==
          ethernet(guest, host, 0x0806, arp(1, host, IpAddress{}, nobody, ip("10.0.0.9"))));
}

TEST_CASE("neighbour request: ARP by the configured sender") {
    CHECK(written(target_of("10.0.0.9", "10.0.0.1")) ==
          ethernet(guest, host, 0x0806, arp(1, host, ip("10.0.0.1"), nobody, ip("10.0.0.9"))));
}

TEST_CASE("neighbour request: a solicitation, unicast, with our link-layer address") {
    const Bytes message = nd(135, 0, ip("fd00::9"), link_layer_option(1, host));
    CHECK(written(target_of("fd00::9", "fe80::7")) ==
          ethernet(guest, host, 0x86dd, icmpv6(ip("fe80::7"), ip("fd00::9"), message)));
}

TEST_CASE("neighbour request: to whoever has the address") {
    NeighbourTarget target = target_of("10.0.0.9", "10.0.0.1");
    target.mac.reset();
    CHECK(written(target) ==
          ethernet(broadcast, host, 0x0806, arp(1, host, ip("10.0.0.1"), nobody, ip("10.0.0.9"))));
    target = target_of("fd00::12:3456", "fe80::7");
    target.mac.reset();
    const Bytes message = nd(135, 0, ip("fd00::12:3456"), link_layer_option(1, host));
    const Bytes frame = written(target);
    CHECK(frame == ethernet(test::mac("33:33:ff:12:34:56"),
                            host,
                            0x86dd,
                            icmpv6(ip("fe80::7"), ip("ff02::1:ff12:3456"), message)));
    CHECK(read(frame).target == ip("fd00::12:3456"));
    CHECK(read_request_target(frame) == ip("fd00::12:3456"));
}

TEST_CASE("neighbour request: what answers it") {
    const NeighbourTarget v4 = target_of("10.0.0.9", "10.0.0.1");
    NeighbourFrame answer;
    answer.kind = Kind::arp_reply;
    answer.frame_destination = host;
    answer.address = ip("10.0.0.9");
    answer.target = ip("10.0.0.1");
    CHECK(is_answer_to(v4, answer));
    const auto refused = [&](auto change) {
        NeighbourFrame changed_answer = answer;
        change(changed_answer);
        return !is_answer_to(v4, changed_answer);
    };
    CHECK(refused([](NeighbourFrame& frame) { frame.kind = Kind::arp_request; }));
    CHECK(refused([](NeighbourFrame& frame) { frame.address = ip("10.0.0.8"); }));
    CHECK(refused([](NeighbourFrame& frame) { frame.target = ip("10.0.0.9"); }));
    CHECK(refused([](NeighbourFrame& frame) { frame.frame_destination = other; }));
    CHECK(refused([](NeighbourFrame& frame) { frame.vlan = 1; }));

    NeighbourTarget v6 = target_of("fe80::9", "fe80::7");
    v6.address.set_scope(IfIndex{4});
    answer.kind = Kind::advertisement;
    answer.address = ip("fe80::9");
    answer.target = ip("fe80::7");
    CHECK_FALSE(is_answer_to(v6, answer));  // nobody asked for it
    answer.solicited = true;
    CHECK(is_answer_to(v6, answer));
}

TEST_CASE("neighbour request: what is written can be read") {
    for (const auto& [address, sender] : {std::pair{"10.0.0.9", "0.0.0.0"},
                                          std::pair{"10.0.0.9", "10.0.0.1"},
                                          std::pair{"fd00::9", "fe80::7"}}) {
        const Bytes frame = written(target_of(address, sender));
        const NeighbourFrame found = read(frame);
        CHECK(found.kind ==
              (found.target.family() == Family::ipv4 ? Kind::arp_request : Kind::solicitation));
        CHECK(found.mac == host);
        CHECK(found.address == ip(sender));
        CHECK(found.target == ip(address));
        CHECK(read_request_target(frame) == ip(address));
        CHECK(read_request_target(join({frame, Bytes(18)})) == ip(address));
        for (std::size_t size = 0; size < frame.size(); ++size) {
            CHECK(read_request_target(ByteView(frame).first(size)) == std::nullopt);
        }
    }
    CHECK(read_request_target(Bytes(100)) == std::nullopt);
}

TEST_CASE("neighbour request: a scope goes into no packet") {
    NeighbourTarget target = target_of("fe80::9", "fe80::7");
    const Bytes frame = written(target);
    target.address.set_scope(IfIndex{4});
    CHECK(written(target) == frame);
}

// ---- ARP

TEST_CASE("neighbour frame: ARP request") {
    const NeighbourFrame found = read(arp_frame(1, "10.0.0.9", "10.0.0.1"));
    CHECK(found.kind == Kind::arp_request);
    CHECK(found.frame_source == guest);
    CHECK(found.frame_destination == broadcast);
    CHECK(found.mac == guest);
    CHECK(found.address == ip("10.0.0.9"));
    CHECK(found.target == ip("10.0.0.1"));
    CHECK(found.vlan == 0);
    CHECK_FALSE(found.is_probe());
}

TEST_CASE("neighbour frame: ARP announcement, probe, and reply to a probe") {
    CHECK_FALSE(read(arp_frame(1, "10.0.0.9", "10.0.0.9")).is_probe());
    const NeighbourFrame probe = read(arp_frame(1, "0.0.0.0", "10.0.0.9"));
    CHECK(probe.is_probe());
    CHECK(probe.target == ip("10.0.0.9"));
    const NeighbourFrame reply = read(arp_frame(2, "10.0.0.9", "0.0.0.0"));
    CHECK(reply.kind == Kind::arp_reply);
    CHECK(reply.address == ip("10.0.0.9"));
    CHECK_FALSE(reply.is_probe());
}

TEST_CASE("neighbour frame: ARP that is not ours to read") {
    const Bytes good = arp_frame(1, "10.0.0.9", "10.0.0.1");
    CHECK(is_foreign(changed(good, 15, 6)));   // IEEE 802 hardware
    CHECK(is_foreign(changed(good, 17, 1)));   // another protocol
    CHECK(is_foreign(changed(good, 21, 3)));   // reverse request
    CHECK(is_foreign(changed(good, 21, 9)));   // inverse reply
    CHECK(is_foreign(changed(good, 20, 1)));   // operation 257
    CHECK(is_damaged(changed(good, 18, 8)));   // length of a hardware address
    CHECK(is_damaged(changed(good, 19, 16)));  // length of a protocol address
}

TEST_CASE("neighbour frame: an ARP sender other than the frame's is refused") {
    CHECK(is_damaged(
        ethernet(host, guest, 0x0806, arp(2, other, ip("10.0.0.9"), host, ip("10.0.0.1")))));
    CHECK(is_damaged(
        ethernet(host, guest, 0x0806, arp(2, nobody, ip("10.0.0.9"), host, ip("10.0.0.1")))));
}

TEST_CASE("neighbour frame: a router may answer for a virtual address") {
    const auto read_any = [](const Bytes& frame) {
        const auto found = read_neighbour_frame(frame, Checksum::complete, Speaker::anybody);
        return found ? std::optional(*found) : std::nullopt;
    };
    const auto arp_by = [](const MacAddress& owner) {
        return ethernet(host, guest, 0x0806, arp(2, owner, ip("10.0.0.9"), host, ip("10.0.0.1")));
    };
    CHECK(is_damaged(arp_by(other)));
    const auto reply = read_any(arp_by(other));
    REQUIRE(reply.has_value());
    CHECK(reply->mac == other);
    CHECK(reply->frame_source == guest);
    CHECK_FALSE(read_any(arp_by(nobody)).has_value());
    CHECK_FALSE(read_any(arp_by(broadcast)).has_value());

    const auto advertised = [](const Bytes& option) {
        const Bytes message = nd(136, 0x60, ip("fe80::9"), option);
        return ethernet(host, guest, 0x86dd, icmpv6(ip("fe80::9"), ip("fe80::7"), message));
    };
    CHECK(is_damaged(advertised(link_layer_option(2, other))));
    const auto answer = read_any(advertised(link_layer_option(2, other)));
    REQUIRE(answer.has_value());
    CHECK(answer->address == ip("fe80::9"));
    CHECK(answer->solicited);
    // Its options must have their places all the same.
    CHECK_FALSE(read_any(advertised({2, 0, 1, 2, 3, 4, 5, 6})).has_value());
}

TEST_CASE("neighbour frame: nobody has such an IPv4 address") {
    for (const std::string_view address :
         {"127.0.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255", "0.0.0.1", "0.1.2.3"}) {
        INFO(address);
        CHECK(is_damaged(arp_frame(1, address, "10.0.0.1")));
        CHECK(is_damaged(arp_frame(2, address, "10.0.0.1")));
    }
    CHECK(is_damaged(arp_frame(2, "0.0.0.0", "10.0.0.1")));  // a reply that claims nothing
    CHECK(is_damaged(arp_frame(1, "0.0.0.0", "0.0.0.0")));
    CHECK(is_read(arp_frame(1, "240.0.0.1", "10.0.0.1")));
}

// ---- Any frame

TEST_CASE("neighbour frame: groups and nobody do not send") {
    for (const Bytes& frame : one_of_each()) {
        CHECK(is_damaged(changed(frame, 6, 0x53)));
        Bytes from_nobody = frame;
        std::fill_n(from_nobody.begin() + 6, 6, std::uint8_t{0});
        CHECK(is_damaged(from_nobody));
    }
}

TEST_CASE("neighbour frame: padding is no part of it") {
    for (const Bytes& frame : one_of_each()) {
        const NeighbourFrame bare = read(frame);
        const NeighbourFrame padded = read(join({frame, Bytes(18, 0xa5)}));
        CHECK(padded.kind == bare.kind);
        CHECK(padded.address == bare.address);
        CHECK(padded.target == bare.target);
    }
}

TEST_CASE("neighbour frame: VLAN tags") {
    for (const Bytes& frame : one_of_each()) {
        CHECK(read(with_tag(frame, 0x6000 | 42)).vlan == 42);
        CHECK(read(with_tag(frame, 0x6000)).vlan == 0);  // a priority only
        CHECK(read(with_tag(frame, 42, 0x88a8)).vlan == 42);
        CHECK(read(with_tag(with_tag(frame, 7), 42, 0x88a8)).vlan == 42);
        CHECK(read(with_tag(with_tag(frame, 7), 0)).vlan == 7);
        CHECK(is_foreign(with_tag(with_tag(with_tag(frame, 1), 2), 3)));
        CHECK(read(with_tag(frame, 42)).address == read(frame).address);
    }
}

TEST_CASE("neighbour frame: cut short anywhere, it says nothing") {
    for (const Bytes& frame : one_of_each()) {
        for (const Bytes& whole : {frame, with_tag(frame, 42)}) {
            for (std::size_t size = 0; size < whole.size(); ++size) {
                const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
                CHECK_FALSE(is_read(cut));
            }
        }
    }
}

TEST_CASE("neighbour frame: other protocols are foreign") {
    for (const std::size_t type : {0x88ccU, 0x8035U, 0x0000U, 0x05dcU, 0x86ddU ^ 0x100U}) {
        CHECK(is_foreign(ethernet(broadcast, guest, type, Bytes(100))));
    }
}

// ---- Neighbour discovery

TEST_CASE("neighbour frame: solicitation") {
    const NeighbourFrame found = read(solicitation());
    CHECK(found.kind == Kind::solicitation);
    CHECK(found.mac == guest);
    CHECK(found.address == ip("fe80::5"));
    CHECK(found.target == ip("fd00::9"));
    CHECK_FALSE(found.is_probe());
    // The option is not needed: the frame names its sender.
    CHECK(read(nd_frame(ip("fd00::5"), ip("fd00::9"), nd(135, 0, ip("fd00::9")))).mac == guest);
}

TEST_CASE("neighbour frame: duplicate address detection") {
    const Bytes dad = nd_frame(none_v6, ip("ff02::1:ff00:9"), nd(135, 0, ip("fd00::9")));
    const NeighbourFrame found = read(dad);
    CHECK(found.is_probe());
    CHECK(found.address == none_v6);
    CHECK(found.target == ip("fd00::9"));
    // With a nonce (RFC 7527) as well.
    const Bytes nonce{14, 1, 1, 2, 3, 4, 5, 6};
    CHECK(
        read(nd_frame(none_v6, ip("ff02::1:ff00:9"), nd(135, 0, ip("fd00::9"), nonce))).is_probe());
    // RFC 4861, section 7.1.1.
    CHECK(is_damaged(nd_frame(
        none_v6, ip("ff02::1:ff00:9"), nd(135, 0, ip("fd00::9"), link_layer_option(1, guest)))));
    CHECK(is_damaged(nd_frame(none_v6, ip("fd00::9"), nd(135, 0, ip("fd00::9")))));
    CHECK(is_damaged(nd_frame(none_v6, ip("ff02::1"), nd(135, 0, ip("fd00::9")))));
    CHECK(is_damaged(nd_frame(none_v6, ip("ff02::1:ff00:8"), nd(135, 0, ip("fd00::9")))));
}

TEST_CASE("neighbour frame: advertisement") {
    const NeighbourFrame found = read(advertisement());
    CHECK(found.kind == Kind::advertisement);
    CHECK(found.mac == guest);
    CHECK(found.address == ip("fd00::9"));
    CHECK(found.target == ip("fe80::7"));
    CHECK(found.solicited);
    CHECK_FALSE(found.is_probe());
    const NeighbourFrame unsolicited =
        read(nd_frame(ip("fe80::5"), ip("ff02::1"), nd(136, 0x20, ip("fd00::9"))));
    CHECK_FALSE(unsolicited.solicited);
    CHECK(unsolicited.mac == guest);
    CHECK(unsolicited.target == ip("ff02::1"));
    // RFC 4861, section 7.1.2: an answer is sent to who asked.
    CHECK(is_damaged(advertisement("fd00::9", "ff02::1")));
    CHECK(is_damaged(nd_frame(none_v6, ip("ff02::1"), nd(136, 0x20, ip("fd00::9")))));
}

TEST_CASE("neighbour frame: a link-layer option other than the frame's sender is refused") {
    CHECK(is_damaged(nd_frame(
        ip("fe80::5"), ip("fe80::7"), nd(136, 0x60, ip("fd00::9"), link_layer_option(2, other)))));
    CHECK(is_damaged(nd_frame(ip("fe80::5"),
                              ip("ff02::1:ff00:9"),
                              nd(135, 0, ip("fd00::9"), link_layer_option(1, other)))));
    const Bytes twice = join({link_layer_option(2, guest), link_layer_option(2, other)});
    CHECK(is_damaged(nd_frame(ip("fe80::5"), ip("fe80::7"), nd(136, 0x60, ip("fd00::9"), twice))));
    // The other message's option says nothing.
    CHECK(is_read(nd_frame(
        ip("fe80::5"), ip("fe80::7"), nd(136, 0x60, ip("fd00::9"), link_layer_option(1, other)))));
}

TEST_CASE("neighbour frame: options that have no place") {
    const auto with = [](const Bytes& options) {
        return nd_frame(ip("fe80::5"), ip("fe80::7"), nd(136, 0x60, ip("fd00::9"), options));
    };
    CHECK(is_damaged(with({2, 0, 0, 0, 0, 0, 0, 0})));
    CHECK(is_damaged(with({99, 0})));
    CHECK(is_damaged(with({99, 2, 0, 0, 0, 0, 0, 0})));
    CHECK(is_damaged(with({99})));
    CHECK(is_damaged(with(join({link_layer_option(2, guest), {99}}))));
    CHECK(is_damaged(with(join({{2, 2}, Bytes(14)}))));
    CHECK(is_read(with(join({{99, 2}, Bytes(14), link_layer_option(2, guest)}))));
}

TEST_CASE("neighbour frame: nobody has such an IPv6 address") {
    for (const std::string_view address : {"::", "::1", "ff02::1", "ff02::1:ff00:9"}) {
        INFO(address);
        CHECK(is_damaged(advertisement(address)));
        CHECK(is_damaged(solicitation("fe80::5", address)));
        if (address != "::") {
            CHECK(is_damaged(solicitation(address)));
        }
    }
}

TEST_CASE("neighbour frame: IPv6 that no neighbour sends") {
    for (const Bytes& good : {solicitation(), advertisement()}) {
        CHECK(is_damaged(changed(good, 14, 0x40)));  // version
        CHECK(is_damaged(changed(good, 21, 254)));   // a router has forwarded it
        CHECK(is_damaged(changed(good, 55, 1)));     // code
        CHECK(is_damaged(changed(good, 57, good[57] ^ 1U)));
        CHECK(is_damaged(changed(good, 19, good[19] + 1U)));  // longer than the frame
        CHECK(is_damaged(changed(good, 19, 16)));
        CHECK(is_damaged(changed(good, 19, 0)));
        CHECK(is_foreign(changed(good, 20, 0)));   // hop-by-hop options
        CHECK(is_foreign(changed(good, 20, 44)));  // a fragment
        CHECK(is_foreign(changed(good, 20, 17)));
        CHECK(is_foreign(changed(good, 54, 134)));  // router advertisement
    }
}

TEST_CASE("neighbour frame: any one bit of a message that is wrong is noticed") {
    for (const Bytes& good : {solicitation(), advertisement()}) {
        for (std::size_t at = 22; at < good.size(); ++at) {  // from the IPv6 source on
            for (unsigned bit = 0; bit < 8; ++bit) {
                CHECK_FALSE(is_read(changed(good, at, good[at] ^ (1U << bit))));
            }
        }
    }
}

// ---- DHCP

TEST_CASE("neighbour frame: DHCP request of a client that has no address yet") {
    const NeighbourFrame found = read(dhcp_request());
    CHECK(found.kind == Kind::dhcp_request);
    CHECK(found.mac == guest);
    CHECK(found.address.is_unspecified());
    CHECK(found.target == ip("10.0.0.9"));
    CHECK(found.is_probe());
}

TEST_CASE("neighbour frame: DHCP request of a client that renews") {
    DhcpFields fields;
    fields.client = ip("10.0.0.9");
    fields.hardware = guest;
    fields.options = {53, 1, 3, 255};
    const NeighbourFrame found = read(dhcp_frame(ip("10.0.0.9"), fields));
    CHECK(found.address == ip("10.0.0.9"));
    CHECK(found.target == ip("10.0.0.9"));
    CHECK_FALSE(found.is_probe());
    CHECK(is_damaged(dhcp_frame(ip("10.0.0.8"), fields)));
}

TEST_CASE("neighbour frame: DHCP acknowledgement") {
    const NeighbourFrame found = read(dhcp_ack());
    CHECK(found.kind == Kind::dhcp_ack);
    CHECK(found.mac == guest);
    CHECK(found.frame_source == host);
    CHECK(found.address == ip("10.0.0.9"));
    CHECK(is_foreign(dhcp_ack("0.0.0.0")));  // of an INFORM
    CHECK(is_damaged(dhcp_ack("127.0.0.1")));
    CHECK(is_damaged(dhcp_ack("255.255.255.255")));
}

TEST_CASE("neighbour frame: other DHCP messages are foreign") {
    for (const std::uint8_t type : Bytes{1, 2, 4, 5, 6, 7, 8}) {
        INFO(int{type});
        CHECK(is_foreign(dhcp_request({53, 1, type, 255})));
    }
    CHECK(is_foreign(dhcp_request({255})));  // BOOTP has no type
    CHECK(is_foreign(dhcp_request({0, 0, 255, 53, 1, 3})));
    Bytes ack = dhcp_ack();
    ack[14 + 28 + 242] = 3;  // a request by the server
    test::put_u16(ack, 14 + 26, 0);
    CHECK(is_foreign(ack));
}

TEST_CASE("neighbour frame: DHCP options that have no place") {
    CHECK(is_damaged(dhcp_request({53, 1, 3, 50, 4, 10, 0, 0})));
    CHECK(is_damaged(dhcp_request({53, 1, 3, 50})));
    CHECK(is_damaged(dhcp_request({53, 2, 3, 3, 50, 4, 10, 0, 0, 9})));
    CHECK(is_damaged(dhcp_request({53, 0, 50, 4, 10, 0, 0, 9})));
    CHECK(is_damaged(dhcp_request({53, 1, 3, 50, 3, 10, 0, 0})));
    CHECK(is_damaged(dhcp_request({53, 1, 3, 12, 255, 1, 2, 3})));
    CHECK(is_damaged(dhcp_request({53, 1, 3})));  // wants nothing
    CHECK(read(dhcp_request({0, 0, 12, 0, 53, 1, 3, 50, 4, 10, 0, 0, 9})).is_probe());
}

TEST_CASE("neighbour frame: DHCP that is damaged") {
    const std::size_t udp = 14 + 20;
    const std::size_t message = udp + 8;
    for (const Bytes& good : {dhcp_request(), dhcp_ack()}) {
        const auto unchecked = [&](std::size_t at, std::size_t value) {
            Bytes frame = changed(good, at, value);
            test::put_u16(frame, udp + 6, 0);
            return frame;
        };
        CHECK(is_read(unchecked(message + 4, 1)));         // RFC 768: no checksum
        CHECK(is_damaged(changed(good, message + 4, 1)));  // a wrong one
        CHECK(is_damaged(unchecked(message, 3)));
        CHECK(is_damaged(unchecked(message + 1, 6)));
        CHECK(is_damaged(unchecked(message + 2, 16)));
        CHECK(is_foreign(unchecked(message + 239, 0)));    // no magic
        CHECK(is_damaged(unchecked(message + 28, 0x01)));  // chaddr is a group
        CHECK(is_damaged(unchecked(udp + 5, 7)));          // UDP length, low byte …
        CHECK(is_damaged(unchecked(udp + 4, 0xff)));       // … and high byte
        CHECK(is_damaged(changed(good, 22, 63)));          // IPv4 checksum
        CHECK(is_foreign(unchecked(udp + 1, 69)));
    }
    CHECK(is_damaged(changed(dhcp_request(), 11, 0x09)));  // chaddr is not the sender
}

TEST_CASE("neighbour frame: IPv4 that carries no DHCP") {
    const auto packet = [](const std::function<void(Bytes&)>& change) {
        Bytes frame = dhcp_request();
        change(frame);
        test::put_u16(frame, 24, 0);
        const Bytes header(frame.begin() + 14, frame.begin() + 34);
        test::put_u16(frame, 24, test::reference_checksum(header));
        return frame;
    };
    CHECK(is_read(packet([](Bytes&) {})));
    CHECK(is_read(packet([](Bytes& frame) { frame[20] = 0x40; })));     // don't fragment
    CHECK(is_foreign(packet([](Bytes& frame) { frame[20] = 0x20; })));  // more fragments
    CHECK(is_foreign(packet([](Bytes& frame) { frame[21] = 1; })));     // an offset
    CHECK(is_foreign(packet([](Bytes& frame) { frame[23] = 6; })));
    CHECK(is_damaged(packet([](Bytes& frame) { frame[14] = 0x44; })));
    CHECK(is_damaged(packet([](Bytes& frame) { frame[14] = 0x55; })));
    CHECK(is_damaged(packet([](Bytes& frame) { test::put_u16(frame, 16, 19); })));
    CHECK(is_damaged(packet([](Bytes& frame) { test::put_u16(frame, 16, 0xffff); })));
    CHECK(is_damaged(packet([](Bytes& frame) { test::put_u16(frame, 16, 24); })));
}

TEST_CASE("neighbour frame: IPv4 options are stepped over") {
    DhcpFields fields;
    fields.hardware = guest;
    fields.options = {53, 1, 3, 50, 4, 10, 0, 0, 9, 255};
    const Bytes plain = test::udp(IpAddress{}, ip("255.255.255.255"), 68, 67, test::dhcp(fields));
    const Bytes datagram(plain.begin() + 20, plain.end());
    const Bytes packet = test::ipv4_packet(IpAddress{}, ip("255.255.255.255"), datagram, 10, 17);
    CHECK(read(ethernet(broadcast, guest, 0x0800, packet)).target == ip("10.0.0.9"));
}

TEST_CASE("neighbour frame: a checksum that is left to the device is not missed") {
    Bytes ack = dhcp_ack();
    test::put_u16(ack, 14 + 26, 0x1234);
    CHECK(is_damaged(ack));
    CHECK(is_read(ack, Checksum::left_to_device));
    Bytes advertised = advertisement();
    test::put_u16(advertised, 56, 0x1234);
    CHECK(is_read(advertised, Checksum::left_to_device));
}

}  // namespace
}  // namespace reachd
