#include "exporters/prometheus_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/check.hpp"
#include "common/probe.hpp"
#include "exporters/host_text.hpp"

namespace reachd {
namespace {

// What a line needs beside its name, the labels of the peer and the bound of a bucket: the labels
// `probe` and `port`, braces, suffixes such as _bucket, the value.
constexpr std::size_t line_rest_max = 64 + number_text_max;

constexpr std::uint64_t counters_per_probe =
    6;  // sent, received, lost, late, duplicates, reordered

std::uint64_t lines_of(const PeerSnapshot& peer) {
    constexpr std::uint64_t always = 2;  // state changes and info
    return always + (peer.up ? 1U : 0U) + (peer.last_change != WallTime{} ? 1U : 0U);
}

std::string_view zero_or_one(bool value) {
    return value ? "1" : "0";
}

std::string_view probe_label(ProbeKind kind) {
    switch (kind) {
        case ProbeKind::icmp: return ",probe=\"icmp\"";
    }
    return "";
}

void write_probe_labels(TextBlock& block, const ProbeSnapshot& probe) {
    block.text(probe_label(probe.kind));
    if (probe.port != 0) {
        block.text(",port=\"");
        block.number(probe.port);
        block.character('"');
    }
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

}  // namespace

PrometheusText::PrometheusText(std::shared_ptr<const Snapshot> snapshot,
                               const ExpositionExtras& extras,
                               std::size_t block_bytes)
    : snapshot_(std::move(snapshot)),
      block_(block_bytes) {
    ENSURE(snapshot_ != nullptr);
    ENSURE(block_bytes > 0);
    ensure_consistent(*snapshot_);
    for (const double edge : edges_of(*snapshot_)) {
        bucket_ends_.push_back(",le=\"" + bucket_bound_text(edge) + "\"} ");
    }
    bucket_ends_.emplace_back(",le=\"+Inf\"} ");
    for (const auto& end : bucket_ends_) {
        bucket_ends_bytes_ += end.size();
    }

    auto host = host_text(*snapshot_, extras);
    const auto host_series = host.series + series_text_lines;
    const auto limit = snapshot_->series_limit;
    choose_peers(limit > host_series ? limit - host_series : 0);
    series_ += host_series;
    host_part_ = std::move(host.text);
    host_part_ += series_text(series_, extras.series_dropped_before + series_dropped_);
}

std::span<const PrometheusText::PeerFamily> PrometheusText::peer_families() {
    using Self = PrometheusText;
    static constexpr std::array families{
        PeerFamily{Metric::peer_up, &Self::write_peer_up},
        PeerFamily{Metric::peer_state_changes, &Self::write_state_changes},
        PeerFamily{Metric::peer_last_change, &Self::write_last_change},
        PeerFamily{Metric::peer_info, &Self::write_infos},
        PeerFamily{Metric::probe_up, &Self::write_probe_up},
        PeerFamily{Metric::probe_rtt, &Self::write_histograms},
        PeerFamily{Metric::probe_sent, &Self::write_counters, &ProbeCounters::sent},
        PeerFamily{Metric::probe_received, &Self::write_counters, &ProbeCounters::received},
        PeerFamily{Metric::probe_lost, &Self::write_counters, &ProbeCounters::lost},
        PeerFamily{Metric::probe_late, &Self::write_counters, &ProbeCounters::late},
        PeerFamily{Metric::probe_duplicates, &Self::write_counters, &ProbeCounters::duplicates},
        PeerFamily{Metric::probe_reordered, &Self::write_counters, &ProbeCounters::reordered},
        PeerFamily{Metric::probe_failures, &Self::write_failures},
        PeerFamily{Metric::probe_jitter, &Self::write_jitter},
    };
    return families;
}

/// Sample lines of all peers together; with `by_peer`, which has a zero for each, also of each.
std::uint64_t PrometheusText::lines_of_peers(std::vector<std::uint32_t>* by_peer) const {
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
    constexpr std::uint64_t sum_count_jitter = 3;
    const auto always = bucket_ends_.size() + sum_count_jitter + counters_per_probe;
    for (const auto& probe : snapshot_->probes) {
        add(probe.peer, always + (probe.up ? 1U : 0U));
    }
    for (const auto& failure : snapshot_->failures) {
        add(snapshot_->probes[failure.probe].peer, 1);
    }
    return total;
}

/// Keeps the longest row of first peers whose lines fit: a peer is shown whole or not at all, and
/// the same ones stay while peers come and go behind them.
void PrometheusText::choose_peers(std::uint64_t budget) {
    const auto wanted = lines_of_peers(nullptr);
    if (snapshot_->series_limit == 0 || wanted <= budget) {
        peers_kept_ = snapshot_->peers.size();
        series_ = wanted;
        return;
    }
    std::vector<std::uint32_t> by_peer(snapshot_->peers.size());
    lines_of_peers(&by_peer);
    while (peers_kept_ < by_peer.size() && series_ + by_peer[peers_kept_] <= budget) {
        series_ += by_peer[peers_kept_];
        ++peers_kept_;
    }
    series_dropped_ = wanted - series_;
}

std::string_view PrometheusText::next_block() {
    block_.clear();
    if (!write_host_part()) {
        return block_.view();
    }
    const auto families = peer_families();
    while (family_ < families.size() && write_family(families[family_])) {
        ++family_;
        header_written_ = false;
        row_ = 0;
    }
    return block_.view();
}

bool PrometheusText::write_host_part() {
    const auto left = std::string_view(host_part_).substr(host_part_written_);
    const auto part = left.substr(0, block_.room());
    block_.text(part);
    host_part_written_ += part.size();
    return part.size() == left.size();
}

bool PrometheusText::write_family(const PeerFamily& family) {
    if (!header_written_) {
        const auto header = family_header(family.metric);
        if (!block_.reserve(header.size())) {
            return false;
        }
        block_.text(header);
        header_written_ = true;
    }
    return (this->*family.write_rows)(family);
}

/// Calls write_row(row) from where the last block ended, until it returns false.
template <class WriteRow>
bool PrometheusText::for_each_row(std::size_t count, WriteRow write_row) {
    for (; row_ < count; ++row_) {
        if (!write_row(row_)) {
            return false;
        }
    }
    return true;
}

template <class WriteValue>
bool PrometheusText::write_peer_line(std::string_view name,
                                     const PeerSnapshot& peer,
                                     WriteValue write_value) {
    const auto& labels = peer.identity->label_text();
    if (!block_.reserve(name.size() + labels.size() + line_rest_max)) {
        return false;
    }
    block_.text(name);
    block_.character('{');
    block_.text(labels);
    block_.text("} ");
    write_value(block_);
    block_.character('\n');
    return true;
}

template <class WriteValue>
bool PrometheusText::write_probe_line(std::string_view name,
                                      const ProbeSnapshot& probe,
                                      WriteValue write_value) {
    const auto& labels = labels_of(probe);
    if (!block_.reserve(name.size() + labels.size() + line_rest_max)) {
        return false;
    }
    block_.text(name);
    block_.character('{');
    block_.text(labels);
    write_probe_labels(block_, probe);
    block_.text("} ");
    write_value(block_);
    block_.character('\n');
    return true;
}

bool PrometheusText::write_peer_up(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(peers_kept_, [&](std::size_t row) {
        const auto& peer = snapshot_->peers[row];
        return !peer.up || write_peer_line(name, peer, [&](TextBlock& block) {
            block.text(zero_or_one(*peer.up));
        });
    });
}

bool PrometheusText::write_state_changes(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(peers_kept_, [&](std::size_t row) {
        const auto& peer = snapshot_->peers[row];
        return write_peer_line(
            name, peer, [&](TextBlock& block) { block.number(peer.state_changes); });
    });
}

bool PrometheusText::write_last_change(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(peers_kept_, [&](std::size_t row) {
        const auto& peer = snapshot_->peers[row];
        return peer.last_change == WallTime{} || write_peer_line(name, peer, [&](TextBlock& block) {
                   block.unix_seconds(peer.last_change);
               });
    });
}

bool PrometheusText::write_infos(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(peers_kept_, [&](std::size_t row) {
        return write_info(name, *snapshot_->peers[row].identity);
    });
}

bool PrometheusText::write_info(std::string_view name, const PeerIdentity& peer) {
    const PeerDetails& details = peer.details();
    // `,name="value"` with every character escaped.
    const auto room_for = [](std::string_view label, std::string_view value) {
        return label.size() + 2 * value.size() + 4;
    };
    auto room = name.size() + peer.label_text().size() + line_rest_max +
                room_for("source", details.source) + room_for("device", details.device);
    for (const auto& label : details.labels) {
        room += room_for(label.name, label.value);
    }
    if (!block_.reserve(room)) {
        return false;
    }
    const auto write_label = [this](std::string_view label, std::string_view value) {
        if (!value.empty()) {
            block_.character(',');
            block_.text(label);
            block_.text("=\"");
            block_.escaped(value);
            block_.character('"');
        }
    };
    block_.text(name);
    block_.character('{');
    block_.text(peer.label_text());
    write_label("kind", to_text(peer.kind()));
    write_label("source", details.source);
    write_label("device", details.device);
    for (const auto& label : details.labels) {
        write_label(label.name, label.value);
    }
    block_.text("} 1\n");
    return true;
}

bool PrometheusText::write_probe_up(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        const auto& probe = snapshot_->probes[row];
        return !probe.up || !is_kept(probe) || write_probe_line(name, probe, [&](TextBlock& block) {
            block.text(zero_or_one(*probe.up));
        });
    });
}

