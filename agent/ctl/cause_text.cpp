#include "agent/ctl/cause_text.hpp"

#include <algorithm>

#include <fmt/core.h>

namespace reachd::ctl {

std::string short_reason(std::string_view reason) {
    if (reason == "timeout") {
        return "no answer";
    }
    std::string text(reason);
    std::replace(text.begin(), text.end(), '_', ' ');
    return text;
}

std::string sessions_down(const std::vector<ProbeState>& probes) {
    std::string text;
    for (const auto& probe : probes) {
        const bool is_told = probe.answered || probe.port.has_value();
        if (probe.state != "down" || !is_told) {
            continue;
        }
        text += text.empty() ? "" : ", ";
        text += probe.port ? fmt::format("{}/{}", probe.probe, *probe.port) : probe.probe;
        text += " " + (probe.reason.empty() ? "down" : short_reason(probe.reason));
    }
    return text;
}

}  // namespace reachd::ctl
