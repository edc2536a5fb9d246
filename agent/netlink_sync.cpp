#include "agent/netlink_sync.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <variant>

namespace reachd {
namespace {

constexpr std::array<DumpKind, dump_kind_count> all_kinds{
    DumpKind::links, DumpKind::ipv4_routes, DumpKind::ipv6_routes};

}  // namespace

// --- What the socket brings ----------------------------------------------------------------------

void NetlinkSync::on_datagram(ByteView datagram, const Instant& now) {
    last_message_ = now.mono;
    NetlinkReader reader(datagram);
    while (const auto* message = reader.next()) {
        ++messages_[static_cast<std::size_t>(message->type)];
        attributes_malformed_ += message->attributes_malformed;
        on_message(*message, now);
    }
    want_doubted(now.mono);
}

void NetlinkSync::on_message(const NetlinkMessage& message, const Instant& now) {
    if (std::holds_alternative<NetlinkMalformed>(message.body)) {
        on_malformed(message, now);
        return;
    }
    if (std::holds_alternative<NetlinkOverrun>(message.body)) {
        on_overrun(now);
        return;
    }
    if (message.dump_part && belongs_to_dump(message)) {
        dump_->last_part = now.mono;
        if (message.dump_interrupted) {
            spoil_dump(Spoiled::changed);
        }
    }
    topology_.apply(message);
    if (const auto* done = std::get_if<DumpDone>(&message.body)) {
        if (belongs_to_dump(message)) {
            on_dump_end(done->error, now);
        }
    } else if (const auto* refused = std::get_if<NetlinkError>(&message.body)) {
        if (belongs_to_dump(message) && refused->error != 0) {
            on_dump_end(refused->error, now);
        }
    }
}

/// Events of other programs' making can carry any sequence number, but are no parts of a dump.
bool NetlinkSync::belongs_to_dump(const NetlinkMessage& message) const {
    return dump_ && message.sequence == dump_->request.sequence;
}

void NetlinkSync::on_malformed(const NetlinkMessage& message, const Instant& now) {
    ++malformed_;
    if (message.dump_part && belongs_to_dump(message)) {
        spoil_dump(Spoiled::malformed);
        return;
    }
    if (message.type == NetlinkType::other) {
        spoil_dump(Spoiled::malformed);  // the rest of a datagram, whatever it was
    }
    want_all(now.mono);
}

void NetlinkSync::on_truncated(const Instant& now) {
    ++malformed_;
    spoil_dump(Spoiled::malformed);
    want_all(now.mono);
}

void NetlinkSync::on_overrun(const Instant& now) {
    ++overruns_;
    last_message_ = now.mono;
    spoil_dump(Spoiled::changed);
    if (!loss_burst_start_ || now.mono - last_loss_ > settle_time) {
        loss_burst_start_ = now.mono;
    }
    last_loss_ = now.mono;
    want_all(now.mono);
    const auto settled = std::min(now.mono + settle_time, *loss_burst_start_ + redump_interval);
    for (auto& each : tables_) {
        each.not_before = std::max(each.not_before, settled);
        each.retry_when_quiet = true;
    }
}

void NetlinkSync::on_request_failed(const Instant& now) {
    if (dump_) {
        fail_dump(now, false);
    }
}

// --- One dump --------------------------------------------------------------------------------

std::optional<DumpRequest> NetlinkSync::take_request(MonoTime now) {
    if (dump_) {
        return std::nullopt;
    }
    for (const auto kind : all_kinds) {
        auto& next = table(kind);
        if (!next.wanted || due(next) > now) {
            continue;
        }
        next.wanted = false;
        next.resting = false;
        next.last_start = now;
        dump_ = Dump{DumpRequest{++sequence_, kind}, now, now};
        topology_.begin_sweep(kind);
        return dump_->request;
    }
    return std::nullopt;
}

void NetlinkSync::advance(const Instant& now) {
    if (dump_ && now.mono >= next_deadline()) {
        fail_dump(now, false);
    }
}

void NetlinkSync::on_dump_end(int error, const Instant& now) {
    // A routing table nobody has put a route into does not exist: nothing to read.
    const bool absent = error == ENOENT && dump_->request.kind != DumpKind::links;
    const auto spoiled = dump_->spoiled;
    if (spoiled == Spoiled::no && (error == 0 || absent)) {
        complete_dump(now);
    } else {
        fail_dump(now, spoiled == Spoiled::changed);
    }
}

void NetlinkSync::complete_dump(const Instant& now) {
    const auto kind = dump_->request.kind;
    dump_.reset();
    topology_.finish_sweep(kind);
    auto& read = table(kind);
    read.tries = 0;
    read.accepted = true;
    want_doubted(now.mono);
    if (at_rest()) {
        last_sync_ = now.wall;
    }
}

void NetlinkSync::fail_dump(const Instant& now, bool retry_when_quiet) {
    const auto kind = dump_->request.kind;
    dump_.reset();
    topology_.abandon_sweep(kind);
    auto& failed = table(kind);
    ++resyncs_;
    failed.wanted = true;
    failed.retry_when_quiet = retry_when_quiet;
    failed.not_before = std::max(failed.not_before, earliest_start(failed, now.mono + settle_time));
    if (++failed.tries >= tries_max) {
        failed.tries = 0;
        failed.accepted = true;
        failed.resting = true;
        failed.not_before = now.mono + rest_time;
    }
}

void NetlinkSync::spoil_dump(Spoiled how) {
    if (dump_) {
        dump_->spoiled = std::max(dump_->spoiled, how);
    }
}

// --- When to read a table again ----------------------------------------------------------------

void NetlinkSync::want_doubted(MonoTime now) {
    const auto doubts = topology_.take_doubts();
    for (const auto kind : all_kinds) {
        if (doubts.contains(kind)) {
            want(kind, now + doubt_settle_time);
        }
    }
}

void NetlinkSync::want_all(MonoTime now) {
    for (const auto kind : all_kinds) {
        want(kind, now + settle_time);
    }
}

void NetlinkSync::want(DumpKind kind, MonoTime settled) {
    auto& again = table(kind);
    if (again.wanted) {
        return;
    }
    resyncs_ += at_rest() ? 1U : 0U;
    again.wanted = true;
    again.not_before = earliest_start(again, settled);
}

bool NetlinkSync::at_rest() const {
    return !dump_ && std::none_of(tables_.begin(), tables_.end(), [](const Table& each) {
        return each.wanted;
    });
}

/// A table never read yet is tried again soon: until then the daemon is not ready.
MonoTime NetlinkSync::earliest_start(const Table& again, MonoTime settled) const {
    if (!again.accepted || !again.last_start) {
        return settled;
    }
    return std::max(settled, *again.last_start + redump_interval);
}

MonoTime NetlinkSync::due(const Table& waiting) const {
    if (!waiting.resting || !waiting.retry_when_quiet || !waiting.last_start) {
        return waiting.not_before;
    }
    const auto quiet = std::max(last_message_ + quiet_time, *waiting.last_start + redump_interval);
    return std::min(waiting.not_before, quiet);
}

MonoTime NetlinkSync::next_deadline() const {
    if (dump_) {
        return std::min(dump_->last_part + dump_silence_max, dump_->started + dump_time_max);
    }
    auto earliest = mono_never;
    for (const auto& each : tables_) {
        if (each.wanted) {
            earliest = std::min(earliest, due(each));
        }
    }
    return earliest;
}

bool NetlinkSync::synced() const {
    return std::all_of(
        tables_.begin(), tables_.end(), [](const Table& each) { return each.accepted; });
}

NetlinkSnapshot NetlinkSync::snapshot() const {
    NetlinkSnapshot snapshot;
    for (std::size_t i = 0; i < netlink_type_count; ++i) {
        const auto name = to_text(static_cast<NetlinkType>(i));
        snapshot.messages.push_back({std::string(name), messages_[i]});
    }
    const auto& refusals = topology_.refusals();
    snapshot.ignored = {
        {"malformed", malformed_},
        {"malformed_attribute", attributes_malformed_},
        {"link_limit", refusals.links},
        {"route_limit", refusals.default_routes},
        {"next_hop_limit", refusals.next_hops},
    };
    snapshot.overruns = overruns_;
    snapshot.resyncs = resyncs_;
    snapshot.last_sync = last_sync_;
    return snapshot;
}

}  // namespace reachd
