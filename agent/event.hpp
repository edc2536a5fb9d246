// What can happen to the agent, and what it wants done: its whole contact with the world. The real
// loop and a simulated network drive the same Agent with these.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "agent/config.hpp"
#include "agent/guest_watch.hpp"
#include "agent/listened_ports.hpp"
#include "agent/name_resolution.hpp"
#include "agent/netlink_sync.hpp"
#include "agent/topology_watch.hpp"
#include "agent/virtualization.hpp"
#include "common/log.hpp"
#include "common/probe.hpp"
#include "common/snapshot.hpp"
#include "probes/echo_request.hpp"
#include "probes/egress.hpp"
#include "probes/icmp_packet.hpp"
#include "probes/neighbour_packet.hpp"
#include "probes/neighbour_request.hpp"
#include "probes/path_mtu_request.hpp"
#include "probes/tcp_request.hpp"
#include "probes/tcp_result.hpp"

namespace reachd {

/// A socket for echo requests of one family is open. Requests of a family without one fail locally.
struct EchoSocketOpened {
    Family family = Family::ipv4;
    EchoIdentifiers identifiers;
};

/// What became of a request, of any kind: each ends in exactly one of these three.
struct ProbeSent {
    SendOrder order;
};

struct ProbeNotSent {
    SendOrder order;
    FailureReason reason = FailureReason::local_error;
};

/// The socket's buffer was full, or there was no socket left.
struct ProbeSkipped {
    SendOrder order;
};

struct TransmitStamped {
    ProbeCookie cookie;
    WallTime stamp;
};

struct EchoReplied {
    IpAddress from;
    EchoReply reply;
    std::optional<WallTime> received;  ///< the kernel's stamp
};

struct EchoFailed {
    IpAddress reporter;
    EchoError error;
};

struct PacketRejected {
    PacketFlaw flaw = PacketFlaw::malformed;
};

/// The kernel dropped answers, since our receive buffer was full.
struct ReceiveOverflowed {};

/// A connect is over.
struct TcpEnded {
    ProbeToken token;
    TcpResult result;
};

/// A connect that nobody waited for any more has been closed.
struct TcpAbandoned {
    ProbeToken token;
    std::uint32_t syn_retransmits = 0;
};

/// The transmit stamp of a question to a neighbour.
struct NeighbourStamped {
    ProbeToken token;
    WallTime stamp;
};

/// Came in on the port of a guest, or on the device that leads to a gateway.
struct NeighbourHeard {
    IfIndex port = IfIndex::any;
    NeighbourFrame frame;
    std::optional<WallTime> received{};
    PortUse use = PortUse::guest;
};

struct NeighbourOverflowed {
    IfIndex port = IfIndex::any;
    PortUse use = PortUse::guest;
};

/// This port cannot be listened on; it may be gone by now.
struct GuestPortFailed {
    IfIndex port = IfIndex::any;
    std::string reason;
};

/// This device cannot be listened on for answers of gateways.
struct GatewayPortFailed {
    NeighbourPort port;
    std::string reason;
};

/// What became of a packet of path MTU probing: each ends in exactly one of these three.
struct MtuPacketSent {
    MtuOrder order;
};

struct MtuPacketNotSent {
    MtuOrder order;
};

/// The MTU of the device that it would have left by.
struct MtuPacketTooBig {
    MtuOrder order;
    std::uint32_t mtu = 0;
};

struct MtuReplied {
    IpAddress from;
    EchoReply reply;
    std::uint32_t bytes = 0;     ///< of the whole IP packet
    std::uint32_t fragment = 0;  ///< the largest it came in, as an IP packet; 0: it came whole
};

struct MtuEchoFailed {
    IpAddress reporter;
    EchoError error;
};

struct MtuDatagramFailed {
    IpAddress reporter;
    IpAddress destination;
    std::uint16_t port = 0;
    FailureReason reason = FailureReason::timeout;
    std::uint32_t mtu = 0;  ///< of too_big
};

struct MtuOverflowed {};

struct EgressFound {
    std::uint32_t peer = 0;
    Egress egress;
};

/// What an earlier run has left in the run-time file.
struct GuestsRestored {
    std::vector<GuestAddressRecord> records;
};

struct NetlinkReceived {
    ByteView datagram;
};

struct NetlinkOverran {};

/// A datagram was longer than our buffer.
struct NetlinkTruncated {};

struct DumpRequestFailed {};

/// The rtnetlink socket has failed for good.
struct NetlinkFailed {};

/// The answer to a dump waits to be read, or for a lock of the kernel: this is no silence.
struct NetlinkPending {};

/// What the machine says of itself, read once at the start.
struct HostDescribed {
    HostFacts facts;
};

/// The answer to a DeviceLookup.
struct DeviceDescribed {
    DeviceFacts facts;
    std::uint64_t generation = 0;  ///< of the lookup
};

struct NameLookedUp {
    std::uint64_t id = 0;
    ResolveResult result;
};

struct ConfigLoaded {
    Config config;
};

struct ConfigRejected {};

/// Which device would a packet to this peer leave by? Answered by EgressFound.
struct EgressLookup {
    std::uint32_t peer = 0;
    IpAddress destination;
    IpAddress source;               ///< unspecified: the kernel's choice
    IfIndex device = IfIndex::any;  ///< any: the routes decide
};

/// Everything the agent wants done now. The shell performs and clears it; the vectors keep their
/// memory from turn to turn.
struct Actions {
    std::array<std::vector<EchoRequest>, 2> echo_requests;  ///< by Family
    std::vector<TcpRequest> tcp_requests;
    std::vector<ProbeToken> tcp_abandoned;  ///< nobody waits for these connects any more
    std::vector<NeighbourRequest> neighbour_requests;
    ListenedPorts::Changes guest_ports;    ///< to be closed first, then opened
    ListenedPorts::Changes gateway_ports;  ///< likewise
    std::optional<GuestLookup> guest_lookup;
    std::optional<std::vector<GuestAddressRecord>> guest_records;  ///< for the run-time file
    std::array<std::vector<MtuRequest>, 2> mtu_requests;           ///< by Family
    std::vector<EgressLookup> egress_lookups;
    std::vector<DumpRequest> dumps;
    std::vector<LookupRequest> lookups;
    std::vector<DeviceLookup> device_lookups;
    std::vector<LogRecord> logs;

    void clear() {
        for (auto& requests : echo_requests) {
            requests.clear();
        }
        tcp_requests.clear();
        tcp_abandoned.clear();
        neighbour_requests.clear();
        guest_ports = {};
        gateway_ports = {};
        guest_lookup.reset();
        guest_records.reset();
        for (auto& requests : mtu_requests) {
            requests.clear();
        }
        egress_lookups.clear();
        dumps.clear();
        lookups.clear();
        device_lookups.clear();
        logs.clear();
    }
};

}  // namespace reachd
