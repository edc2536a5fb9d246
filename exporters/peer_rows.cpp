#include "exporters/peer_rows.hpp"

#include <algorithm>
#include <array>

#include "common/check.hpp"
#include "common/probe.hpp"
#include "exporters/number_text.hpp"

namespace reachd {
namespace {

// What a line needs beside its name, the labels of the peer and the bound of a bucket: the labels
// `probe` and `port`, braces, suffixes such as _bucket, the value.
constexpr std::size_t line_rest_max = 64 + number_text_max;

// Sent, received, lost, late, duplicates, reordered.
constexpr std::uint64_t counters_per_probe = 6;

std::uint64_t lines_of(const PeerSnapshot& peer) {
    constexpr std::uint64_t always = 2;  // state changes and info
    return always + (peer.up ? 1U : 0U) + (peer.last_change != WallTime{} ? 1U : 0U);
}

std::uint64_t lines_of(const ProbeSnapshot& probe) {
    constexpr std::uint64_t always = counters_per_probe + 1;  // and jitter
    return always + (probe.up ? 1U : 0U) + (probe.kind == ProbeKind::tcp ? 1U : 0U);
}

/// Literals each, whose sizes the compiler knows: this runs for every line.
void write_kind_label(TextBlock& block, ProbeKind kind) {
    switch (kind) {
        case ProbeKind::icmp: block.text(",probe=\"icmp\""); return;
        case ProbeKind::tcp: block.text(",probe=\"tcp\""); return;
        case ProbeKind::arp: block.text(",probe=\"arp\""); return;
    }
}

void write_port_label(TextBlock& block, const ProbeSnapshot& probe) {
    if (probe.port != 0) {
        block.text(",port=\"");
        block.number(probe.port);
        block.character('"');
    }
}

void write_probe_labels(TextBlock& block, const ProbeSnapshot& probe) {
    write_kind_label(block, probe.kind);
    write_port_label(block, probe);
}

const std::vector<double>& edges_of(const Snapshot& snapshot) {
    static const std::vector<double> none;
    return snapshot.rtt_edges ? *snapshot.rtt_edges : none;
}

void ensure_consistent(const Snapshot& snapshot) {
    const auto peers = snapshot.peers.size();
    const auto probes = snapshot.probes.size();
    ENSURE(std::all_of(snapshot.peers.begin(), snapshot.peers.end(), [](const auto& peer) {
        return peer.identity != nullptr;
    }));
    ENSURE(std::all_of(snapshot.probes.begin(), snapshot.probes.end(), [peers](const auto& probe) {
        return probe.peer < peers;
    }));
    ENSURE(std::all_of(snapshot.failures.begin(),
                       snapshot.failures.end(),
                       [probes](const auto& failure) { return failure.probe < probes; }));
    ENSURE(snapshot.rtt_buckets.size() == probes * (edges_of(snapshot).size() + 1));
}

bool write_info(TextBlock& block, std::string_view name, const PeerIdentity& peer) {
    const PeerDetails& details = peer.details();
    auto room = name.size() + peer.label_text().size() + line_rest_max +
                label_room("source", details.source) + label_room("device", details.device) +
                label_room("bridge", details.bridge) + label_room("vm", details.vm);
    for (const auto& label : details.labels) {
        room += label_room(label.name, label.value);
    }
    if (!block.reserve(room)) {
        return false;
    }
    block.text(name);
    block.character('{');
    block.text(peer.label_text());
    write_label(block, "kind", to_text(peer.kind()));
    write_label(block, "source", details.source);
    write_label(block, "device", details.device);
    write_label(block, "bridge", details.bridge);
    write_label(block, "vm", details.vm);
    for (const auto& label : details.labels) {
        write_label(block, label.name, label.value);
    }
    block.text("} 1\n");
    return true;
}

}  // namespace

PeerRows::PeerRows(const Snapshot& snapshot)
    : snapshot_(&snapshot),
      peers_kept_(snapshot.peers.size()) {
    ensure_consistent(snapshot);
    for (const double edge : edges_of(snapshot)) {
        bucket_ends_.push_back(",le=\"" + bucket_bound_text(edge) + "\"} ");
    }
    bucket_ends_.emplace_back(",le=\"+Inf\"} ");
    for (const auto& end : bucket_ends_) {
        bucket_ends_bytes_ += end.size();
    }
    series_ = lines_of_peers(nullptr);
}

std::span<const PeerRows::Family> PeerRows::families() {
    using Self = PeerRows;
    static constexpr std::array families{
        Family{Metric::peer_up, &Self::write_peer_up},
        Family{Metric::peer_state_changes, &Self::write_state_changes},
        Family{Metric::peer_last_change, &Self::write_last_change},
        Family{Metric::peer_info, &Self::write_infos},
        Family{Metric::probe_up, &Self::write_probe_up},
        Family{Metric::probe_rtt, &Self::write_histograms},
        Family{Metric::probe_sent, &Self::write_counters, &ProbeCounters::sent},
        Family{Metric::probe_received, &Self::write_counters, &ProbeCounters::received},
        Family{Metric::probe_lost, &Self::write_counters, &ProbeCounters::lost},
        Family{Metric::probe_late, &Self::write_counters, &ProbeCounters::late},
        Family{Metric::probe_duplicates, &Self::write_counters, &ProbeCounters::duplicates},
        Family{Metric::probe_reordered, &Self::write_counters, &ProbeCounters::reordered},
        Family{Metric::probe_failures, &Self::write_failures},
        Family{Metric::tcp_syn_retransmits, &Self::write_syn_retransmits},
        Family{Metric::probe_jitter, &Self::write_jitter},
    };
    return families;
}

/// Sample lines of all peers together; with `by_peer`, which has a zero for each, also of each.
std::uint64_t PeerRows::lines_of_peers(std::vector<std::uint32_t>* by_peer) const {
    std::uint64_t total = 0;
    const auto add = [&](std::size_t peer, std::uint64_t lines) {
        total += lines;
        if (by_peer != nullptr) {
            (*by_peer)[peer] += static_cast<std::uint32_t>(lines);
        }
    };
    for (std::size_t peer = 0; peer < snapshot_->peers.size(); ++peer) {
        add(peer, lines_of(snapshot_->peers[peer]));
    }
    constexpr std::uint64_t sum_and_count = 2;
    const auto histogram = bucket_ends_.size() + sum_and_count;
    for (const auto& probe : snapshot_->probes) {
        add(probe.peer, histogram + lines_of(probe));
    }
    for (const auto& failure : snapshot_->failures) {
        add(snapshot_->probes[failure.probe].peer, 1);
    }
    return total;
}

void PeerRows::limit(std::uint64_t budget) {
    const auto wanted = series_ + series_dropped_;
    if (wanted <= budget) {
        return;
    }
    std::vector<std::uint32_t> by_peer(snapshot_->peers.size());
    lines_of_peers(&by_peer);
    const auto kept =
        keep_first(by_peer.size(), budget, [&](std::size_t peer) { return by_peer[peer]; });
    peers_kept_ = kept.rows;
    series_ = kept.series;
    series_dropped_ = wanted - kept.series;
}

template <class WriteValue>
bool PeerRows::write_probe_line(TextBlock& block,
                                std::string_view name,
                                const ProbeSnapshot& probe,
                                WriteValue write_value) const {
    const auto& labels = labels_of(probe);
    if (!block.reserve(name.size() + labels.size() + line_rest_max)) {
        return false;
    }
    block.text(name);
    block.character('{');
    block.text(labels);
    write_probe_labels(block, probe);
    block.text("} ");
    write_value(block);
    block.character('\n');
    return true;
}

bool PeerRows::write_peer_up(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(peers_kept_, [&](std::size_t row) {
        const auto& peer = snapshot_->peers[row];
        return !peer.up || write_sample(cursor.block, name, labels_of(peer), [&](TextBlock& out) {
            out.text(zero_or_one(*peer.up));
        });
    });
}

bool PeerRows::write_state_changes(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(peers_kept_, [&](std::size_t row) {
        const auto& peer = snapshot_->peers[row];
        return write_sample(cursor.block, name, labels_of(peer), [&](TextBlock& out) {
            out.number(peer.state_changes);
        });
    });
}

bool PeerRows::write_last_change(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(peers_kept_, [&](std::size_t row) {
        const auto& peer = snapshot_->peers[row];
        return peer.last_change == WallTime{} ||
               write_sample(cursor.block, name, labels_of(peer), [&](TextBlock& out) {
                   out.unix_seconds(peer.last_change);
               });
    });
}

bool PeerRows::write_infos(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(peers_kept_, [&](std::size_t row) {
        return write_info(cursor.block, name, *snapshot_->peers[row].identity);
    });
}

bool PeerRows::write_probe_up(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        const auto& probe = snapshot_->probes[row];
        return !probe.up || !is_kept(probe) ||
               write_probe_line(cursor.block, name, probe, [&](TextBlock& out) {
                   out.text(zero_or_one(*probe.up));
               });
    });
}

