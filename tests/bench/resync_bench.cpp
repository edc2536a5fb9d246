// What a resync costs: the daemon's own socket and model read all tables anew, in turn with a raw
// reader that asks for the same tables and looks at four attributes. And what the model keeps of a
// link. Reads the network namespace it runs in and changes nothing; the links are made by others.
//
// Arguments: rounds (raw and resync in turn).
// Prints links, medians over the rounds of raw_links_ms, sync_links_ms, raw_all_ms, sync_all_ms
// (CPU, user and system, of all threads, from request to accepted), links_ratio and all_ratio
// (medians of the rounds' ratios), first_ms (first reading of the links, into an empty model),
// bytes_per_link (heap, after that reading). Exit status: 0 measured, 1 the kernel refused
// something, 2 wrong usage.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <malloc.h>

#include "agent/io/netlink_socket.hpp"
#include "agent/netlink_sync.hpp"
#include "tests/bench/arguments.hpp"
#include "tests/bench/raw_netlink.hpp"

namespace reachd::bench {
namespace {

double cpu_ms() {
    return static_cast<double>(clock_ns(CLOCK_PROCESS_CPUTIME_ID)) / 1e6;
}

std::size_t heap_bytes() {
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0.0 : values[values.size() / 2];
}

/// CPU of reading one table, or several.
struct Cost {
    double links_ms = 0;
    double all_ms = 0;
};

/// The daemon's way, without a daemon around it.
class Synchroniser final : private NetlinkSink {
  public:
    Synchroniser() : socket_(context_, [this] { check(socket_.drain(*this), "read rtnetlink"); }) {}

    /// All tables that are wanted by now; the first time these are all there are.
    Cost read_tables() {
        Cost cost;
        while (const auto request = sync_.take_request(now_.mono)) {
            const double took = read_table(*request);
            if (request->kind == DumpKind::statistics) {
                continue;  // no part of the sync: read every few seconds, sync or not
            }
            remember(*request);
            cost.all_ms += took;
            if (request->kind == DumpKind::links) {
                cost.links_ms += took;
            }
        }
        return cost;
    }

    /// As after a loss, and so much later that nothing is put off.
    void want_all() {
        sync_.on_overrun(now_);
        now_.mono += std::chrono::seconds(10);
        now_.wall += std::chrono::seconds(10);
    }

    std::size_t links() const { return sync_.topology().link_count(); }

    const std::vector<DumpRequest>& requests() const { return requests_; }

  private:
    static void check(std::error_code error, const char* operation) {
        if (error) {
            throw std::system_error(error, operation);
        }
    }

    double read_table(const DumpRequest& request) {
        running_ = request.sequence;
        const double began = cpu_ms();
        check(socket_.request(request), "ask for a dump");
        while (running_) {
            context_.restart();
            if (context_.run_one_for(std::chrono::seconds(5)) == 0) {
                throw std::runtime_error("a dump has no end");
            }
        }
        return cpu_ms() - began;
    }

    void remember(const DumpRequest& request) {
        if (!complete_) {
            const bool again = std::any_of(
                requests_.begin(), requests_.end(), [&request](const DumpRequest& earlier) {
                    return earlier.kind == request.kind;
                });
            complete_ = again;
            if (!again) {
                requests_.push_back(request);
            }
        }
    }

    void on_datagram(ByteView datagram) override {
        sync_.on_datagram(datagram, now_);
        while (datagram.size() >= sizeof(nlmsghdr)) {
            nlmsghdr header{};
            std::memcpy(&header, datagram.data(), sizeof header);
            const bool last = header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR;
            if (last && running_ == header.nlmsg_seq) {
                running_.reset();
            }
            datagram = tail(datagram, std::max<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), 1));
        }
    }

    void on_overrun() override { throw std::runtime_error("overrun"); }

    void on_truncated() override { throw std::runtime_error("truncated"); }

    boost::asio::io_context context_;
    NetlinkSync sync_;
    Instant now_{MonoTime(std::chrono::hours(1)), WallTime(std::chrono::hours(1))};
    std::optional<std::uint32_t> running_;
    std::vector<DumpRequest> requests_;  ///< of the first reading
    bool complete_ = false;
    NetlinkSocket socket_;
};

/// One dump: a request, and recv until it is over.
double read_raw(const void* request, std::size_t size) {
    static constexpr std::size_t buffer_bytes = 256 * 1024;
    static const auto buffer = std::make_unique<std::array<std::uint8_t, buffer_bytes>>();
    const RawNetlink netlink;
    MinimalReader reader;
    const double began = cpu_ms();
    netlink.send(request, size);
    for (bool done = false; !done;) {
        const auto received = recv(netlink.fd(), buffer->data(), buffer->size(), 0);
        if (received < 0) {
            fail_netlink("recv");
        }
        done = reader.read(buffer->data(), static_cast<std::size_t>(received));
    }
    return cpu_ms() - began;
}

/// The links by the leanest request there is; the other tables by the daemon's own.
Cost read_raw_tables(const std::vector<DumpRequest>& requests) {
    LinkRequest links(RTM_GETLINK, NLM_F_DUMP);
    links.add(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    Cost cost;
    cost.links_ms = read_raw(links.bytes(), links.size());
    cost.all_ms = cost.links_ms;
    for (const DumpRequest& request : requests) {
        if (request.kind != DumpKind::links) {
            const auto bytes = encode(request);
            cost.all_ms += read_raw(bytes.data(), bytes.size());
        }
    }
    return cost;
}

void measure(int rounds) {
    const std::size_t empty = heap_bytes();
    Synchroniser ours;
    const std::size_t before = heap_bytes();
    const Cost first = ours.read_tables();
    const std::size_t links = std::max<std::size_t>(ours.links(), 1);
    const double kept = static_cast<double>(heap_bytes() - before) / static_cast<double>(links);

    std::vector<double> raw_links;
    std::vector<double> raw_all;
    std::vector<double> sync_links;
    std::vector<double> sync_all;
    std::vector<double> links_ratio;
    std::vector<double> all_ratio;
    for (int round = 0; round < rounds; ++round) {
        const Cost raw = read_raw_tables(ours.requests());
        ours.want_all();
        const Cost sync = ours.read_tables();
        raw_links.push_back(raw.links_ms);
        raw_all.push_back(raw.all_ms);
        sync_links.push_back(sync.links_ms);
        sync_all.push_back(sync.all_ms);
        links_ratio.push_back(sync.links_ms / raw.links_ms);
        all_ratio.push_back(sync.all_ms / raw.all_ms);
    }
    std::printf(
        "links=%zu tables=%zu raw_links_ms=%.2f sync_links_ms=%.2f raw_all_ms=%.2f "
        "sync_all_ms=%.2f links_ratio=%.3f all_ratio=%.3f first_ms=%.2f bytes_per_link=%.0f "
        "fixed_kb=%zu\n",
        ours.links(),
        ours.requests().size(),
        median(raw_links),
        median(sync_links),
        median(raw_all),
        median(sync_all),
        median(links_ratio),
        median(all_ratio),
        first.links_ms,
        kept,
        (before - empty) / 1024);
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    try {
        const reachd::bench::Arguments arguments(argc, argv, {{"rounds", "7"}});
        reachd::bench::measure(arguments.number<int>("rounds", 1, 1000));
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "resync_bench: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "resync_bench: %s\n", error.what());
        return 1;
    }
}
