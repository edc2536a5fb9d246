// A probe engine with a clock and a network of the test's making: no sockets, no sleeps. The
// network is a function from a probe to its round trip; the loop is the daemon's, turn for turn,
// and can be late or stand still. After each turn the accounting of every open session is checked.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <vector>

#include <catch2/catch.hpp>

#include "common/random.hpp"
#include "probes/probe_engine.hpp"

namespace reachd::test {

using namespace std::chrono_literals;

inline ProbeSnapshot snapshot_of(const ProbeEngine& engine,
                                 std::uint32_t session,
                                 Snapshot* details = nullptr) {
    Snapshot unused;
    Snapshot& snapshot = details != nullptr ? *details : unused;
    ProbeSnapshot probe;
    engine.snapshot_session(session, probe, snapshot);
    return probe;
}

inline std::uint64_t failures_of(const ProbeEngine& engine,
                                 std::uint32_t session,
                                 FailureReason reason) {
    Snapshot snapshot;
    snapshot_of(engine, session, &snapshot);
    for (const FailureCount& failure : snapshot.failures) {
        if (failure.reason == reason) {
            return failure.count;
        }
    }
    return 0;
}

inline std::uint64_t losses_by_reason(const Snapshot& snapshot) {
    std::uint64_t sum = 0;
    for (const FailureCount& failure : snapshot.failures) {
        sum += is_loss(failure.reason) ? failure.count : 0;
    }
    return sum;
}

inline std::uint64_t samples_of(const ProbeEngine& engine, std::uint32_t session) {
    Snapshot snapshot;
    snapshot_of(engine, session, &snapshot);
    std::uint64_t sum = 0;
    for (const std::uint64_t count : snapshot.rtt_buckets) {
        sum += count;
    }
    return sum;
}

inline Snapshot totals_of(const ProbeEngine& engine) {
    Snapshot snapshot;
    engine.snapshot_totals(snapshot);
    return snapshot;
}

inline std::uint64_t discarded(const ProbeEngine& engine, DiscardReason reason) {
    return totals_of(engine).discarded[0][static_cast<std::size_t>(reason)];
}

inline std::uint64_t skipped(const ProbeEngine& engine, SkipReason reason) {
    return totals_of(engine).skipped[static_cast<std::size_t>(reason)];
}

inline std::uint64_t user_stamped(const ProbeEngine& engine) {
    return totals_of(engine).user_stamped[0];
}

struct SentProbe {
    SendOrder order;
    MonoTime at;
};

struct StateChange {
    std::uint32_t session = 0;
    Reachability state = Reachability::unknown;
    MonoTime at;
};

class EngineWorld {
  public:
    /// The round trip of a probe; nothing: no answer ever.
    using Network = std::function<std::optional<Duration>(const SendOrder&)>;

    explicit EngineWorld(std::uint64_t seed = 1, std::uint32_t probes_per_second = 50000)
        : random(seed),
          engine({{0.001, 0.01, 0.1, 1}, {0.001, 0.01, 0.1, 1}, probes_per_second},
                 random,
                 MonoTime{1h}) {}

    Random random;
    ProbeEngine engine;
    Instant now{MonoTime{1h}, WallTime{400000h}};
    Network network = [](const SendOrder&) { return std::optional<Duration>(200us); };
    /// The kernel's stamp of the send; a world without them falls back to user time.
    bool transmit_stamps = true;
    bool receive_stamps = true;
    /// How long after its deadline the loop wakes up.
    Duration loop_lag{};
    std::vector<SentProbe> sent;
    std::vector<StateChange> changes;

    std::uint32_t open(Duration interval = 1s, Duration timeout = 1s) {
        return engine.open({ProbeKind::icmp, PeerKind::host, interval, timeout}, now.mono);
    }

    void advance(Duration time) {
        now.mono += time;
        now.wall += time;
    }

    void step_wall(Duration time) { now.wall += time; }

    /// Observe and poll at this very moment, without answers; the orders are the caller's.
    std::vector<SendOrder> poll() {
        std::vector<SendOrder> orders;
        engine.observe(now);
        engine.poll(now, orders);
        note_changes();
        return orders;
    }

    /// Goes from deadline to deadline until the engine orders something, and returns that.
    std::vector<SendOrder> next_orders() {
        for (;;) {
            REQUIRE(engine.next_deadline() != mono_never);
            advance(std::max(Duration{}, engine.next_deadline() - now.mono));
            auto orders = poll();
            if (!orders.empty()) {
                return orders;
            }
        }
    }

