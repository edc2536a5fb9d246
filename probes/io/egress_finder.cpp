#include "probes/io/egress_finder.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.hpp"

namespace reachd {
namespace {

constexpr std::size_t answer_bytes_max = 4096;

struct Request {
    nlmsghdr header{};
    rtmsg route{};
    std::array<std::uint8_t, 64> attributes{};

    explicit Request(Family family) {
        route.rtm_family = family == Family::ipv4 ? AF_INET : AF_INET6;
        header.nlmsg_len = NLMSG_LENGTH(sizeof route);
        header.nlmsg_type = RTM_GETROUTE;
        header.nlmsg_flags = NLM_F_REQUEST;
    }

    void add(std::uint16_t type, const void* value, std::size_t bytes) {
        rtattr attribute{};
        attribute.rta_type = type;
        attribute.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(bytes));
        auto* const at = reinterpret_cast<std::uint8_t*>(this) + NLMSG_ALIGN(header.nlmsg_len);
        std::memcpy(at, &attribute, sizeof attribute);
        std::memcpy(at + sizeof attribute, value, bytes);
        header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_ALIGN(header.nlmsg_len) +
                                                      RTA_ALIGN(attribute.rta_len));
    }

    void add(std::uint16_t type, const IpAddress& address) {
        add(type, address.bytes().data(), address.bytes().size());
    }
};

/// Nothing: it is no answer at all.
std::optional<Egress> read_answer(ByteView bytes, std::uint32_t sequence) {
    nlmsghdr header{};
    if (bytes.size() < sizeof header) {
        return std::nullopt;
    }
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nlmsg_seq != sequence || header.nlmsg_len > bytes.size()) {
        return std::nullopt;
    }
    Egress egress;
    if (header.nlmsg_type != RTM_NEWROUTE) {
        return egress;  // an error: there is none
    }
    std::size_t at = NLMSG_LENGTH(sizeof(rtmsg));
    while (at + sizeof(rtattr) <= header.nlmsg_len) {
        rtattr attribute{};
        std::memcpy(&attribute, bytes.data() + at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > header.nlmsg_len) {
            break;
        }
        const ByteView value =
            bytes.subspan(at + sizeof attribute, attribute.rta_len - sizeof attribute);
        std::int32_t index = 0;
        if (attribute.rta_type == RTA_OIF && value.size() == sizeof index) {
            std::memcpy(&index, value.data(), sizeof index);
            egress.device = static_cast<IfIndex>(index);
        } else if (attribute.rta_type == RTA_GATEWAY) {
            egress.gateway = IpAddress::from_bytes(value).value_or(IpAddress{});
        }
        at += RTA_ALIGN(attribute.rta_len);
    }
    if (egress.gateway.is_link_local_v6()) {
        egress.gateway.set_scope(egress.device);
    }
    return egress;
}

}  // namespace

EgressFinder::EgressFinder()
    : fd_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)) {}

EgressFinder::~EgressFinder() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

std::optional<Egress> EgressFinder::find(const IpAddress& destination,
                                         const IpAddress& source,
                                         IfIndex device) {
    Request request(destination.family());
    request.header.nlmsg_seq = ++sequence_;
    request.route.rtm_dst_len = static_cast<std::uint8_t>(destination.bytes().size() * 8);
    request.add(RTA_DST, destination);
    if (!source.is_unspecified()) {
        request.route.rtm_src_len = request.route.rtm_dst_len;
        request.add(RTA_SRC, source);
    }
    const IfIndex by = device == IfIndex::any ? destination.scope() : device;
    if (const auto index = static_cast<std::int32_t>(by); index != 0) {
        request.add(RTA_OIF, &index, sizeof index);
    }
    if (::send(fd_, &request, request.header.nlmsg_len, 0) < 0) {
        return std::nullopt;
    }
    std::array<std::uint8_t, answer_bytes_max> answer{};
    for (;;) {  // answers to earlier questions first, if there are any
        const auto length = ::recv(fd_, answer.data(), answer.size(), 0);
        if (length < 0) {
            return std::nullopt;
        }
        const ByteView bytes(answer.data(), static_cast<std::size_t>(length));
        if (const auto found = read_answer(bytes, sequence_)) {
            return found;
        }
    }
}

}  // namespace reachd
