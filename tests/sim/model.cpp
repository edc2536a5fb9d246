#include "tests/sim/model.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace reachd::sim {
namespace {

using Difference = std::optional<std::string>;

std::string text_of(const Route& route) {
    std::string text = fmt::format("{}/{} {} {} {} {} {}",
                                   route.destination ? route.destination->to_string() : "default",
                                   route.prefix_length,
                                   static_cast<int>(route.family),
                                   route.metric,
                                   route.tos,
                                   route.type,
                                   route.next_hop_id);
    std::vector<std::string> hops;
    for (const NextHop& hop : route.next_hops) {
        hops.push_back(fmt::format(" {}%{}",
                                   hop.gateway ? hop.gateway->to_string() : "direct",
                                   static_cast<unsigned>(hop.device)));
    }
    std::sort(hops.begin(), hops.end());
    for (const std::string& hop : hops) {
        text += hop;
    }
    return text;
}

std::vector<std::string> routes_of(const Topology& topology) {
    std::vector<std::string> texts;
    for (const Route& route : topology.routes()) {
        texts.push_back(text_of(route));
    }
    std::sort(texts.begin(), texts.end());
    return texts;
}

bool same(const FdbChanged& a, const FdbChanged& b) {
    return a.bridge == b.bridge && a.port == b.port && a.mac == b.mac && a.vlan == b.vlan &&
           a.fixed == b.fixed;
}

std::vector<InterfaceAddress> addresses_of(const Topology& topology, IfIndex device) {
    auto addresses = topology.addresses_of(device);
    std::sort(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) {
        return std::pair(a.address, a.prefix_length) < std::pair(b.address, b.prefix_length);
    });
    return addresses;
}

Difference link_difference(const Topology& model, const Topology& fresh, const Link& wanted) {
    const std::string name =
        fmt::format("link {} ({})", static_cast<unsigned>(wanted.index), wanted.name);
    const auto known = model.link(wanted.index);
    if (!known) {
        return name + " is missing";
    }
    Link link = *known;
    link.generation = wanted.generation;
    if (link != wanted) {
        return name;
    }
    if (model.index_of(wanted.name) != fresh.index_of(wanted.name)) {
        return "the index of " + name;
    }
    if (addresses_of(model, wanted.index) != addresses_of(fresh, wanted.index)) {
        return "the addresses of " + name;
    }
    // Nobody asks for VLANs where no bridge filters by them.
    if (fresh.filters_vlans() && model.vlans_of(wanted.index) != fresh.vlans_of(wanted.index)) {
        return fmt::format("the VLANs of {}: {} ranges instead of {}",
                           name,
                           model.vlans_of(wanted.index).size(),
                           fresh.vlans_of(wanted.index).size());
    }
    const auto entries = model.fdb_of(wanted.index);
    const auto wanted_entries = fresh.fdb_of(wanted.index);
    if (!std::equal(
            entries.begin(), entries.end(), wanted_entries.begin(), wanted_entries.end(), same)) {
        return "the forwarding entries of " + name;
    }
    return std::nullopt;
}

/// Only that they belong to links that are there. What they are is not compared, since it may be
/// old at rest by design: events never tell of them, only dumps of links do. Those come once a
/// minute while some are known, and else after a loss only: so a new link's may be unknown.
Difference function_difference(const Topology& model) {
    for (const FunctionsOf& functions : model.snapshot()->virtual_functions) {
        if (!model.link(functions.physical_function)) {
            return fmt::format("virtual functions of no link, {}",
                               static_cast<unsigned>(functions.physical_function));
        }
    }
    return std::nullopt;
}

/// The kernel's first question for a neighbour is silent, so an unresolved one may be unknown.
Difference neighbour_difference(const Topology& model,
                                const Topology& fresh,
                                const test::FakeRtnetlink& tables) {
    std::size_t known = 0;
    for (const test::NeighbourFacts& facts : tables.neighbours()) {
        const auto device = static_cast<IfIndex>(facts.device);
        const auto found = model.neighbour(device, facts.address);
        const auto wanted = fresh.neighbour(device, facts.address);
        const bool may_lack = !wanted || wanted->state == NeighbourState::unresolved;
        known += found ? 1U : 0U;
        const bool right = found ? wanted && found->mac == wanted->mac &&
                                       found->state == wanted->state &&
                                       found->router == wanted->router
                                 : may_lack;
        if (!right) {
            return "neighbour " + facts.address.to_string();
        }
    }
    if (known != model.neighbour_count()) {
        return fmt::format("{} neighbours, {} of them real", model.neighbour_count(), known);
    }
    return std::nullopt;
}

}  // namespace

Difference difference(const Topology& model,
                      const Topology& fresh,
                      const test::FakeRtnetlink& tables) {
    if (model.link_count() != fresh.link_count()) {
        return fmt::format("{} links instead of {}", model.link_count(), fresh.link_count());
    }
    for (const auto& link : fresh.links()) {
        if (const auto found = link_difference(model, fresh, *link)) {
            return found;
        }
    }
    if (model.address_count() != fresh.address_count()) {
        return fmt::format(
            "{} addresses instead of {}", model.address_count(), fresh.address_count());
    }
    if (model.fdb_count() != fresh.fdb_count()) {
        return fmt::format(
            "{} forwarding entries instead of {}", model.fdb_count(), fresh.fdb_count());
    }
    if (routes_of(model) != routes_of(fresh)) {
        return "the routes";
    }
    if (model.default_gateways() != fresh.default_gateways()) {
        return "the default gateways";
    }
    if (const auto found = function_difference(model)) {
        return found;
    }
    return neighbour_difference(model, fresh, tables);
}

}  // namespace reachd::sim
