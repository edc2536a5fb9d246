// Fuzz target: hostile rtnetlink bytes, one by one and as a story. The input is a list of steps for
// the sync and its topology (datagrams, losses, time, answers to dumps); after each of them the
// model must be within its limits and agree with itself.
//
//   step = operation (1 byte), argument (2 bytes, little-endian), for datagrams `argument` bytes
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include <linux/netlink.h>

#include "agent/netlink_message.hpp"
#include "agent/netlink_sync.hpp"
#include "agent/topology.hpp"
#include "common/bytes.hpp"
#include "common/check.hpp"

namespace reachd {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr Topology::Limits limits{.links = 32,
                                  .addresses = 16,
                                  .neighbours = 16,
                                  .fdb_entries = 16,
                                  .routes = 24,
                                  .default_routes = 8,
                                  .vlan_ranges = 64,
                                  .virtual_functions = 8};

void check_message(const NetlinkMessage& message) {
    if (const auto* link = std::get_if<LinkChanged>(&message.body)) {
        ENSURE(link->index != IfIndex::any);
        ENSURE(!link->complete || (link->name && !link->name->empty()));
    }
    if (const auto* route = std::get_if<RouteChanged>(&message.body)) {
        ENSURE(route->route.next_hops.size() <= next_hops_max);
    }
}

void read_only(ByteView datagram) {
    NetlinkReader reader(datagram);
    std::size_t messages = 0;
    while (const auto* message = reader.next()) {
        check_message(*message);
        ++messages;
    }
    ENSURE(messages <= datagram.size() / sizeof(nlmsghdr) + 1);
}

void check_links(const Topology& topology) {
    const auto links = topology.links();
    ENSURE(links.size() == topology.link_count());
    ENSURE(links.size() <= limits.links);
    std::size_t vlan_ranges = 0;
    bool filters = false;
    for (const auto& link : links) {
        ENSURE(topology.link(link->index) == link);
        ENSURE(topology.name_of(link->index) == link->name);
        if (const auto owner = topology.index_of(link->name)) {
            ENSURE(topology.name_of(*owner) == link->name);
        }
        vlan_ranges += topology.vlans_of(link->index).size();
        filters = filters || (link->kind == LinkKind::bridge && link->bridge.vlan_filtering);
    }
    ENSURE(topology.filters_vlans() == filters);
    ENSURE(filters || vlan_ranges == 0);
    ENSURE(vlan_ranges <= limits.vlan_ranges);
}

void check_routes(const Topology& topology) {
    const auto routes = topology.routes();
    ENSURE(routes.size() ==
           topology.route_count(Family::ipv4) + topology.route_count(Family::ipv6));
    const auto defaults = std::count_if(
        routes.begin(), routes.end(), [](const Route& route) { return route.prefix_length == 0; });
    ENSURE(static_cast<std::size_t>(defaults) <= limits.default_routes);
    ENSURE(routes.size() - static_cast<std::size_t>(defaults) <= limits.routes);
    const auto gateways = topology.default_gateways();
    ENSURE(gateways.size() <= limits.default_routes * next_hops_max);
    for (std::size_t i = 1; i < gateways.size(); ++i) {
        ENSURE(gateways[i - 1].metric <= gateways[i].metric);
        ENSURE(!(gateways[i - 1] == gateways[i]));
    }
}

/// What is shown agrees with what is answered.
void check_snapshot(const Topology& topology) {
    const auto snapshot = topology.snapshot();
    ENSURE(snapshot->links == topology.links());
    ENSURE(snapshot->addresses.size() == topology.address_count());
    for (const auto& address : snapshot->addresses) {
        const auto of_device = topology.addresses_of(address.device);
        ENSURE(std::count(of_device.begin(), of_device.end(), address) == 1);
    }
    for (const auto& port : snapshot->vlans) {
        ENSURE(topology.vlans_of(port.port) == port.ranges);
    }
    std::size_t functions = 0;
    for (const auto& of_device : snapshot->virtual_functions) {
        ENSURE(topology.link(of_device.physical_function) != nullptr);
        functions += of_device.functions.size();
    }
    ENSURE(functions <= limits.virtual_functions);
    ENSURE(topology.has_virtual_functions() == (functions != 0));
    ENSURE(snapshot->default_gateways.size() == topology.default_gateways().size());
    ENSURE(snapshot->ipv4_routes == topology.route_count(Family::ipv4));
    ENSURE(snapshot->neighbours == topology.neighbour_count());
    ENSURE(snapshot->fdb_entries == topology.fdb_count());
}

void check_model(const Topology& topology) {
    check_links(topology);
    check_routes(topology);
    ENSURE(topology.address_count() <= limits.addresses);
    ENSURE(topology.neighbour_count() <= limits.neighbours);
    ENSURE(topology.neighbours().size() == topology.neighbour_count());
    ENSURE(topology.fdb_count() <= limits.fdb_entries);
    check_snapshot(topology);
}

class Story {
  public:
    void step(std::uint8_t operation, std::uint16_t argument) {
        switch (operation % 7) {
            case 0: sync_.on_overrun(now_); break;
            case 1: sync_.on_truncated(now_); break;
            case 2: wait(std::chrono::milliseconds(argument)); break;
            case 3: ask(); break;
            case 4: answer(argument); break;
            case 5: sync_.on_request_failed(now_); break;
            case 6: wait(Duration{0}); break;
        }
    }