bool PeerRows::write_histograms(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        return !is_kept(snapshot_->probes[row]) || write_histogram(cursor.block, name, row);
    });
}

bool PeerRows::write_histogram(TextBlock& block,
                               std::string_view name,
                               std::size_t probe_index) const {
    const auto& probe = snapshot_->probes[probe_index];
    const auto& labels = labels_of(probe);
    const auto lines = bucket_ends_.size() + 2;
    if (!block.reserve(lines * (name.size() + labels.size() + line_rest_max) +
                       bucket_ends_bytes_)) {
        return false;
    }
    const auto* count = &snapshot_->rtt_buckets[probe_index * bucket_ends_.size()];
    const char* const line = block.position();
    block.text(name);
    block.text("_bucket{");
    const char* const labels_begin = block.position();
    block.text(labels);
    write_probe_labels(block, probe);
    // What all lines of this histogram have in common is copied from its first one.
    const std::string_view prefix(line, static_cast<std::size_t>(block.position() - line));
    const std::string_view all_labels(labels_begin,
                                      static_cast<std::size_t>(block.position() - labels_begin));

    std::uint64_t below = 0;
    for (const auto& bucket_end : bucket_ends_) {
        if (&bucket_end != bucket_ends_.data()) {
            block.text(prefix);
        }
        below += *count++;
        block.text(bucket_end);
        block.number(below);
        block.character('\n');
    }
    block.text(name);
    block.text("_sum{");
    block.text(all_labels);
    block.text("} ");
    block.seconds(probe.rtt_sum);
    block.character('\n');
    block.text(name);
    block.text("_count{");
    block.text(all_labels);
    block.text("} ");
    block.number(below);
    block.character('\n');
    return true;
}

