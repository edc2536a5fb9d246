// Who may use the control socket: root, the daemon's own user, and the members of its groups. A
// decision over numbers; who a client is, the kernel tells to exporters/io/control_socket.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace reachd {

/// The process at the other end of a Unix socket, as it was when it connected (SO_PEERCRED,
/// SO_PEERGROUPS of unix(7)).
struct PeerCredentials {
    std::uint32_t user = 0;
    std::uint32_t group = 0;
    std::vector<std::uint32_t> supplementary_groups{};
};

struct ControlAccess {
    std::uint32_t own_user = 0;
    std::uint32_t own_group = 0;
    std::optional<std::uint32_t> operators;  ///< the group "reachd", where the system has one
};

/// Credentials that could not be read are nobody's.
bool may_control(const std::optional<PeerCredentials>& client, const ControlAccess& access);

}  // namespace reachd
