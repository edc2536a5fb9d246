#include "exporters/interface_rows.hpp"

#include <algorithm>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>
#include <fmt/core.h>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

namespace {

std::string render(const InterfaceRows& rows) {
    TextBlock block(std::size_t{1} << 24U);
    for (const auto& family : InterfaceRows::families()) {
        RowCursor cursor{block};
        REQUIRE((rows.*family.write)(family, cursor));
    }
    return std::string(block.view());
}

std::string render(const std::shared_ptr<TopologySnapshot>& topology) {
    Snapshot snapshot;
    snapshot.topology = topology;
    return render(InterfaceRows(snapshot));
}

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

std::uint64_t line_count(const std::string& text) {
    return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

/// The series of a text, and that none is there twice.
std::set<std::string> series_of(const std::string& text) {
    std::set<std::string> series;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        CAPTURE(line);
        CHECK(series.insert(line.substr(0, line.rfind(' '))).second);
    }
    return series;
}

}  // namespace

TEST_CASE("the lines of the sample interfaces") {
    const auto snapshot = test::sample_snapshot();
    const auto text = render(InterfaceRows(snapshot));
    CHECK(has_line(text,
                   "reachd_interface_info{device=\"eno1\",kind=\"physical\",driver=\"mlx5_core\","
                   "mac=\"52:54:00:ab:cd:02\",bridge=\"br0\"} 1"));
    CHECK(has_line(text, "reachd_interface_info{device=\"lo\",kind=\"other\"} 1"));
    CHECK(has_line(text, "reachd_interface_up{device=\"lo\"} 1"));
    CHECK(has_line(text,
                   R"(reachd_interface_info{device="vn\"0\\x1b",kind="tap",)"
                   R"(mac="52:54:00:ab:cd:05",bridge="br0",vm="web\\01"} 1)"));
    CHECK(has_line(text, R"(reachd_interface_info{device="véth6",kind="veth"} 1)"));
    CHECK(has_line(text, "reachd_interface_admin_up{device=\"eno1v0\"} 1"));
    CHECK(has_line(text, "reachd_interface_up{device=\"eno1v0\"} 0"));
    CHECK(has_line(text, "reachd_interface_admin_up{device=\"véth6\"} 0"));
    CHECK(has_line(text, "reachd_interface_mtu_bytes{device=\"eno1\"} 9000"));
    CHECK(has_line(text, "reachd_interface_carrier_changes_total{device=\"eno1\"} 3"));
    CHECK(has_line(text, "reachd_interface_receive_errors_total{device=\"eno1\"} 1"));
    CHECK(has_line(text, "reachd_interface_transmit_errors_total{device=\"eno1\"} 2"));
    CHECK(has_line(text, "reachd_interface_receive_drops_total{device=\"eno1\"} 3"));
    CHECK(has_line(text,
                   "reachd_interface_transmit_drops_total{device=\"eno1\"} 18446744073709551615"));
    CHECK(text.find("errors_total{device=\"br0\"}") == std::string::npos);
}

TEST_CASE("a port shows each of its states, and only where it is one of a bridge") {
    const auto snapshot = test::sample_snapshot();
    const auto text = render(InterfaceRows(snapshot));
    const std::string port = R"(reachd_bridge_port_state{bridge="br0",device="vn\"0\\x1b",state=")";
    CHECK(has_line(text, port + "blocking\"} 1"));
    for (const auto* state : {"disabled", "listening", "learning", "forwarding"}) {
        CHECK(has_line(text, port + state + "\"} 0"));
    }
    CHECK(has_line(text,
                   R"(reachd_bridge_port_state{bridge="br0",device="eno1",state="forwarding"} 1)"));

    // A port whose bridge is not known, and a device of a bond.
    auto topology = std::make_shared<TopologySnapshot>();
    const auto bond = test::add_link(*topology, "bond0", LinkKind::bond).index;
    auto& orphan = test::add_link(*topology, "a", LinkKind::veth);
    orphan.port = BridgePort{};
    orphan.master = static_cast<IfIndex>(77);
    auto& slave = test::add_link(*topology, "b", LinkKind::veth);
    slave.port = BridgePort{};
    slave.master = bond;
    const auto others = render(topology);
    CHECK(others.find("reachd_bridge_port_state") == std::string::npos);
    CHECK(others.find("bridge=") == std::string::npos);
    CHECK(has_line(others, "reachd_interface_up{device=\"b\"} 1"));
}

