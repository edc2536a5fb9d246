#include "tests/sim/kernel.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <linux/netlink.h>

namespace reachd::sim {

using test::operator+;

namespace {

nlmsghdr header_at(const test::Bytes& datagram, std::size_t offset) {
    nlmsghdr header{};
    std::memcpy(&header, datagram.data() + offset, sizeof header);
    return header;
}

}  // namespace

// --- The tables ----------------------------------------------------------------------------------

void Kernel::set_link(const test::LinkFacts& link, MonoTime now) {
    const auto known = links_.find(link.index);
    if (known == links_.end() || known->second.name != link.name) {
        ++base_;
    }
    if (known != links_.end() && known->second.master != link.master) {
        flush_fdb_of(link.index, now);
    }
    links_[link.index] = link;
    tell(test::new_link(link), now);
}

void Kernel::remove_link(int index, MonoTime now) {
    set_up(index, false, now);
    if (links_.erase(index) == 0) {
        return;
    }
    ++base_;
    tell(test::del_link(index), now);
}

void Kernel::set_up(int index, bool up, MonoTime now) {
    const auto found = links_.find(index);
    if (found == links_.end() || found->second.up == up) {
        return;
    }
    test::LinkFacts& link = found->second;
    link.up = up;
    link.oper_state = up ? IF_OPER_UP : IF_OPER_DOWN;
    tell(test::new_link(link), now);
    if (!up) {
        flush_fdb_of(index, now);
        flush_routes_on(index, now);
    }
}

void Kernel::flush_fdb_of(int port, MonoTime now) {
    for (auto entry = fdb_.begin(); entry != fdb_.end();) {
        if (entry->second != port) {
            ++entry;
            continue;
        }
        const auto [bridge, mac] = entry->first;
        entry = fdb_.erase(entry);
        tell(test::del_fdb({bridge, port, mac}), now);
    }
}

void Kernel::learn(int port, const MacAddress& mac, MonoTime now) {
    const auto link = links_.find(port);
    if (link == links_.end() || link->second.master == 0 || !link->second.up) {
        return;
    }
    int& where = fdb_[{link->second.master, mac}];
    if (std::exchange(where, port) != port) {
        tell(test::new_fdb({link->second.master, port, mac}), now);
    }
}

void Kernel::add_address(const InterfaceAddress& address, MonoTime now) {
    addresses_.push_back(address);
    tell(test::new_address(address), now);
}

void Kernel::flush_routes_on(int index, MonoTime now) {
    std::vector<test::RouteFacts> gone;
    std::erase_if(routes_, [&](const test::RouteFacts& route) {
        const bool dead = route.hops.front().device == index;
        if (dead && route.family == Family::ipv6) {
            gone.push_back(route);
        }
        return dead;
    });
    for (const test::RouteFacts& route : gone) {
        tell(test::del_route(route), now);
    }
}

void Kernel::add_route(const test::RouteFacts& route, MonoTime now) {
    routes_.push_back(route);
    tell(test::new_route(route, NLM_F_CREATE), now);
}

void Kernel::remove_route(const test::RouteFacts& route, MonoTime now) {
    std::erase_if(routes_, [&route](const test::RouteFacts& other) {
        return other.family == route.family && other.metric == route.metric;
    });
    tell(test::del_route(route), now);
}

void Kernel::storm(int changes, MonoTime now) {
    for (int i = 0; i < changes; ++i) {
        tables_.change();
        collect(now);
    }
}

// --- The socket ----------------------------------------------------------------------------------

void Kernel::tell(test::Bytes message, MonoTime now) {
    post(std::move(message), now);
}

void Kernel::collect(MonoTime now) {
    while (!tables_.queue.empty()) {
        post(std::move(tables_.queue.front()), now);
        tables_.queue.pop_front();
    }
}

void Kernel::post(test::Bytes bytes, MonoTime now) {
    Datagram datagram;
    datagram.dump_part = (header_at(bytes, 0).nlmsg_flags & NLM_F_MULTI) != 0;
    const bool torn = dumping_links_ && dump_base_ != base_;
    if (datagram.dump_part && (torn || happens(faults.interruption, random_))) {
        mark_interrupted(bytes);
        dump_base_ = base_;
    }
    datagram.bytes = std::move(bytes);
    datagram.arrives =
        std::max(last_arrival_, now + faults.delay + random_duration(faults.jitter, random_));
    last_arrival_ = datagram.arrives;
    doubtful_ = doubtful_ || datagram.arrives > now;
    if (datagram.arrives <= now) {
        arrive(std::move(datagram));
    } else {
        transit_.push_back(std::move(datagram));
    }
}

/// A dump waits for room in the buffer; an event does not.
void Kernel::arrive(Datagram datagram) {
    if (!datagram.dump_part) {
        const bool full = congested_ || inbox_.size() >= faults.buffer_datagrams;
        if (full || happens(faults.loss, random_)) {
            overrun_ = true;
            doubtful_ = true;
            congested_ = full;
            return;
        }
        if (happens(faults.truncation, random_)) {
            datagram.bytes.clear();
            doubtful_ = true;
        }
    }
    inbox_.push_back(std::move(datagram));
}

bool Kernel::drain(Agent& agent, const Instant& now) {
    bool lost = std::exchange(overrun_, false);
    if (lost) {
        ++overruns_told_;
        agent.handle(NetlinkOverran{}, now);
    }
    for (const Datagram& datagram : inbox_) {
        ++datagrams_read_;
        if (datagram.bytes.empty()) {
            lost = true;
            agent.handle(NetlinkTruncated{}, now);
        } else {
            agent.handle(NetlinkReceived{ByteView(datagram.bytes)}, now);
        }
    }
    inbox_.clear();
    congested_ = false;
    return lost;
}

MonoTime Kernel::next() const {
    return std::min(dump_step_, transit_.empty() ? mono_never : transit_.front().arrives);
}

void Kernel::advance(MonoTime now) {
    while (!transit_.empty() && transit_.front().arrives <= now) {
        arrive(std::move(transit_.front()));
        transit_.pop_front();
    }
    if (dump_step_ > now) {
        return;
    }
    if (!part_composed_) {
        tables_.compose_part();
        part_composed_ = true;
        dump_step_ = now + random_duration(faults.race, random_);
        return;
    }
    tables_.queue_part();
    collect(now);
    part_composed_ = false;
    dump_step_ = tables_.dumping() ? now + random_duration(faults.part_time, random_) : mono_never;
}

bool Kernel::at_rest() const {
    return dump_step_ == mono_never && transit_.empty() && !readable();
}

// --- Dumps ---------------------------------------------------------------------------------------

bool Kernel::ask(const DumpRequest& request, MonoTime now) {
    if (happens(faults.request_failure, random_)) {
        return false;
    }
    if (happens(faults.silence, random_)) {
        return true;
    }
    if (happens(faults.refusal, random_)) {
        post(test::error_message(request.sequence, EBUSY), now);
        return true;
    }
    tables_.begin_dump(request);
    dumping_links_ = request.kind == DumpKind::links;
    dump_base_ = base_;
    part_composed_ = false;
    dump_step_ = now + random_duration(faults.part_time, random_);
    if (test::Bytes part = fixed_part(request); !part.empty()) {
        post(std::move(part), now);
    }
    return true;
}

test::Bytes Kernel::fixed_part(const DumpRequest& request) const {
    test::Bytes part;
    if (request.kind == DumpKind::links) {
        for (const auto& [index, link] : links_) {
            part = part + test::new_link(link, NLM_F_MULTI, request.sequence);
        }
    }
    if (request.kind == DumpKind::addresses) {
        for (const InterfaceAddress& address : addresses_) {
            part = part + test::new_address(address, NLM_F_MULTI, request.sequence);
        }
    }
    if (request.kind == DumpKind::fdb) {
        for (const auto& [key, port] : fdb_) {
            const test::FdbFacts entry{key.first, port, key.second};
            part = part + test::new_fdb(entry, NLM_F_MULTI, request.sequence);
        }
    }
    const bool ipv4 = request.kind == DumpKind::ipv4_routes;
    if (ipv4 || request.kind == DumpKind::ipv6_routes) {
        for (const test::RouteFacts& route : routes_) {
            if (route.family == (ipv4 ? Family::ipv4 : Family::ipv6)) {
                part = part + test::new_route(route, NLM_F_MULTI, request.sequence);
            }
        }
    }
    return part;
}

void Kernel::mark_interrupted(test::Bytes& datagram) {
    for (std::size_t at = 0; at + sizeof(nlmsghdr) <= datagram.size();) {
        nlmsghdr header = header_at(datagram, at);
        header.nlmsg_flags |= NLM_F_DUMP_INTR;
        std::memcpy(datagram.data() + at, &header, sizeof header);
        at += NLMSG_ALIGN(header.nlmsg_len);
    }
}

void Kernel::dump_into(Topology& fresh) {
    const auto apply = [&fresh](const test::Bytes& datagram) {
        NetlinkReader reader{ByteView(datagram)};
        while (const NetlinkMessage* message = reader.next()) {
            fresh.apply(*message);
        }
    };
    for (std::size_t i = 0; i < dump_kind_count; ++i) {
        const DumpRequest request{1, static_cast<DumpKind>(i)};
        test::FakeRtnetlink copy = tables_;
        copy.queue.clear();
        copy.begin_dump(request);
        fresh.begin_sweep(request.kind);
        apply(fixed_part(request));
        while (copy.dumping()) {
            copy.compose_part();
            copy.queue_part();
        }
        for (const test::Bytes& datagram : copy.queue) {
            apply(datagram);
        }
        fresh.finish_sweep(request.kind);
    }
}

}  // namespace reachd::sim
