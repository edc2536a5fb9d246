// The answer to GET /metrics in the Prometheus text format 0.0.4, rendered block by block from one
// immutable snapshot, so that the 20 MB of 10,000 peers never exist at once. It decides which
// series are left out beyond the limit. It knows no sockets and no compression, and keeps nothing
// from one answer to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <prometheus/metric_family.h>

#include "common/build_info.hpp"
#include "common/snapshot.hpp"
#include "exporters/metric_catalog.hpp"
#include "exporters/text_block.hpp"

namespace reachd {

/// What /metrics shows beside the snapshot.
struct ExpositionExtras {
    BuildInfo build{};
    /// The metrics of the process and of its HTTP server, written by prometheus-cpp's serializer.
    std::vector<prometheus::MetricFamily> families{};
    /// reachd_series_dropped_total before this answer.
    std::uint64_t series_dropped_before = 0;
};

/// One answer. Families are whole and contiguous: those of the host first, then those of the peers.
/// A snapshot whose tables do not belong together (a probe of no peer, missing buckets) is a bug.
class PrometheusText {
  public:
    static constexpr std::size_t block_bytes_default = std::size_t{64} * 1024;

    /// `block_bytes`: how much of the answer is made and held at a time. A block is larger only
    /// where the lines of a single peer or histogram are.
    PrometheusText(std::shared_ptr<const Snapshot> snapshot,
                   const ExpositionExtras& extras,
                   std::size_t block_bytes = block_bytes_default);

    PrometheusText(const PrometheusText&) = delete;
    PrometheusText& operator=(const PrometheusText&) = delete;

    /// The next part of the answer, valid until the next call; empty after the last one.
    std::string_view next_block();

    /// Sample lines of the whole answer, and those that the limit left out of it: known at once.
    std::uint64_t series() const { return series_; }

    std::uint64_t series_dropped() const { return series_dropped_; }

  private:
    /// A family with lines for each peer. `write_rows` writes them from row_ on and returns false
    /// when the block is full before the last one.
    struct PeerFamily {
        Metric metric;
        bool (PrometheusText::*write_rows)(const PeerFamily& family);
        std::uint64_t ProbeCounters::*counter = nullptr;  ///< for write_counters
    };

    static std::span<const PeerFamily> peer_families();

    void choose_peers(std::uint64_t budget);
    std::uint64_t lines_of_peers(std::vector<std::uint32_t>* by_peer) const;

    bool write_host_part();
    bool write_family(const PeerFamily& family);

    template <class WriteRow>
    bool for_each_row(std::size_t count, WriteRow write_row);
    template <class WriteValue>
    bool write_peer_line(std::string_view name, const PeerSnapshot& peer, WriteValue write_value);
    template <class WriteValue>
    bool write_probe_line(std::string_view name,
                          const ProbeSnapshot& probe,
                          WriteValue write_value);

    bool write_peer_up(const PeerFamily& family);
    bool write_state_changes(const PeerFamily& family);
    bool write_last_change(const PeerFamily& family);
    bool write_infos(const PeerFamily& family);
    bool write_info(std::string_view name, const PeerIdentity& peer);
    bool write_probe_up(const PeerFamily& family);
    bool write_histograms(const PeerFamily& family);
    bool write_histogram(std::string_view name, std::size_t probe);
    bool write_counters(const PeerFamily& family);
    bool write_failures(const PeerFamily& family);
    bool write_jitter(const PeerFamily& family);

    bool is_kept(const ProbeSnapshot& probe) const { return probe.peer < peers_kept_; }

    const std::string& labels_of(const ProbeSnapshot& probe) const {
        return snapshot_->peers[probe.peer].identity->label_text();
    }

    std::shared_ptr<const Snapshot> snapshot_;
    std::vector<std::string> bucket_ends_;  ///< `,le="0.005"} ` for each edge, then +Inf
    std::size_t bucket_ends_bytes_ = 0;
    std::size_t peers_kept_ = 0;
    std::uint64_t series_ = 0;
    std::uint64_t series_dropped_ = 0;

    std::string host_part_;
    std::size_t host_part_written_ = 0;
    std::size_t family_ = 0;
    bool header_written_ = false;
    std::size_t row_ = 0;
    TextBlock block_;
};

}  // namespace reachd
