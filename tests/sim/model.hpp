// Tells in what two models of the kernel's tables differ.
#pragma once

#include <optional>
#include <string>

#include "agent/topology.hpp"
#include "tests/agent/fake_rtnetlink.hpp"

namespace reachd::sim {

/// In words, the first difference between the model and a fresh dump of `tables` (and what a test
/// has set besides); nothing: they are equal. Generations, counters
/// and virtual functions may differ.
std::optional<std::string> difference(const Topology& model,
                                      const Topology& fresh,
                                      const test::FakeRtnetlink& tables);

}  // namespace reachd::sim
