#include "probes/io/control_messages.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include <linux/errqueue.h>
#include <netinet/in.h>

#include "probes/io/socket_address.hpp"

namespace reachd {
namespace {

template <class Value>
void append_control(msghdr& message, int level, int type, const Value& value) {
    auto* control = static_cast<std::uint8_t*>(message.msg_control) + message.msg_controllen;
    auto* header = reinterpret_cast<cmsghdr*>(control);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof(value));
    std::memcpy(CMSG_DATA(header), &value, sizeof(value));
    message.msg_controllen += CMSG_SPACE(sizeof(value));
}

template <class Value>
Value read_value(const cmsghdr& header) {
    Value value{};
    std::memcpy(&value, CMSG_DATA(&header), sizeof(value));
    return value;
}

QueuedError read_error(const cmsghdr& header) {
    const auto error = read_value<sock_extended_err>(header);
    QueuedError found{error.ee_origin, error.ee_type, error.ee_code, error.ee_info, IpAddress{}};
    if (error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6) {
        SocketAddress offender{};  // follows (SO_EE_OFFENDER)
        const std::size_t room = header.cmsg_len - CMSG_LEN(sizeof(error));
        std::memcpy(
            &offender, CMSG_DATA(&header) + sizeof(error), std::min(room, sizeof(offender)));
        found.offender = from_socket_address(offender);
    }
    return found;
}

void read_one(const cmsghdr& header, ReceivedControl& found) {
    const int level = header.cmsg_level;
    const int type = header.cmsg_type;
    if (level == SOL_SOCKET && type == SCM_TIMESTAMPING) {
        found.stamp = read_stamp(header);
    } else if (level == SOL_SOCKET && type == SO_RXQ_OVFL) {
        found.dropped = read_value<std::uint32_t>(header);
    } else if ((level == SOL_IP && type == IP_RECVFRAGSIZE) ||
               (level == SOL_IPV6 && type == IPV6_RECVFRAGSIZE)) {
        found.fragment = static_cast<std::uint32_t>(read_value<int>(header));
    } else if ((level == SOL_IP && type == IP_RECVERR) ||
               (level == SOL_IPV6 && type == IPV6_RECVERR)) {
        found.error = read_error(header);
    }
}

}  // namespace

std::optional<WallTime> read_stamp(const cmsghdr& header) {
    const auto time = read_value<timespec>(header);
    if (time.tv_sec == 0 && time.tv_nsec == 0) {
        return std::nullopt;
    }
    return WallTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

void write_control(msghdr& message, void* control, const EchoTarget& target) {
    message.msg_control = control;
    message.msg_controllen = 0;
    const bool v4 = target.destination.family() == Family::ipv4;
    const bool bound = target.device != IfIndex::any || !target.source.is_unspecified();
    if (bound && v4) {
        in_pktinfo info{};
        info.ipi_ifindex = static_cast<int>(target.device);
        std::memcpy(&info.ipi_spec_dst, target.source.bytes().data(), 4);
        append_control(message, SOL_IP, IP_PKTINFO, info);
    } else if (bound) {
        in6_pktinfo info{};
        info.ipi6_ifindex = static_cast<unsigned>(target.device);
        if (target.source.family() == Family::ipv6) {
            std::memcpy(&info.ipi6_addr, target.source.bytes().data(), 16);
        }
        append_control(message, SOL_IPV6, IPV6_PKTINFO, info);
    }
    if (target.dscp != 0) {
        const int traffic_class = target.dscp << 2U;
        append_control(message, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TOS : IPV6_TCLASS, traffic_class);
    }
    if (message.msg_controllen == 0) {
        message.msg_control = nullptr;
    }
}

ReceivedControl read_control(const msghdr& message) {
    ReceivedControl found;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(const_cast<msghdr*>(&message), header)) {
        read_one(*header, found);
    }
    return found;
}

}  // namespace reachd
