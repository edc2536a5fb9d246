// The answer to GET /metrics in the Prometheus text format 0.0.4, rendered block by block from one
// immutable snapshot, so that the 20 MB of 10,000 peers never exist at once. It spends the limit on
// series. It knows no sockets and no compression, and keeps nothing from one answer to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <prometheus/metric_family.h>

#include "common/build_info.hpp"
#include "common/snapshot.hpp"
#include "exporters/family_rows.hpp"
#include "exporters/interface_rows.hpp"
#include "exporters/metric_catalog.hpp"
#include "exporters/path_mtu_rows.hpp"
#include "exporters/peer_rows.hpp"
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

/// One answer. Families are whole and contiguous: those of the host first, then those of its
/// interfaces, then those of the peers, then those of their path MTUs; the limit is spent in this
/// order. A snapshot whose tables do not belong together is a bug.
class PrometheusText {
  public:
    static constexpr std::size_t block_bytes_default = std::size_t{64} * 1024;

    /// `block_bytes`: how much of the answer is made and held at a time. A block is larger only
    /// where the lines of a single peer, interface or histogram are.
    PrometheusText(std::shared_ptr<const Snapshot> snapshot,
                   const ExpositionExtras& extras,
                   std::size_t block_bytes = block_bytes_default);

    PrometheusText(const PrometheusText&) = delete;
    PrometheusText& operator=(const PrometheusText&) = delete;

    /// The next part of the answer, valid until the next call; empty after the last one.
    std::string_view next_block();

    /// Sample lines of the whole answer, and those that the limit left out of it: known at once.
    std::uint64_t series() const { return series_; }

    std::uint64_t series_dropped() const {
        return interfaces_.series_dropped() + peers_.series_dropped() + path_mtus_.series_dropped();
    }

  private:
    enum class Part : std::uint8_t { host, interfaces, peers, path_mtus, end };

    void apply_limit(std::uint64_t host_series);
    bool write_host_part();
    template <class Rows>
    bool write_families(const Rows& rows);
    bool write_header(Metric metric);

    std::shared_ptr<const Snapshot> snapshot_;
    InterfaceRows interfaces_;
    PeerRows peers_;
    PathMtuRows path_mtus_;
    std::uint64_t series_ = 0;

    std::string host_part_;
    std::size_t host_part_written_ = 0;
    Part part_ = Part::host;
    std::size_t family_ = 0;  ///< of the part
    bool header_written_ = false;
    TextBlock block_;
    RowCursor cursor_{block_};
};

}  // namespace reachd
