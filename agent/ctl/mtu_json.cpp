#include "agent/ctl/mtu_json.hpp"

#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

#include "common/log_text.hpp"

namespace reachd::ctl {
namespace {

using Json = nlohmann::ordered_json;

Json bytes_or_null(std::uint32_t bytes) {
    return bytes == 0 ? Json() : Json(bytes);
}

Json text_or_null(std::string_view text) {
    return text.empty() ? Json() : Json(text);
}

Json reporter_or_null(const IpAddress& reporter, const MtuReport& report) {
    return reporter.is_unspecified() ? Json() : Json(named(reporter, report));
}

Json json_of(const PathMtu& mtu, const MtuReport& report) {
    return {{"expected_bytes", mtu.expected},
            {"bytes", bytes_or_null(mtu.bytes)},
            {"verdict", to_text(mtu.verdict)},
            {"direction", to_text(mtu.direction)},
            {"reporter", reporter_or_null(mtu.reporter, report)},
            {"reporter_mtu_bytes", bytes_or_null(mtu.reported)},
            {"device", text_or_null(report.smaller_device)},
            {"largest_fragment_bytes", bytes_or_null(mtu.fragment)}};
}

Json json_of(const MtuTrial& trial, const MtuReport& report) {
    return {{"bytes", trial.bytes},
            {"sent", trial.sent},
            {"answered", trial.answered},
            {"largest_fragment_bytes", bytes_or_null(trial.fragment)},
            {"too_big", trial.too_big},
            {"reporter", reporter_or_null(trial.reporter, report)},
            {"reporter_mtu_bytes", bytes_or_null(trial.reported)}};
}

}  // namespace

std::string mtu_json(const MtuReport& report) {
    const auto fault = fault_of(report.result);
    Json sizes = Json::array();
    for (const MtuTrial& trial : report.trials) {
        sizes.push_back(json_of(trial, report));
    }
    const Json whole{{"time", rfc3339_utc(report.time)},
                     {"target", report.target},
                     {"address", report.address},
                     {"source", text_or_null(report.source)},
                     {"device", text_or_null(report.device)},
                     {"device_mtu_bytes", bytes_or_null(report.device_mtu)},
                     {"sockets", report.by_raw_sockets ? "raw" : "ping"},
                     {"settled", report.settled},
                     {"answers", report.result.answers},
                     {"code", fault ? Json(fault->code) : Json()},
                     {"fault", fault ? Json(fault->name) : Json()},
                     {"mtu", json_of(report.result, report)},
                     {"forward", to_text(report.result.forward)},
                     {"reverse", to_text(report.result.reverse)},
                     {"sizes", sizes}};
    constexpr int indent = 2;
    return whole.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace reachd::ctl
