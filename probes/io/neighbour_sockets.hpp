// Packet sockets that ask neighbours by ARP and neighbour discovery, each bound to one device, with
// a filter in the kernel that drops all other traffic unread. All are watched by one epoll. What a
// frame means is decided elsewhere.
//
// On the port of a guest, a local bridge's, a frame reaches this guest alone, and it is overheard
// by which addresses it goes. ETH_P_ALL there: the bridge takes frames from its ports before
// handlers of single protocols see them. PACKET_IGNORE_OUTGOING: traffic towards the guest costs
// nothing. A macvtap is the other way round: what goes out there is the guest's. So what is heard
// comes from the guest, before any filter of the bridge had its say.
//
// On the device that leads to a gateway all traffic of the host passes. Its sockets hear but one
// protocol: for ARP's no IP packet pays anything. For neighbour discovery's each IPv6 packet that
// comes in (once for all that GRO made one) pays for a look at next header and hop limit: tens of
// nanoseconds, no copy.
//
// A neighbour that storms costs no memory beyond its socket's small buffer, and little time: a port
// that gives frames_per_storm_pause within a storm_pause is left alone for another, and where many
// storm for longer, since their pauses end one by one, pause_spacing apart, up to storm_pause_max.
// The kernel drops the rest, and that is told. Stamps and errors of a paused port are still read.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <system_error>

#include <boost/asio/io_context.hpp>

#include "common/time.hpp"
#include "probes/neighbour_packet.hpp"
#include "probes/neighbour_request.hpp"
#include "probes/port_use.hpp"

namespace reachd {

/// Takes what became of requests and what was heard. Called from send() and drain() only, and does
/// not call back into NeighbourSockets meanwhile.
class NeighbourSink {
  public:
    virtual ~NeighbourSink() = default;
    /// The clocks as read just after a batch was received; what follows was read at that moment.
    virtual void on_batch(const Instant& read) = 0;
    virtual void on_sent(const SendOrder& order, const Instant& at) = 0;
    virtual void on_not_sent(const SendOrder& order, FailureReason reason) = 0;
    virtual void on_skipped(const SendOrder& order) = 0;
    /// The kernel's stamp of a request that went out: before its answer is told, if it comes at
    /// all.
    virtual void on_neighbour_stamp(ProbeToken token, WallTime stamp) = 0;
    virtual void on_neighbour_frame(IfIndex port,
                                    PortUse use,
                                    const NeighbourFrame& frame,
                                    std::optional<WallTime> received) = 0;
    /// Passed the filter, and was damaged all the same.
    virtual void on_neighbour_flaw() = 0;
    /// The kernel dropped frames of this port, since our buffer was full: answers perhaps.
    virtual void on_neighbour_overflow(IfIndex port, PortUse use) = 0;
};

class NeighbourSockets {
  public:
    static constexpr std::size_t ports_max = 4096;
    /// 6,400 frames a second are read of one port at most, 1 % of a core.
    static constexpr std::size_t frames_per_storm_pause = 64;
    static constexpr std::chrono::milliseconds storm_pause{10};
    /// Pauses end at least so far from each other: of all ports that storm together, 51,200 frames
    /// a second are read at most.
    static constexpr std::chrono::microseconds pause_spacing{1250};
    /// No pause is longer, lest answers are read too late: with more than 160 storms at once it is
    /// more.
    static constexpr std::chrono::milliseconds storm_pause_max{200};
    /// A drain() takes no further port after so many frames, some 0.5 ms.
    static constexpr std::size_t frames_per_drain_max = 512;
    /// A port's, asked of the kernel, which grants twice as much: 64 KiB, some 80 small frames.
    static constexpr int receive_buffer_bytes = 32 * 1024;

    /// Throws std::system_error when there are no descriptors left for an epoll and a timer.
    explicit NeighbourSockets(boost::asio::io_context& context);
    ~NeighbourSockets();
    NeighbourSockets(const NeighbourSockets&) = delete;
    NeighbourSockets& operator=(const NeighbourSockets&) = delete;

    /// Listens on this device from now on, also once it is up only later; what was open by this
    /// index for this use is closed, another device perhaps. Guests of both sides are one use.
    /// ENODEV: it is gone by now; EPERM: no CAP_NET_RAW; EPROTONOSUPPORT: no Ethernet device;
    /// EMFILE or ENOSPC: too many.
    [[nodiscard]] std::error_code open_port(IfIndex port, PortUse use);
    /// Returns at once; the kernel takes its time meanwhile (SocketCloser).
    void close_port(IfIndex port, PortUse use);
    std::size_t ports() const;

    /// Calls `ready` once when there is something to drain.
    void async_wait(std::function<void()> ready);

    /// Each ends in exactly one on_sent, on_not_sent or on_skipped. A frame that a guest's full
    /// queue drops was sent: the guest does not take what is there for it. Devices must be open for
    /// this use, else that is a local_error, as is a device that is down or gone.
    void send(std::span<const NeighbourRequest> requests, NeighbourSink& sink);

    /// False: there is more.
    bool drain(NeighbourSink& sink);

    /// Waits until all are closed, 0.2 s for 500 ports; so does the destructor. Without it the end
    /// of the process takes 13 ms a port.
    void close();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace reachd