bool PrometheusText::write_histograms(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        return !is_kept(snapshot_->probes[row]) || write_histogram(name, row);
    });
}

bool PrometheusText::write_histogram(std::string_view name, std::size_t probe_index) {
    const auto& probe = snapshot_->probes[probe_index];
    const auto& labels = labels_of(probe);
    const auto lines = bucket_ends_.size() + 2;
    if (!block_.reserve(lines * (name.size() + labels.size() + line_rest_max) +
                        bucket_ends_bytes_)) {
        return false;
    }
    const auto* count = &snapshot_->rtt_buckets[probe_index * bucket_ends_.size()];
    const char* const line = block_.position();
    block_.text(name);
    block_.text("_bucket{");
    const char* const labels_begin = block_.position();
    block_.text(labels);
    write_probe_labels(block_, probe);
    // What all lines of this histogram have in common is copied from its first one.
    const std::string_view prefix(line, static_cast<std::size_t>(block_.position() - line));
    const std::string_view all_labels(labels_begin,
                                      static_cast<std::size_t>(block_.position() - labels_begin));

    std::uint64_t below = 0;
    for (const auto& bucket_end : bucket_ends_) {
        if (&bucket_end != bucket_ends_.data()) {
            block_.text(prefix);
        }
        below += *count++;
        block_.text(bucket_end);
        block_.number(below);
        block_.character('\n');
    }
    block_.text(name);
    block_.text("_sum{");
    block_.text(all_labels);
    block_.text("} ");
    block_.seconds(probe.rtt_sum);
    block_.character('\n');
    block_.text(name);
    block_.text("_count{");
    block_.text(all_labels);
    block_.text("} ");
    block_.number(below);
    block_.character('\n');
    return true;
}