    void datagram(Bytes bytes, bool as_answer) {
        if (as_answer && bytes.size() >= sizeof(nlmsghdr)) {
            nlmsghdr header{};
            std::memcpy(&header, bytes.data(), sizeof header);
            header.nlmsg_seq = request_ ? request_->sequence : 0;
            header.nlmsg_flags |= NLM_F_MULTI;
            std::memcpy(bytes.data(), &header, sizeof header);
        }
        sync_.on_datagram(bytes, now_);
    }

    void check() const { check_model(sync_.topology()); }

    void check_deadline() const {
        ENSURE(sync_.next_deadline() == mono_never || sync_.next_deadline() - now_.mono < minute);
    }

  private:
    static constexpr Duration minute = std::chrono::minutes(1);

    void wait(Duration time) {
        now_.mono += time;
        now_.wall += time;
        sync_.advance(now_);
        for (const auto& change : sync_.take_changes(now_.mono)) {
            ENSURE(change.facts.size() <= TopologyChange::facts_max);
            ENSURE(!change.facts.empty());
            ENSURE(!describe(change).empty());
            ENSURE(change.time.mono <= now_.mono);
        }
    }

    void ask() {
        if (const auto asked = sync_.take_request(now_.mono)) {
            request_ = asked;
        }
    }

    void answer(std::uint16_t argument) {
        nlmsghdr header{};
        header.nlmsg_len = sizeof header + sizeof(std::int32_t);
        header.nlmsg_type = NLMSG_DONE;
        header.nlmsg_flags = NLM_F_MULTI;
        if ((argument & 1U) != 0) {
            header.nlmsg_flags |= NLM_F_DUMP_INTR;
        }
        header.nlmsg_seq = request_ ? request_->sequence : 0;
        const std::int32_t error = -(argument >> 1);
        Bytes bytes(header.nlmsg_len);
        std::memcpy(bytes.data(), &header, sizeof header);
        std::memcpy(bytes.data() + sizeof header, &error, sizeof error);
        sync_.on_datagram(bytes, now_);
    }

    NetlinkSync sync_{limits};
    Instant now_{MonoTime{std::chrono::hours(1)}, WallTime{std::chrono::hours(1000)}};
    std::optional<DumpRequest> request_{};
};

void tell(ByteView input) {
    Story story;
    while (input.size() >= 3) {
        const std::uint8_t operation = input[0];
        const auto argument = static_cast<std::uint16_t>(input[1] | input[2] << 8);
        input = input.subspan(3);
        if ((operation & 0x80U) != 0) {
            const auto bytes = input.first(std::min<std::size_t>(argument, input.size()));
            input = input.subspan(bytes.size());
            story.datagram(Bytes(bytes.begin(), bytes.end()), (operation & 1U) != 0);
            story.check();
        } else {
            story.step(operation, argument);
        }
        story.check_deadline();
    }
    story.check();
}

}  // namespace
}  // namespace reachd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const reachd::ByteView input(data, size);
    reachd::read_only(input);
    reachd::tell(input);
    return 0;
}
