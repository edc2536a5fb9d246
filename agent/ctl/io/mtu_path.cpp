#include "agent/ctl/io/mtu_path.hpp"

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <net/if.h>
#include <netdb.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/ctl/command_output.hpp"
#include "common/log_text.hpp"
#include "common/nearest.hpp"
#include "common/path_mtu.hpp"
#include "probes/io/egress_finder.hpp"
#include "probes/io/path_mtu_channel.hpp"
#include "probes/io/socket_address.hpp"

namespace reachd::ctl {
namespace {

NoMtuPath wrong_usage(std::string text) {
    return {std::move(text), exit_usage};
}

std::string name_of(IfIndex device) {
    std::array<char, IF_NAMESIZE> name{};
    return if_indextoname(static_cast<unsigned>(device), name.data()) == nullptr
               ? std::string()
               : std::string(name.data());
}

/// 0: it cannot be told.
std::uint32_t mtu_of(const std::string& device) {
    const FileDescriptor asked(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::memcpy(
        request.ifr_name, device.data(), std::min(device.size(), sizeof(request.ifr_name) - 1));
    return ioctl(asked.get(), SIOCGIFMTU, &request) == 0 && request.ifr_mtu > 0
               ? static_cast<std::uint32_t>(request.ifr_mtu)
               : 0;
}

std::string no_device_text(const std::string& name) {
    std::vector<std::string> there;
    const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> list(if_nameindex(),
                                                                                 if_freenameindex);
    for (const auto* entry = list.get(); entry != nullptr && entry->if_index != 0; ++entry) {
        there.emplace_back(entry->if_name);
    }
    const std::vector<std::string_view> names(there.begin(), there.end());
    const std::string near = nearest(name, names);
    return fmt::format("no device '{}'{}",
                       printable(name),
                       near.empty() ? "; see them: ip link" : "; did you mean " + near + "?");
}

/// The first address that the resolver gives, of this family if there is one to be met.
Result<IpAddress, std::string> look_up(const std::string& name, std::optional<Family> family) {
    addrinfo wish{};
    wish.ai_socktype = SOCK_DGRAM;
    wish.ai_flags = AI_ADDRCONFIG;
    if (family) {
        wish.ai_family = *family == Family::ipv4 ? AF_INET : AF_INET6;
    }
    addrinfo* answer = nullptr;
    const int error = getaddrinfo(name.c_str(), nullptr, &wish, &answer);
    if (error != 0) {
        return std::string(error == EAI_AGAIN ? "the name servers give no answer now; try again"
                                              : gai_strerror(error));
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(answer, freeaddrinfo);
    SocketAddress address{};
    std::memcpy(
        &address, answer->ai_addr, std::min<std::size_t>(answer->ai_addrlen, sizeof address));
    return from_socket_address(address);
}

Result<IpAddress, NoMtuPath> destination_of(const std::string& word, std::optional<Family> family) {
    if (const auto literal = IpAddress::parse(word); literal && !literal->is_link_local_v6()) {
        return *literal;
    }
    const auto found = look_up(word, family);
    if (!found) {
        return wrong_usage(fmt::format("no host '{}': {}; give its address, or mend the name",
                                       printable(word),
                                       found.error()));
    }
    return *found;
}

/// The source and the device that were asked for.
Result<EchoTarget, NoMtuPath> wanted(const Invocation& invocation) {
    EchoTarget target;
    if (!invocation.source.empty()) {
        const auto source = IpAddress::parse(invocation.source);
        if (!source) {
            return wrong_usage(fmt::format("--source={}: want an address of this host",
                                           printable(invocation.source)));
        }
        target.source = *source;
    }
    if (!invocation.device.empty()) {
        target.device = static_cast<IfIndex>(if_nametoindex(invocation.device.c_str()));
        if (target.device == IfIndex::any) {
            return wrong_usage(no_device_text(invocation.device));
        }
    }
    return target;
}

/// Empty: it can be asked.
std::string objection(const EchoTarget& target, const Invocation& invocation) {
    const IpAddress& to = target.destination;
    if (to.is_unspecified() || to.is_multicast()) {
        return fmt::format("{} is no address of one host", to.to_string());
    }
    if (to.is_link_local_v6() && to.scope() == IfIndex::any) {
        return fmt::format("{} may be on any link: write {}%DEVICE, or --device=DEVICE",
                           to.to_string(),
                           to.to_string());
    }
    if (!target.source.is_unspecified() && target.source.family() != to.family()) {
        return fmt::format("--source={} and {} are of different families",
                           target.source.to_string(),
                           to.to_string());
    }
    const std::uint32_t least = minimum_mtu(to.family());
    if (invocation.expected_bytes != 0 && invocation.expected_bytes < least) {
        return fmt::format(
            "--expected={}: no path of IPv6 has less than {}", invocation.expected_bytes, least);
    }
    return "";
}

IfIndex egress_of(const EchoTarget& target) {
    if (target.device != IfIndex::any) {
        return target.device;
    }
    EgressFinder finder;
    return finder.find(target.destination, target.source).value_or(Egress{}).device;
}

NoMtuPath no_route(const EchoTarget& target) {
    const std::string to = target.destination.to_string();
    const std::string from =
        target.source.is_unspecified() ? "" : " from " + target.source.to_string();
    return {fmt::format("no route to {}{}; see: ip route get {}{}", to, from, to, from), exit_ill};
}

}  // namespace

Result<MtuPath, NoMtuPath> find_mtu_path(const Invocation& invocation, const std::string& host) {
    const auto target = wanted(invocation);
    if (!target) {
        return target.error();
    }
    MtuPath path;
    path.target = *target;
    const bool has_source = !path.target.source.is_unspecified();
    const auto destination = destination_of(
        host, has_source ? std::optional(path.target.source.family()) : std::nullopt);
    if (!destination) {
        return destination.error();
    }
    path.target.destination = *destination;
    if (destination->is_link_local_v6() && destination->scope() == IfIndex::any) {
        path.target.destination.set_scope(path.target.device);
    }
    if (auto why = objection(path.target, invocation); !why.empty()) {
        return wrong_usage(std::move(why));
    }
    path.device = egress_of(path.target);
    if (path.device == IfIndex::any) {
        return no_route(path.target);
    }
    path.device_name = name_of(path.device);
    path.device_mtu = mtu_of(path.device_name);
    path.address = path.target.destination.to_string(name_of(path.target.destination.scope()));
    const auto source = has_source ? std::optional(path.target.source) : chosen_source(path.target);
    path.source = source ? source->to_string() : "";
    return path;
}

}  // namespace reachd::ctl