bool PeerRows::write_counters(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        const auto& probe = snapshot_->probes[row];
        return !is_kept(probe) || write_probe_line(cursor.block, name, probe, [&](TextBlock& out) {
            out.number(probe.counters.*family.counter);
        });
    });
}

bool PeerRows::write_failures(const Family& family, RowCursor& cursor) const {
    auto& block = cursor.block;
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(snapshot_->failures.size(), [&](std::size_t row) {
        const auto& failure = snapshot_->failures[row];
        const auto& probe = snapshot_->probes[failure.probe];
        if (!is_kept(probe)) {
            return true;
        }
        const auto& labels = labels_of(probe);
        const auto reason = to_text(failure.reason);
        if (!block.reserve(name.size() + labels.size() + reason.size() + line_rest_max)) {
            return false;
        }
        block.text(name);
        block.character('{');
        block.text(labels);
        write_probe_labels(block, probe);
        block.text(",reason=\"");
        block.text(reason);
        block.text("\"} ");
        block.number(failure.count);
        block.character('\n');
        return true;
    });
}

bool PeerRows::write_syn_retransmits(const Family& family, RowCursor& cursor) const {
    auto& block = cursor.block;
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        const auto& probe = snapshot_->probes[row];
        if (probe.kind != ProbeKind::tcp || !is_kept(probe)) {
            return true;
        }
        const auto& labels = labels_of(probe);
        if (!block.reserve(name.size() + labels.size() + line_rest_max)) {
            return false;
        }
        block.text(name);
        block.character('{');
        block.text(labels);
        write_port_label(block, probe);
        block.text("} ");
        block.number(probe.syn_retransmits);
        block.character('\n');
        return true;
    });
}

bool PeerRows::write_jitter(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        const auto& probe = snapshot_->probes[row];
        return !is_kept(probe) || write_probe_line(cursor.block, name, probe, [&](TextBlock& out) {
            out.seconds(probe.jitter);
        });
    });
}

}  // namespace reachd