bool PrometheusText::write_counters(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        const auto& probe = snapshot_->probes[row];
        return !is_kept(probe) || write_probe_line(name, probe, [&](TextBlock& block) {
            block.number(probe.counters.*family.counter);
        });
    });
}

bool PrometheusText::write_failures(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(snapshot_->failures.size(), [&](std::size_t row) {
        const auto& failure = snapshot_->failures[row];
        const auto& probe = snapshot_->probes[failure.probe];
        if (!is_kept(probe)) {
            return true;
        }
        const auto& labels = labels_of(probe);
        const auto reason = to_text(failure.reason);
        if (!block_.reserve(name.size() + labels.size() + reason.size() + line_rest_max)) {
            return false;
        }
        block_.text(name);
        block_.character('{');
        block_.text(labels);
        write_probe_labels(block_, probe);
        block_.text(",reason=\"");
        block_.text(reason);
        block_.text("\"} ");
        block_.number(failure.count);
        block_.character('\n');
        return true;
    });
}

bool PrometheusText::write_jitter(const PeerFamily& family) {
    const auto name = describe(family.metric).name;
    return for_each_row(snapshot_->probes.size(), [&](std::size_t row) {
        const auto& probe = snapshot_->probes[row];
        return !is_kept(probe) || write_probe_line(name, probe, [&](TextBlock& block) {
            block.seconds(probe.jitter);
        });
    });
}

}  // namespace reachd
