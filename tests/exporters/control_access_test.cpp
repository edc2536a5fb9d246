#include "exporters/control_access.hpp"

#include <catch2/catch.hpp>

using namespace reachd;

namespace {

constexpr ControlAccess daemon_access{.own_user = 990, .own_group = 991, .operators = 992};

bool may(std::uint32_t user, std::uint32_t group, std::vector<std::uint32_t> more = {}) {
    return may_control(PeerCredentials{user, group, std::move(more)}, daemon_access);
}

}  // namespace

TEST_CASE("root, the daemon's user and the members of its groups may use the control socket") {
    CHECK(may(0, 1000));
    CHECK(may(990, 1000));
    CHECK(may(1000, 991));
    CHECK(may(1000, 992));
    CHECK(may(1000, 1000, {27, 991}));
    CHECK(may(1000, 1000, {992, 27}));
}

TEST_CASE("nobody else may") {
    CHECK_FALSE(may(1000, 1000));
    CHECK_FALSE(may(1000, 1000, {27, 100}));
    CHECK_FALSE(may(991, 990, {993}));  // numbers of users are no numbers of groups
    CHECK_FALSE(may(1000, 0, {0}));     // the group root is no right of its own
    CHECK_FALSE(may_control(std::nullopt, daemon_access));
}

TEST_CASE("without a group of operators no number stands for it") {
    const ControlAccess alone{.own_user = 990, .own_group = 991, .operators = std::nullopt};
    CHECK_FALSE(may_control(PeerCredentials{1000, 992, {}}, alone));
    CHECK_FALSE(may_control(PeerCredentials{1000, 1000, {0, 992}}, alone));
    CHECK(may_control(PeerCredentials{1000, 991, {}}, alone));
}
