#include "exporters/control_access.hpp"

#include <algorithm>

namespace reachd {

bool may_control(const std::optional<PeerCredentials>& client, const ControlAccess& access) {
    constexpr std::uint32_t root = 0;
    if (!client) {
        return false;
    }
    if (client->user == root || client->user == access.own_user) {
        return true;
    }
    const auto is_welcome = [&access](std::uint32_t group) {
        return group == access.own_group || group == access.operators;
    };
    return is_welcome(client->group) || std::any_of(client->supplementary_groups.begin(),
                                                    client->supplementary_groups.end(),
                                                    is_welcome);
}

}  // namespace reachd
