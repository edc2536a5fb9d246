#include "exporters/io/snapshot_cache.hpp"

#include <utility>

#include <boost/asio/post.hpp>

namespace reachd {

SnapshotCache::SnapshotCache(boost::asio::io_context& web_loop,
                             SnapshotSource& source,
                             Duration interval)
    : web_loop_(web_loop),
      source_(source),
      interval_(interval),
      forget_timer_(web_loop) {}

SnapshotCache::Ticket SnapshotCache::get(SnapshotSource::Done waiter) {
    const auto ticket = ++last_ticket_;
    waiters_.emplace(ticket, std::move(waiter));
    if (cached_) {
        // Later, as always: the caller is not to be entered again from within this call.
        boost::asio::post(web_loop_,
                          [this, alive = std::weak_ptr<char>(alive_), snapshot = cached_] {
                              if (!alive.expired()) {
                                  deliver(snapshot);
                              }
                          });
    } else if (!asked_) {
        ask();
    }
    return ticket;
}

void SnapshotCache::cancel(Ticket ticket) {
    waiters_.erase(ticket);
}

void SnapshotCache::clear() {
    alive_ = std::make_shared<char>();
    waiters_.clear();
    cached_.reset();
    asked_ = false;
    forget_timer_.cancel();
}

void SnapshotCache::ask() {
    asked_ = true;
    source_.request([this, alive = std::weak_ptr<char>(alive_)](auto snapshot) {
        if (alive.expired()) {
            return;
        }
        // A source may answer from within request(): posting keeps the order of things the same.
        boost::asio::post(web_loop_, [this, alive, answer = std::move(snapshot)]() mutable {
            if (!alive.expired()) {
                receive(std::move(answer));
            }
        });
    });
}

void SnapshotCache::receive(std::shared_ptr<const Snapshot> snapshot) {
    asked_ = false;
    cached_ = std::move(snapshot);
    if (cached_) {
        forget_timer_.expires_after(interval_);
        forget_timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](auto error) {
            if (!error && !alive.expired()) {
                cached_.reset();
            }
        });
    }
    deliver(cached_);
}

void SnapshotCache::deliver(const std::shared_ptr<const Snapshot>& snapshot) {
    // A waiter may come back with its next request at once: that one waits for the next answer.
    const auto waiters = std::exchange(waiters_, {});
    for (auto& [ticket, waiter] : waiters) {
        waiter(snapshot);
    }
}

}  // namespace reachd
