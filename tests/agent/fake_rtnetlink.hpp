// A small kernel for tests: links and default routes that change at random, with the messages that
// Linux sends for each change (and the silence where it sends none), and dumps in parts that race
// with the changes. The same seed gives the same run.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/netlink_message.hpp"
#include "common/random.hpp"
#include "tests/agent/netlink_builder.hpp"

namespace reachd::test {

class FakeRtnetlink {
  public:
    explicit FakeRtnetlink(Random& random) : random_(random) { create_link("lo"); }

    const std::map<int, LinkFacts>& links() const { return links_; }

    const std::vector<RouteFacts>& routes() const { return routes_; }

    /// Datagrams on their way to the listener.
    std::deque<Bytes> queue{};

    bool dumping() const { return dump_.has_value(); }

    void change() {
        switch (random_.below(12)) {
            case 0:
            case 1: create_link("veth" + std::to_string(++names_)); break;
            case 2: delete_link(); break;
            case 3: rename_links(); break;
            case 4: switch_link(); break;
            case 5:
                change_link([this](LinkFacts& link) { link.mtu = 1400 + random_.below(9); });
                break;
            case 6: change_master(); break;
            case 7:
            case 8: add_route(Family::ipv4); break;
            case 9: add_route(Family::ipv6); break;
            case 10: delete_route(); break;
            default: repeat_link(); break;
        }
    }

    void begin_dump(const DumpRequest& request) { dump_ = Dump{request, 0, base_, {}}; }

    /// What the next part says is fixed here …
    void compose_part() {
        if (!dump_ || !dump_->composed.empty()) {
            return;
        }
        if (dump_->request.kind == DumpKind::links) {
            compose_links();
        } else {
            compose_routes();
        }
    }

    /// … and reaches the listener's queue here, maybe behind events that are newer.
    void queue_part() {
        if (!dump_ || dump_->composed.empty()) {
            return;
        }
        queue.push_back(std::move(dump_->composed));
        dump_->composed = {};
        if (dump_->over) {
            dump_.reset();
        }
    }

  private:
    struct Dump {
        DumpRequest request;
        int last_index = 0;
        unsigned base = 0;
        Bytes composed{};
        bool over = false;
    };

    /// NLM_F_DUMP_INTR if links came, went or were renamed since the part before.
    int part_flags() {
        const bool interrupted = dump_->base != base_;
        dump_->base = base_;
        return NLM_F_MULTI | (interrupted ? NLM_F_DUMP_INTR : 0);
    }

    void finish_part(int flags) {
        dump_->composed = dump_->composed + dump_done(dump_->request.sequence, 0, flags);
        dump_->over = true;
    }

    void compose_links() {
        const int flags = part_flags();
        auto place = links_.upper_bound(dump_->last_index);
        for (int i = 0; i < 4 && place != links_.end(); ++i, ++place) {
            const auto sequence = dump_->request.sequence;
            dump_->composed = dump_->composed + new_link(place->second, flags, sequence);
            dump_->last_index = place->first;
        }
        // The end sometimes fits into the last part, else it comes alone.
        if (place == links_.end() && (dump_->composed.empty() || random_.below(2) == 0)) {
            finish_part(flags);
        }
    }

    void compose_routes() {
        const auto family =
            dump_->request.kind == DumpKind::ipv4_routes ? Family::ipv4 : Family::ipv6;
        for (const auto& route : routes_) {
            if (route.family == family) {
                dump_->composed =
                    dump_->composed + new_route(route, NLM_F_MULTI, dump_->request.sequence);
            }
        }
        finish_part(0);
    }

    void tell(Bytes message) { queue.push_back(std::move(message)); }

    LinkFacts* any_link() {
        if (links_.empty()) {
            return nullptr;
        }
        const auto steps = random_.below(static_cast<std::uint32_t>(links_.size()));
        return &std::next(links_.begin(), static_cast<std::ptrdiff_t>(steps))->second;
    }

    void create_link(const std::string& name) {
        const int index = 1 + static_cast<int>(random_.below(25));  // small: indexes are re-used
        if (links_.contains(index)) {
            return;
        }
        LinkFacts link{.index = index, .name = name, .up = random_.below(4) != 0};
        link.kind = random_.below(3) == 0 ? "" : random_.below(2) == 0 ? "veth" : "tun";
        links_[index] = link;
        ++base_;
        tell(new_link(link));
    }

    void delete_link() {
        auto* link = any_link();
        if (link == nullptr) {
            return;
        }
        const int index = link->index;
        set_up(*link, false);
        remove_hops_on(index);
        links_.erase(index);
        ++base_;
        tell(del_link(index));
    }

