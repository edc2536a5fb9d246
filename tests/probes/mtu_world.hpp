// A path for path MTU packets with holes, routers that signal, loss and delay, driven with a
// PathMtuProber in virtual time.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

#include "common/random.hpp"
#include "probes/path_mtu_prober.hpp"

namespace reachd {

struct MtuPath {
    static constexpr std::uint32_t unlimited = 65'535;

    std::uint32_t forward = unlimited;  ///< larger requests vanish
    std::uint32_t reverse = unlimited;  ///< larger answers vanish
    std::uint32_t router = unlimited;   ///< larger requests are refused by it
    std::uint32_t router_says = 0;      ///< 0: the truth
    bool router_is_mute_about_size = false;
    std::uint32_t device = unlimited;       ///< larger packets are refused by the kernel
    std::uint32_t peer = unlimited;         ///< the peer answers in fragments of at most this
    std::uint32_t echo_filter = unlimited;  ///< larger echo requests are dropped by a firewall
    bool echo_filter_reassembles = false;   ///< what comes in fragments, before it looks
    std::uint32_t answer_max = unlimited;   ///< the peer answers with no more
    bool udp_answered = true;
    bool fragments_pass = true;
    bool alive = true;
    double loss = 0;  ///< each way
    Duration rtt = std::chrono::microseconds(300);
    IpAddress reporter = *IpAddress::parse("192.0.2.1");
};

class MtuWorld {
  public:
    explicit MtuWorld(std::uint32_t bytes_per_second = 1'000'000, std::uint64_t seed = 1)
        : prober(bytes_per_second, now),
          random(seed) {}

    std::uint32_t add(const MtuPath& path,
                      std::uint32_t expected,
                      PathMtuOptions options = {},
                      IfIndex device = IfIndex{2}) {
        const std::uint32_t id = prober.open(options, 0.0, now);
        paths[id] = path;
        prober.set_facts(id, {expected, 0, device}, now);
        return id;
    }

    /// Runs until `done`, at most this long; what it took.
    Duration run(
        Duration at_most, const std::function<bool()>& done = [] { return false; }) {
        const MonoTime start = now;
        const MonoTime end = now + at_most;
        while (!done() && now < end) {
            step(end);
        }
        return now - start;
    }

    PathMtu result(std::uint32_t id) const { return prober.result(id); }

    bool is_settled(std::uint32_t id) const {
        return result(id).verdict != MtuVerdict::undetermined;
    }

    MonoTime now{std::chrono::seconds(1000)};
    PathMtuProber prober;
    Random random;
    std::map<std::uint32_t, MtuPath> paths;
    std::map<MonoTime, std::uint64_t> sent_bytes;
    std::uint64_t packets = 0;

  private:
    void step(MonoTime end) {
        MonoTime next = std::min(end, prober.next_deadline());
        if (!arrivals.empty()) {
            next = std::min(next, arrivals.begin()->first);
        }
        now = std::max(now, next);
        prober.observe(now);
        while (!arrivals.empty() && arrivals.begin()->first <= now) {
            const auto arrival = arrivals.begin()->second;
            arrivals.erase(arrivals.begin());
            arrival();
        }
        orders.clear();
        prober.poll(now, orders);
        for (const MtuOrder& order : orders) {
            send(order);
        }
    }

    bool is_lost(const MtuPath& path) {
        return random.below(1'000'000) < static_cast<std::uint32_t>(path.loss * 1'000'000);
    }

    void later(const MtuPath& path, std::function<void()> what) {
        arrivals.emplace(now + path.rtt, std::move(what));
    }

    void send(const MtuOrder& order) {
        const MtuPath& path = paths.at(order.token.session);
        const std::uint32_t bytes = order.packet.bytes;
        const bool in_fragments = order.packet.form == MtuForm::fragmented_echo;
        if (!in_fragments && bytes > path.device) {
            return prober.on_too_big_for_device(order, path.device, now);
        }
        prober.on_sent(order, now);
        ++packets;
        sent_bytes[now] += bytes;
        const bool echo =
            order.packet.form == MtuForm::echo || (in_fragments && path.echo_filter_reassembles);
        const std::uint32_t on_wire = in_fragments ? bytes / 2 + 48 : bytes;
        if (!path.alive || is_lost(path) || on_wire > path.forward ||
            (in_fragments && (!path.fragments_pass || is_lost(path))) ||
            (echo && bytes > path.echo_filter)) {
            return;
        }
        if (!in_fragments && bytes > path.router) {
            const std::uint32_t said = path.router_is_mute_about_size ? 0
                                       : path.router_says != 0        ? path.router_says
                                                                      : path.router;
            return later(path, [this, order, said, reporter = path.reporter] {
                lies += prober.on_too_big(order.token, reporter, said, now) ? 0U : 1U;
            });
        }
        if (order.packet.form == MtuForm::datagram) {
            if (path.udp_answered && !is_lost(path)) {
                later(path, [this, order] { prober.on_answer(order.token, 0, 0, now); });
            }
            return;
        }
        const std::uint32_t fragment = bytes > path.peer ? (path.peer - 20) / 8 * 8 + 20 : 0;
        if ((fragment == 0 ? bytes : fragment) > path.reverse || is_lost(path)) {
            return;
        }
        later(path, [this, order, fragment, answer = std::min(bytes, path.answer_max)] {
            prober.on_answer(order.token, answer, fragment, now);
        });
    }

    std::multimap<MonoTime, std::function<void()>> arrivals;
    std::vector<MtuOrder> orders;

  public:
    std::uint64_t lies = 0;
};

}  // namespace reachd