TEST_CASE("of two links with one name the later one is shown, and nothing twice") {
    auto topology = std::make_shared<TopologySnapshot>();
    for (const std::uint32_t mtu : {100U, 200U, 300U}) {
        test::add_link(*topology, "same", LinkKind::veth).mtu_bytes = mtu;
        test::add_link(*topology, fmt::format("own{}", mtu), LinkKind::veth).mtu_bytes = mtu;
    }
    test::add_link(*topology, "", LinkKind::veth).mtu_bytes = 400;
    test::add_link(*topology, "", LinkKind::veth).mtu_bytes = 500;
    const auto text = render(topology);
    CHECK(has_line(text, "reachd_interface_mtu_bytes{device=\"same\"} 300"));
    CHECK(has_line(text, "reachd_interface_mtu_bytes{device=\"own100\"} 100"));
    CHECK(has_line(text, "reachd_interface_mtu_bytes{device=\"\"} 500"));
    const auto series = series_of(text);
    constexpr std::size_t names = 5;
    constexpr std::size_t lines_each = 5;
    CHECK(series.size() == names * lines_each);
    // A repeated name is no loss of series.
    Snapshot snapshot;
    snapshot.topology = topology;
    CHECK(InterfaceRows(snapshot).series() == names * lines_each);
    CHECK(InterfaceRows(snapshot).series_dropped() == 0);
}

TEST_CASE("a port of a bridge whose name was taken over names that bridge all the same") {
    auto topology = std::make_shared<TopologySnapshot>();
    const auto bridge = test::add_link(*topology, "br0", LinkKind::bridge).index;
    auto& port = test::add_link(*topology, "p", LinkKind::veth);
    port.master = bridge;
    port.port = BridgePort{PortState::learning, false};
    test::add_link(*topology, "br0", LinkKind::dummy);
    const auto text = render(topology);
    series_of(text);
    CHECK(has_line(text,
                   "reachd_bridge_port_state{bridge=\"br0\",device=\"p\",state=\"learning\"} 1"));
    CHECK(has_line(text, "reachd_interface_info{device=\"br0\",kind=\"other\"} 1"));
}

TEST_CASE("series are counted as written, whatever the limit") {
    const auto snapshot = test::sample_snapshot();
    const auto all = InterfaceRows(snapshot).series();
    CHECK(line_count(render(InterfaceRows(snapshot))) == all);
    std::uint64_t before = 0;
    for (std::uint64_t budget = 0; budget <= all + 1; ++budget) {
        InterfaceRows rows(snapshot);
        rows.limit(budget);
        CAPTURE(budget);
        CHECK(rows.series() <= budget);
        CHECK(rows.series() >= before);
        CHECK(rows.series() + rows.series_dropped() == all);
        CHECK(line_count(render(rows)) == rows.series());
        before = rows.series();
    }
    CHECK(before == all);
}

TEST_CASE("beyond the limit whole interfaces are left out, the last ones first") {
    const auto snapshot = test::sample_snapshot();
    InterfaceRows rows(snapshot);
    rows.limit(rows.series() - 1);
    const auto text = render(rows);
    CHECK(text.find("\"vx1\"") == std::string::npos);
    CHECK(text.find("\"bond0.20\"") != std::string::npos);
    CHECK(rows.series_dropped() == 5);
}

TEST_CASE("ten thousand ports with one name in ten taken twice") {
    auto topology = std::make_shared<TopologySnapshot>();
    const auto bridge = test::add_link(*topology, "br0", LinkKind::bridge).index;
    for (std::size_t i = 0; i < 10'000; ++i) {
        auto& link = test::add_link(*topology, fmt::format("vnet{}", i % 9000), LinkKind::tap);
        link.master = bridge;
        link.port = BridgePort{PortState::forwarding, false};
    }
    const auto text = render(topology);
    constexpr std::size_t lines_each = 10;
    CHECK(series_of(text).size() == 9000 * lines_each + 5);
}