    SendOrder next_order() {
        const auto orders = next_orders();
        REQUIRE(orders.size() == 1);
        return orders[0];
    }

    /// Tells the engine that it is sent, with the kernel's stamp `after` our own time.
    void send(const SendOrder& order, Duration after = 5us) {
        engine.on_sent(order, now);
        sent.push_back({order, now.mono});
        if (transmit_stamps) {
            engine.on_transmit_stamp(order.token, now.wall + after);
        }
    }

    void answer(ProbeToken token) {
        engine.observe(now);
        engine.on_answer(token, receive_stamps ? std::optional(now.wall) : std::nullopt, now);
    }

    /// The daemon with its network, for `time`.
    void run(Duration time) { run_until(now.mono + time); }

    void run_until(MonoTime end) {
        for (;;) {
            const MonoTime deadline = engine.next_deadline();
            MonoTime wake = deadline == mono_never ? mono_never : deadline + loop_lag;
            if (!answers_.empty()) {
                wake = std::min(wake, answers_.top().at);
            }
            if (wake > end) {
                break;
            }
            advance(std::max(Duration{}, wake - now.mono));
            turn();
        }
        advance(std::max(Duration{}, end - now.mono));
    }

    /// The process is stopped for `time`: packets arrive, nobody reads them.
    void freeze(Duration time) {
        advance(time);
        turn();
    }

    /// One wake-up, as the daemon does it: clocks, answers, clocks, orders.
    void turn() {
        engine.observe(now);
        while (!answers_.empty() && answers_.top().at <= now.mono) {
            const Answer found = answers_.top();
            answers_.pop();
            engine.on_answer(
                found.token, receive_stamps ? std::optional(found.stamp) : std::nullopt, now);
        }
        std::vector<SendOrder> orders;
        engine.observe(now);
        engine.poll(now, orders);
        for (const SendOrder& order : orders) {
            send(order);
            if (const auto rtt = network(order)) {
                deliver(order.token, *rtt);
            }
        }
        note_changes();
        check_all();
    }

    /// An answer that arrives after `rtt` (and is stamped then).
    void deliver(ProbeToken token, Duration rtt) {
        answers_.push({now.mono + rtt, now.wall + 5us + rtt, ++delivered_, token});
    }

    /// One assertion only: it is made for every session after every turn.
    void check(std::uint32_t session) {
        Snapshot snapshot;
        const ProbeCounters now_is = snapshot_of(engine, session, &snapshot).counters;
        const std::uint64_t ended = now_is.received + now_is.lost;
        ProbeCounters& was = before_[{session, engine.generation(session)}];
        const bool adds_up = ended <= now_is.sent &&
                             now_is.sent - ended <= ProbeEngine::in_flight_per_session_max + 1 &&
                             losses_by_reason(snapshot) == now_is.lost;
        const bool none_falls = now_is.sent >= was.sent && now_is.received >= was.received &&
                                now_is.lost >= was.lost && now_is.late >= was.late &&
                                now_is.duplicates >= was.duplicates &&
                                now_is.reordered >= was.reordered;
        if (!adds_up || !none_falls) {
            FAIL("accounting of session " << session << ": sent " << now_is.sent << " received "
                                          << now_is.received << " lost " << now_is.lost);
        }
        was = now_is;
    }

    /// Of the first hundred sessions: they are all alike.
    void check_all() {
        for (std::uint32_t id = 0; engine.is_open(id) && id < 100; ++id) {
            check(id);
        }
    }

    ProbeCounters counters(std::uint32_t session) const {
        return snapshot_of(engine, session).counters;
    }

    std::uint64_t in_flight(std::uint32_t session) const {
        const auto c = counters(session);
        return c.sent - c.received - c.lost;
    }

  private:
    struct Answer {
        MonoTime at;
        WallTime stamp;
        std::uint64_t order = 0;
        ProbeToken token;

        bool operator<(const Answer& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };

    void note_changes() {
        for (const std::uint32_t id : engine.take_changed()) {
            changes.push_back({id, engine.state(id), now.mono});
        }
    }

    std::priority_queue<Answer> answers_;
    std::uint64_t delivered_ = 0;
    std::map<std::pair<std::uint32_t, std::uint32_t>, ProbeCounters> before_;
};

}  // namespace reachd::test
