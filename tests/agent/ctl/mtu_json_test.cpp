#include "agent/ctl/mtu_json.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace reachd;
using namespace reachd::ctl;

namespace {

MtuReport signalled() {
    MtuReport report;
    report.target = "pm2";
    report.address = "10.77.0.21";
    report.source = "10.77.0.2";
    report.device = "eno1";
    report.device_mtu = 9000;
    report.time = WallTime(std::chrono::milliseconds(1500));
    report.result.verdict = MtuVerdict::signalled;
    report.result.direction = MtuDirection::forward;
    report.result.expected = 9000;
    report.result.bytes = 1400;
    report.result.reporter = IpAddress::v4({10, 0, 0, 1});
    report.result.reported = 1400;
    report.result.answers = true;
    report.trials = {{9000, 1, 0, 0, true, report.result.reporter, 1400},
                     {1400, 1, 1, 576, false, {}, 0}};
    return report;
}

}  // namespace

TEST_CASE("mtu json: the whole object") {
    const std::string text = mtu_json(signalled());
    CHECK(text.back() == '\n');
    CHECK(nlohmann::json::parse(text) == nlohmann::json::parse(R"({
        "time": "1970-01-01T00:00:01.500Z",
        "target": "pm2", "address": "10.77.0.21", "source": "10.77.0.2",
        "device": "eno1", "device_mtu_bytes": 9000, "sockets": "raw", "settled": true,
        "answers": true, "code": "E5001", "fault": "mtu_mismatch",
        "mtu": {"expected_bytes": 9000, "bytes": 1400, "verdict": "signalled",
                "direction": "forward", "reporter": "10.0.0.1", "reporter_mtu_bytes": 1400,
                "device": null, "largest_fragment_bytes": null},
        "forward": "unknown", "reverse": "unknown",
        "sizes": [{"bytes": 9000, "sent": 1, "answered": 0,
                   "largest_fragment_bytes": null, "too_big": true,
                   "reporter": "10.0.0.1", "reporter_mtu_bytes": 1400},
                  {"bytes": 1400, "sent": 1, "answered": 1,
                   "largest_fragment_bytes": 576, "too_big": false,
                   "reporter": null, "reporter_mtu_bytes": null}]})"));
}

TEST_CASE("mtu json: what is not known is null, and bytes that are no text do no harm") {
    MtuReport report;
    report.target = "x\xff\n\"";
    report.by_raw_sockets = false;
    report.settled = false;
    const auto object = nlohmann::json::parse(mtu_json(report));
    CHECK(object["mtu"]["bytes"].is_null());
    CHECK(object["source"].is_null());
    CHECK(object["code"].is_null());
    CHECK(object["sockets"] == "ping");
    CHECK(object["settled"] == false);
    CHECK(object["sizes"].empty());
}

TEST_CASE("mtu json: the local device that is smaller has its name") {
    auto report = signalled();
    report.result = {};
    report.result.verdict = MtuVerdict::local;
    report.smaller_device = "eno1";
    CHECK(nlohmann::json::parse(mtu_json(report))["mtu"]["device"] == "eno1");
}
