#include "agent/netlink_sync.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <variant>

namespace reachd {
namespace {

constexpr std::array<DumpKind, dump_kind_count - 1> all_tables{DumpKind::links,
                                                               DumpKind::bridge_vlans,
                                                               DumpKind::addresses,
                                                               DumpKind::neighbours,
                                                               DumpKind::fdb,
                                                               DumpKind::ipv4_routes,
                                                               DumpKind::ipv6_routes};

/// Nobody has put anything into the table yet, or the kernel does without it (IPv6 switched off):
/// nothing to read.
bool is_absent(DumpKind kind, int error) {
    return kind != DumpKind::links &&
           (error == ENOENT || error == EOPNOTSUPP || error == EAFNOSUPPORT);
}

}  // namespace

// --- What the socket brings ----------------------------------------------------------------------

void NetlinkSync::on_datagram(ByteView datagram, const Instant& now) {
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
    if (!message.dump_part) {
        last_event_ = now.mono;
    }
    if (message.attributes_malformed > 0) {
        on_malformed_attributes(message, now);
    }
    topology_.apply(message, now);
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

/// What is left of the message is used, but it does not tell all that it should.
void NetlinkSync::on_malformed_attributes(const NetlinkMessage& message, const Instant& now) {
    if (message.type == NetlinkType::new_statistics) {
        return;  // told again in a moment
    }
    if (message.dump_part && belongs_to_dump(message)) {
        spoil_dump(Spoiled::malformed);
    } else {
        want_all(now.mono);
    }
}

void NetlinkSync::on_truncated(const Instant& now) {
    ++malformed_;
    spoil_dump(Spoiled::malformed);
    want_all(now.mono);
}

void NetlinkSync::on_overrun(const Instant& now) {
    ++overruns_;
    last_event_ = now.mono;
    spoil_dump(Spoiled::changed);
    if (!loss_burst_start_ || now.mono - last_loss_ > settle_time) {
        loss_burst_start_ = now.mono;
    }
    last_loss_ = now.mono;
    want_all(now.mono);
    const auto settled = std::min(now.mono + settle_time, *loss_burst_start_ + loss_wait_max);
    for (auto& each : tables_) {
        each.not_before = std::max(each.not_before, settled);
        each.retry_when_quiet = true;
    }
}

void NetlinkSync::on_pending(const Instant& now) {
    if (dump_ && !reads_statistics()) {
        dump_->last_part = now.mono;
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
    if (const auto kind = table_to_read(now)) {
        auto& next = table(*kind);
        next.wanted = false;
        next.resting = false;
        next.last_start = now;
        return start_dump(*kind, now);
    }
    if (statistics_due() <= now) {
        last_statistics_ = now;
        return start_dump(DumpKind::statistics, now);
    }
    return std::nullopt;
}

std::optional<DumpKind> NetlinkSync::table_to_read(MonoTime now) {
    if (virtual_functions_due() <= now) {
        table(DumpKind::links).wanted = true;  // by the clock: no doubt, and no resync
        table(DumpKind::links).not_before = now;
    }
    for (const auto kind : all_tables) {
        if (is_wanted(kind) && due(table(kind)) <= now) {
            return kind;
        }
    }
    return std::nullopt;
}

DumpRequest NetlinkSync::start_dump(DumpKind kind, MonoTime now) {
    dump_ = Dump{DumpRequest{++sequence_, kind}, now, now};
    topology_.begin_sweep(kind);
    return dump_->request;
}

void NetlinkSync::advance(const Instant& now) {
    if (at_rest()) {
        unrest_since_.reset();
    } else if (!unrest_since_) {
        unrest_since_ = now.mono;
    }
    if (dump_ && now.mono >= dump_deadline()) {
        fail_dump(now, false);
    }
}

void NetlinkSync::on_dump_end(int error, const Instant& now) {
    const auto kind = dump_->request.kind;
    const auto spoiled = dump_->spoiled;
    if (kind != DumpKind::statistics) {
        table(kind).last_duration = now.mono - dump_->started;
    }
    if (spoiled == Spoiled::no && (error == 0 || is_absent(kind, error))) {
        complete_dump(now);
    } else {
        fail_dump(now, spoiled == Spoiled::changed);
    }
}

void NetlinkSync::complete_dump(const Instant& now) {
    const auto kind = dump_->request.kind;
    dump_.reset();
    const bool whole = topology_.finish_sweep(kind, now);
    if (kind == DumpKind::statistics) {
        return;
    }
    auto& read = table(kind);
    read.accepted = true;
    if (whole) {
        read.tries = 0;
    } else {
        read_again(read, now, true);
    }
    want_doubted(now.mono);
    settle_first_sync();
    if (at_rest()) {
        last_sync_ = now.wall;
    }
}

void NetlinkSync::fail_dump(const Instant& now, bool retry_when_quiet) {
    const auto kind = dump_->request.kind;
    dump_.reset();
    topology_.abandon_sweep(kind);
    if (kind == DumpKind::statistics) {
        return;
    }
    read_again(table(kind), now, retry_when_quiet);
    settle_first_sync();
}

/// After a reading that cannot be trusted: soon, but after some of them in a row only in peace.
void NetlinkSync::read_again(Table& failed, const Instant& now, bool retry_when_quiet) {
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

/// What the first reading told is no change of anything.
void NetlinkSync::settle_first_sync() {
    if (!first_sync_over_ && synced()) {
        first_sync_over_ = true;
        topology_.forget_changes();
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
    for (const auto kind : all_tables) {
        if (doubts.contains(kind)) {
            want(kind, now + doubt_settle_time);
        }
    }
}

void NetlinkSync::want_all(MonoTime now) {
    for (const auto kind : all_tables) {
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
    again.retry_when_quiet = false;
    again.not_before = earliest_start(again, settled);
}

/// VLANs are asked for only where somebody filters by them; who starts to, raises a doubt. They are
/// kept by link, so they are read once it is known which links there are.
bool NetlinkSync::is_wanted(DumpKind kind) const {
    const bool readable = kind != DumpKind::bridge_vlans ||
                          (topology_.filters_vlans() && !table(DumpKind::links).wanted);
    return table(kind).wanted && readable;
}

bool NetlinkSync::reads_statistics() const {
    return dump_ && dump_->request.kind == DumpKind::statistics;
}

bool NetlinkSync::at_rest() const {
    return (!dump_ || reads_statistics()) &&
           std::none_of(all_tables.begin(), all_tables.end(), [this](DumpKind kind) {
               return is_wanted(kind);
           });
}

Duration NetlinkSync::redump_interval() const {
    Duration all{};
    for (const auto& each : tables_) {
        all += each.last_duration;
    }
    const auto interval = redump_interval_factor * all;
    return std::clamp(interval, redump_interval_min, redump_interval_max);
}

/// A table never read yet is tried again soon: until then the daemon is not ready.
MonoTime NetlinkSync::earliest_start(const Table& again, MonoTime settled) const {
    if (!again.accepted || !again.last_start) {
        return settled;
    }
    return std::max(settled, *again.last_start + redump_interval());
}

MonoTime NetlinkSync::due(const Table& waiting) const {
    if (!waiting.retry_when_quiet || !waiting.last_start) {
        return waiting.not_before;
    }
    const auto quiet =
        std::max(last_event_ + quiet_time, *waiting.last_start + redump_interval() / 2);
    return std::min(waiting.not_before, quiet);
}

MonoTime NetlinkSync::dump_deadline() const {
    const auto silence_max = reads_statistics() ? statistics_silence_max : dump_silence_max;
    return std::min(dump_->last_part + silence_max, dump_->started + dump_time_max);
}

MonoTime NetlinkSync::statistics_due() const {
    if (!table(DumpKind::links).accepted) {
        return mono_never;
    }
    return last_statistics_ ? *last_statistics_ + statistics_interval : MonoTime{};
}

MonoTime NetlinkSync::virtual_functions_due() const {
    const auto& links = table(DumpKind::links);
    if (links.wanted || !links.last_start || !topology_.has_virtual_functions()) {
        return mono_never;
    }
    return *links.last_start + virtual_functions_interval;
}

MonoTime NetlinkSync::next_deadline() const {
    auto earliest = first_sync_over_ ? topology_.changes_due() : mono_never;
    if (dump_) {
        return std::min(earliest, dump_deadline());
    }
    for (const auto kind : all_tables) {
        if (is_wanted(kind)) {
            earliest = std::min(earliest, due(table(kind)));
        }
    }
    return std::min({earliest, statistics_due(), virtual_functions_due()});
}

std::vector<TopologyChange> NetlinkSync::take_changes(MonoTime now) {
    if (!first_sync_over_) {
        return {};
    }
    return topology_.take_changes(now);
}

bool NetlinkSync::in_step(MonoTime now) const {
    return !failed_ && synced() && (!unrest_since_ || now - *unrest_since_ < in_step_tolerance);
}

bool NetlinkSync::synced() const {
    return first_sync_over_ ||
           std::all_of(all_tables.begin(), all_tables.end(), [this](DumpKind kind) {
               const bool readable = kind != DumpKind::bridge_vlans ||
                                     (topology_.filters_vlans() && !table(DumpKind::links).resting);
               return table(kind).accepted || !readable;
           });
}

NetlinkSnapshot NetlinkSync::snapshot() const {
    NetlinkSnapshot snapshot;
    for (std::size_t i = 0; i < netlink_type_count; ++i) {
        const auto name = to_text(static_cast<NetlinkType>(i));
        snapshot.messages.push_back({std::string(name), messages_[i]});
    }
    const auto refusals = topology_.refusals();
    snapshot.ignored = {
        {"malformed", malformed_},
        {"malformed_attribute", attributes_malformed_},
        {"link_limit", refusals.links},
        {"address_limit", refusals.addresses},
        {"neighbour_limit", refusals.neighbours},
        {"fdb_limit", refusals.fdb_entries},
        {"route_limit", refusals.routes},
        {"next_hop_limit", refusals.next_hops},
        {"vlan_limit", refusals.vlans},
        {"virtual_function_limit", refusals.virtual_functions},
        {"change_limit", refusals.changes},
    };
    snapshot.overruns = overruns_;
    snapshot.resyncs = resyncs_;
    snapshot.last_sync = last_sync_;
    return snapshot;
}

}  // namespace reachd