    void rename_links() {
        auto* a = any_link();
        auto* b = any_link();
        if (a == nullptr) {
            return;
        }
        ++base_;
        if (a == b) {
            a->name = "name" + std::to_string(++names_);
            tell(new_link(*a));
            return;
        }
        const auto name = std::exchange(a->name, "swap");
        tell(new_link(*a));
        const auto other = std::exchange(b->name, name);
        tell(new_link(*b));
        a->name = other;
        tell(new_link(*a));
    }

    template <class Change>
    void change_link(Change change) {
        if (auto* link = any_link()) {
            change(*link);
            tell(new_link(*link));
        }
    }

    void repeat_link() {
        change_link([](LinkFacts&) {});
    }

    void change_master() {
        auto* link = any_link();
        if (link == nullptr) {
            return;
        }
        if (link->master != 0) {
            tell(left_bridge(link->index, link->master));
            link->master = 0;
        } else {
            link->master = 1 + static_cast<int>(random_.below(25));
        }
        tell(new_link(*link));
    }

    void switch_link() {
        if (auto* link = any_link()) {
            set_up(*link, !link->up);
        }
    }

    void set_up(LinkFacts& link, bool up) {
        if (link.up == up) {
            return;
        }
        link.up = up;
        link.oper_state = up ? IF_OPER_UP : IF_OPER_DOWN;
        tell(new_link(link));
        if (!up) {
            flush_dead_routes();
        }
    }

    bool is_dead(const HopFacts& hop) const {
        const auto link = links_.find(hop.device);
        return link == links_.end() || !link->second.up;
    }

    /// A route dies with its last living next hop: IPv6 tells, IPv4 does not.
    void flush_dead_routes() {
        std::erase_if(routes_, [this](const RouteFacts& route) {
            const bool dead = std::all_of(
                route.hops.begin(), route.hops.end(), [&](auto& hop) { return is_dead(hop); });
            if (dead && route.family == Family::ipv6) {
                tell(del_route(route));
            }
            return dead;
        });
    }

    void remove_hops_on(int device) {
        for (auto& route : routes_) {
            for (std::size_t i = route.hops.size(); i-- > 0;) {
                if (route.hops[i].device != device) {
                    continue;
                }
                if (route.family == Family::ipv4) {
                    route.hops[i].device = 0;  // dead, without device; the rest lives on
                    continue;
                }
                auto hop = route;
                hop.hops = {route.hops[i]};
                tell(del_route(hop));
                route.hops.erase(route.hops.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }

    HopFacts any_hop(Family family) {
        const auto* link = any_link();
        const auto byte = static_cast<std::uint8_t>(1 + random_.below(3));
        std::array<std::uint8_t, 16> local{0xfe, 0x80};
        local[15] = byte;
        const auto gateway =
            family == Family::ipv4 ? IpAddress::v4({10, 0, 0, byte}) : IpAddress::v6(local);
        return {gateway, link == nullptr ? 0 : link->index};
    }

    void add_route(Family family) {
        const auto hop = any_hop(family);
        if (is_dead(hop)) {
            return;  // ENETDOWN
        }
        RouteFacts route;
        route.family = family;
        route.hops = {hop};
        route.metric = 100 + random_.below(3);
        const auto known = std::find_if(routes_.begin(), routes_.end(), [&](const auto& other) {
            return other.family == family && other.metric == route.metric;
        });
        if (known == routes_.end()) {
            if (const auto second = any_hop(family);
                random_.below(2) == 0 && !is_dead(second) && second.device != hop.device) {
                route.hops.push_back(second);
            }
            routes_.push_back(route);
            tell(new_route(route, NLM_F_CREATE));
        } else if (family == Family::ipv4 || random_.below(3) == 0) {
            *known = route;
            tell(new_route(route, NLM_F_REPLACE));
        } else {
            append_hop(*known, hop);
        }
    }

    void append_hop(RouteFacts& route, const HopFacts& hop) {
        const bool there =
            std::any_of(route.hops.begin(), route.hops.end(), [&](const auto& other) {
                return other.device == hop.device && other.gateway == hop.gateway;
            });
        if (!there) {
            route.hops.push_back(hop);
            tell(new_route(route, NLM_F_APPEND));
        }
    }

    void delete_route() {
        if (routes_.empty()) {
            return;
        }
        const auto place = random_.below(static_cast<std::uint32_t>(routes_.size()));
        tell(del_route(routes_[place]));
        routes_.erase(routes_.begin() + static_cast<std::ptrdiff_t>(place));
    }

    Random& random_;
    std::map<int, LinkFacts> links_;
    std::vector<RouteFacts> routes_;
    std::optional<Dump> dump_;
    unsigned base_ = 0;
    int names_ = 0;
};

}  // namespace reachd::test
