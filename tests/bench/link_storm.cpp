// A storm of link events: veth pairs made, enslaved to bridges and set up, then deleted by group,
// as fast as the kernel takes the requests. Only ever in a network namespace that is its own
// (tests/bench/run makes one): it deletes every link of group 7 and every bridge named storm*.
//
// Arguments: pairs of one storm, per_bridge ports (the kernel's limit is 1023), do=create|delete|
// both, secs: storms one after another for that long (0: one).
// Prints pairs (of all storms), storms, create_s, delete_s (of all), pairs_per_second (created).
// Exit status: 0 done, 1 the kernel refused something, 2 wrong usage.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include <linux/veth.h>
#include <net/if.h>

#include "tests/bench/arguments.hpp"
#include "tests/bench/raw_netlink.hpp"

namespace reachd::bench {
namespace {

constexpr std::uint32_t storm_group = 7;
constexpr double second_ns = 1e9;

struct Options {
    std::uint32_t pairs;
    std::uint32_t per_bridge;
    bool creates;
    bool deletes;
    double seconds;
};

class StormMaker {
  public:
    explicit StormMaker(const Options& options) : options_(options) {
        // The answer to a request then carries its head only.
        const int on = 1;
        setsockopt(netlink_.fd(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    }

    void run() {
        const auto end =
            clock_ns(CLOCK_MONOTONIC) + static_cast<std::int64_t>(options_.seconds * second_ns);
        if (options_.creates) {
            make_bridges();
        }
        do {
            storm();
        } while (clock_ns(CLOCK_MONOTONIC) < end);
        if (options_.deletes) {
            delete_bridges();
        }
    }

    void print() const {
        const double create_s = static_cast<double>(create_ns_) / second_ns;
        std::printf("pairs=%llu storms=%u create_s=%.3f delete_s=%.3f pairs_per_second=%.0f\n",
                    static_cast<unsigned long long>(pairs_),
                    storms_,
                    create_s,
                    static_cast<double>(delete_ns_) / second_ns,
                    create_s > 0 ? static_cast<double>(pairs_) / create_s : 0.0);
    }

  private:
    void storm() {
        ++storms_;
        const auto began = clock_ns(CLOCK_MONOTONIC);
        if (options_.creates) {
            for (std::uint32_t i = 0; i < options_.pairs; ++i) {
                make_pair(i);
            }
            pairs_ += options_.pairs;
        }
        const auto created = clock_ns(CLOCK_MONOTONIC);
        create_ns_ += created - began;
        if (options_.deletes) {
            LinkRequest request(RTM_DELLINK, NLM_F_ACK);
            request.add(IFLA_GROUP, storm_group);
            talk(request, "delete the pairs");
            delete_ns_ += clock_ns(CLOCK_MONOTONIC) - created;
        }
    }

    std::uint32_t bridge_count() const {
        return (options_.pairs + options_.per_bridge - 1) / options_.per_bridge;
    }

    static std::string bridge_name(std::uint32_t i) { return "storm" + std::to_string(i); }

    void make_bridges() {
        for (std::uint32_t i = 0; i < bridge_count(); ++i) {
            const std::string name = bridge_name(i);
            LinkRequest request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
            request.set_up();
            request.add(IFLA_IFNAME, name.c_str());
            const auto info = request.begin(IFLA_LINKINFO);
            request.add(IFLA_INFO_KIND, "bridge");
            request.end(info);
            talk(request, "make a bridge");
            bridges_.push_back(if_nametoindex(name.c_str()));
        }
    }

    void delete_bridges() {
        for (std::uint32_t i = 0; i < bridge_count(); ++i) {
            const unsigned index = if_nametoindex(bridge_name(i).c_str());
            LinkRequest request(RTM_DELLINK, NLM_F_ACK, static_cast<int>(index));
            talk(request, "delete a bridge");
        }
    }

    /// Two requests: a peer cannot be created up.
    void make_pair(std::uint32_t i) {
        const std::string port = "sa" + std::to_string(i);
        const std::string peer = "sb" + std::to_string(i);
        LinkRequest request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.set_up();
        request.add(IFLA_IFNAME, port.c_str());
        request.add(IFLA_MASTER, bridges_[i / options_.per_bridge]);
        request.add(IFLA_GROUP, storm_group);
        const auto info = request.begin(IFLA_LINKINFO);
        request.add(IFLA_INFO_KIND, "veth");
        const auto data = request.begin(IFLA_INFO_DATA);
        const auto other = request.begin(VETH_INFO_PEER);
        const ifinfomsg none{};
        request.add_raw(&none, sizeof none);
        request.add(IFLA_IFNAME, peer.c_str());
        request.end(other);
        request.end(data);
        request.end(info);
        talk(request, "make a veth pair");

        LinkRequest up(RTM_NEWLINK, NLM_F_ACK);
        up.set_up();
        up.add(IFLA_IFNAME, peer.c_str());
        talk(up, "set a veth up");
    }

    void talk(LinkRequest& request, const char* operation) {
        netlink_.send(request.bytes(), request.size());
        std::array<std::uint8_t, 4096> answer{};
        const auto size = recv(netlink_.fd(), answer.data(), answer.size(), 0);
        nlmsgerr outcome{};
        if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof outcome))) {
            fail_netlink(operation, size < 0 ? errno : EPROTO);
        }
        std::memcpy(&outcome, answer.data() + NLMSG_HDRLEN, sizeof outcome);
        if (outcome.error != 0) {
            fail_netlink(operation, -outcome.error);
        }
    }

    const Options options_;
    RawNetlink netlink_;
    std::vector<std::uint32_t> bridges_;
    std::uint64_t pairs_ = 0;
    std::uint32_t storms_ = 0;
    std::int64_t create_ns_ = 0;
    std::int64_t delete_ns_ = 0;
};

Options parse(int argc, char** argv) {
    const Arguments arguments(
        argc, argv, {{"pairs", "1000"}, {"per_bridge", "1000"}, {"do", "both"}, {"secs", "0"}});
    const std::string& what = arguments.text("do");
    if (what != "both" && what != "create" && what != "delete") {
        throw std::invalid_argument("do=" + what + ": want create, delete or both");
    }
    const Options options{arguments.number<std::uint32_t>("pairs", 1, 100'000),
                          arguments.number<std::uint32_t>("per_bridge", 1, 1023),
                          what != "delete",
                          what != "create",
                          arguments.number<double>("secs", 0, 3600)};
    if (options.seconds > 0 && what != "both") {
        throw std::invalid_argument("secs= wants do=both");
    }
    return options;
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    try {
        reachd::bench::StormMaker maker(reachd::bench::parse(argc, argv));
        maker.run();
        maker.print();
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "link_storm: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "link_storm: %s\n", error.what());
        return 1;
    }
}
