// Frames by which neighbours find each other: ARP (RFC 826, RFC 5227) and IPv6 neighbour discovery
// (RFC 4861), and what DHCP servers grant (RFC 2131). Encodes our own questions, decodes what
// others send: bytes in, facts out. Knows no ports, no guests, and believes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/address.hpp"
#include "common/bytes.hpp"
#include "common/mac_address.hpp"
#include "common/result.hpp"
#include "probes/neighbour_request.hpp"

namespace reachd {

/// The longest frame that write_neighbour_request() makes: Ethernet, IPv6, Neighbor Solicitation
/// and its source link-layer address option.
inline constexpr std::size_t neighbour_request_bytes_max = 14 + 40 + 24 + 8;

/// Bytes written: 42 for ARP, 86 for a solicitation. `frame` has room for the longest. Sender and
/// address are of one family, the target is no group. Without a MAC to send it to it is a
/// broadcast, or goes to the solicited-node group (RFC 4291, section 2.7.1).
std::size_t write_neighbour_request(const NeighbourTarget& target, ByteSpan frame);

/// Who is asked for in a frame that write_neighbour_request() made: to tell which request it was
/// that the kernel loops back with its transmit stamp.
std::optional<IpAddress> read_request_target(ByteView frame);

/// What one frame says. Addresses are without scope: the link is not known here.
struct NeighbourFrame {
    enum class Kind : std::uint8_t {
        arp_request,
        arp_reply,
        solicitation,
        advertisement,
        dhcp_request,  ///< a client asks for an address, or for more of it
        dhcp_ack,      ///< a server granted `address` to `mac`
    };

    Kind kind = Kind::arp_request;
    MacAddress frame_source;       ///< of the Ethernet header
    MacAddress frame_destination;  ///< of the Ethernet header
    /// Whose address it is: ARP sender, link-layer option, chaddr. Equal to frame_source in all but
    /// dhcp_ack: who speaks for another is refused, unless Speaker::anybody may.
    MacAddress mac;
    /// What `mac` says is its own: ARP sender, NS source, NA target, DHCP ciaddr (request: only a
    /// client that renews has one) or yiaddr (ACK). Unspecified: it claims none yet (ARP probe,
    /// solicitation of duplicate address detection, first DHCP request). Else one that a host can
    /// have: no group, not of loopback.
    IpAddress address;
    /// Who is asked for (ARP request, solicitation); whom an ARP reply or an advertisement is sent
    /// to, which may be a group; the address wanted (DHCP request, else unspecified).
    IpAddress target;
    std::uint16_t vlan = 0;  ///< 802.1Q id, of the outer tag if there are two; 0: untagged
    bool solicited = false;  ///< an advertisement that answers (RFC 4861, section 4.4)

    /// It asks whether anybody has `target`, since it wants it: RFC 5227, section 2.1.1, RFC 4862,
    /// section 5.4, and RFC 2131, section 3.1.
    bool is_probe() const { return address.is_unspecified() && !target.is_unspecified(); }

    /// Its sender means to use `target`, and must not see anybody else who seems to.
    bool wants_address() const { return is_probe() || kind == Kind::dhcp_request; }
};

/// Why a frame says nothing to us.
enum class FrameFlaw : std::uint8_t {
    foreign,  ///< something else: other protocols, DHCP messages, IP fragments, extension headers
    damaged,  ///< lengths, checksums, hop limit other than 255, groups as senders, contradictions
};

/// Whether the checksum of layer 4 is there already. A guest that shares our kernel, or has
/// checksum offload, leaves it to a device that may never come (TP_STATUS_CSUMNOTREADY).
enum class Checksum : std::uint8_t { complete, left_to_device };

/// Who may answer for an address. Of a guest, only itself: another is a proxy or a forger. A router
/// that lends a virtual address (VRRP, HSRP, the anycast gateways of a fabric) may put its own MAC
/// into the Ethernet header; then `mac` of an advertisement is that one.
enum class Speaker : std::uint8_t { itself, anybody };

/// From the Ethernet header on, with or without VLAN tags, padded or not.
Result<NeighbourFrame, FrameFlaw> read_neighbour_frame(ByteView frame,
                                                       Checksum checksum = Checksum::complete,
                                                       Speaker speaker = Speaker::itself);

/// Whether the frame answers that question: about the address asked for, to who asked, untagged.
/// Who answers, and for which time, is not looked at.
bool is_answer_to(const NeighbourTarget& target, const NeighbourFrame& frame);

}  // namespace reachd
