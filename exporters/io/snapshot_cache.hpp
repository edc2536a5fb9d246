// Snapshots for the web loop: asks the probe loop at most a few times a second, lets concurrent
// requests share one answer, and forgets it soon after, so that an idle server holds none. It never
// blocks and never asks on its own. One thread: the web loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

/// Where snapshots come from; the daemon implements it with a post to the probe loop and one back.
class SnapshotSource {
  public:
    using Done = std::function<void(std::shared_ptr<const Snapshot>)>;

    virtual ~SnapshotSource() = default;

    /// Called on the web loop. `done` is to be called once on the web loop, now or later; with
    /// nullptr when there is no snapshot to be had. Not calling it at all is what a stuck probe
    /// loop does, and is noticed by the callers' deadlines.
    virtual void request(Done done) = 0;
};

class SnapshotCache {
  public:
    /// `interval`: how long an answer is shared, and so the least time between two requests.
    SnapshotCache(boost::asio::io_context& web_loop, SnapshotSource& source, Duration interval);

    /// Identifies a waiting callback; never 0.
    using Ticket = std::uint64_t;

    /// Calls `waiter` once, later, with a snapshot at most `interval` old or with nullptr; or
    /// never, when the source does not answer. Waiters are as many as there are connections at
    /// most.
    [[nodiscard]] Ticket get(SnapshotSource::Done waiter);

    /// Forgets a waiting callback; one that was called already, or 0, is ignored.
    void cancel(Ticket ticket);

    /// Forgets everything; answers that still come are ignored.
    void clear();

  private:
    void ask();
    void receive(std::shared_ptr<const Snapshot> snapshot);
    void deliver(const std::shared_ptr<const Snapshot>& snapshot);

    boost::asio::io_context& web_loop_;
    SnapshotSource& source_;
    Duration interval_;
    boost::asio::steady_timer forget_timer_;
    std::shared_ptr<const Snapshot> cached_;
    bool asked_ = false;
    Ticket last_ticket_ = 0;
    std::map<Ticket, SnapshotSource::Done> waiters_;
    /// Replaced by clear() and gone with this object: late answers find it missing.
    std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace reachd
