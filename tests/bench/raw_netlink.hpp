// A rtnetlink socket and requests with nothing between them and the kernel: for the programs that
// make storms of link events, and for those that show what reading them must cost at least.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <initializer_list>
#include <string_view>
#include <system_error>

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

namespace reachd::bench {

[[noreturn]] inline void fail_netlink(const char* operation, int error = errno) {
    throw std::system_error(error, std::generic_category(), operation);
}

inline std::int64_t clock_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return std::int64_t{1'000'000'000} * now.tv_sec + now.tv_nsec;
}

class RawNetlink {
  public:
    explicit RawNetlink(int flags = 0)
        : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE)) {
        if (fd_ < 0) {
            fail_netlink("rtnetlink socket");
        }
        // An address of its own: without one it counts as the kernel itself, and hears nothing.
        sockaddr_nl any{};
        any.nl_family = AF_NETLINK;
        if (bind(fd_, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) {
            const int error = errno;
            close(fd_);
            fail_netlink("bind rtnetlink", error);
        }
    }

    ~RawNetlink() { close(fd_); }

    RawNetlink(const RawNetlink&) = delete;
    RawNetlink& operator=(const RawNetlink&) = delete;

    int fd() const { return fd_; }

    /// As the daemon: past rmem_max only with CAP_NET_ADMIN.
    void enlarge_receive_buffer(int bytes) const {
        if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0 &&
            setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) != 0) {
            fail_netlink("SO_RCVBUF");
        }
    }

    void join(std::initializer_list<int> groups) const {
        for (const int group : groups) {
            if (setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
                fail_netlink("NETLINK_ADD_MEMBERSHIP");
            }
        }
    }

    void send(const void* bytes, std::size_t size) const {
        if (::send(fd_, bytes, size, 0) != static_cast<ssize_t>(size)) {
            fail_netlink("send to rtnetlink");
        }
    }

  private:
    int fd_;
};

/// An RTM_*LINK request under construction.
class LinkRequest {
  public:
    LinkRequest(std::uint16_t type, int flags, int index = 0) {
        header_.nlmsg_type = type;
        header_.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
        link_.ifi_family = AF_UNSPEC;
        link_.ifi_index = index;
        put_at(NLMSG_HDRLEN, &link_, sizeof link_);
        size_ = NLMSG_LENGTH(sizeof link_);
    }

    void set_up() {
        constexpr unsigned up = 1;  // IFF_UP of <linux/if.h>, which clashes with <net/if.h>
        link_.ifi_flags = up;
        link_.ifi_change = up;
        put_at(NLMSG_HDRLEN, &link_, sizeof link_);
    }

    void set_sequence(std::uint32_t sequence) { header_.nlmsg_seq = sequence; }

    void add(std::uint16_t type, const void* value, std::size_t size) {
        const std::size_t at = begin(type);
        put_at(size_, value, size);
        size_ += size;
        end(at);
    }

    void add(std::uint16_t type, std::uint32_t value) { add(type, &value, sizeof value); }

    /// With the final NUL that the kernel's strings have.
    void add(std::uint16_t type, const char* text) { add(type, text, std::strlen(text) + 1); }

    /// A nested attribute; what is added until end() belongs to it.
    std::size_t begin(std::uint16_t type) {
        size_ = NLMSG_ALIGN(size_);
        const std::size_t at = size_;
        const rtattr attribute{0, type};
        put_at(at, &attribute, sizeof attribute);
        size_ += sizeof attribute;
        return at;
    }

    void end(std::size_t at) {
        const auto length = static_cast<std::uint16_t>(size_ - at);
        put_at(at, &length, sizeof length);
        size_ = NLMSG_ALIGN(size_);
    }

    void add_raw(const void* value, std::size_t size) {
        put_at(size_, value, size);
        size_ += NLMSG_ALIGN(size);
    }

    const void* bytes() {
        header_.nlmsg_len = static_cast<std::uint32_t>(size_);
        put_at(0, &header_, sizeof header_);
        return bytes_.data();
    }

    std::size_t size() const { return size_; }

  private:
    void put_at(std::size_t at, const void* value, std::size_t size) {
        if (at + size > bytes_.size()) {
            fail_netlink("request too long", EMSGSIZE);
        }
        std::memcpy(bytes_.data() + at, value, size);
    }

    nlmsghdr header_{};
    ifinfomsg link_{};
    std::array<std::uint8_t, 512> bytes_{};
    std::size_t size_ = 0;
};

/// What a reader that knows nothing must do at least: walk the messages and, of links, the
/// attributes, and look at four of them.
class MinimalReader {
  public:
    /// Walks one datagram; whether a dump ended in it.
    bool read(const std::uint8_t* bytes, std::size_t size) {
        while (size >= sizeof(nlmsghdr)) {
            nlmsghdr header{};
            std::memcpy(&header, bytes, sizeof header);
            if (header.nlmsg_len < sizeof header || header.nlmsg_len > size) {
                return true;
            }
            if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
                return true;
            }
            ++messages;
            if (header.nlmsg_type == RTM_NEWLINK || header.nlmsg_type == RTM_DELLINK) {
                ++links;
                read_link(bytes + NLMSG_LENGTH(sizeof(ifinfomsg)),
                          header.nlmsg_len - NLMSG_LENGTH(sizeof(ifinfomsg)));
            }
            const std::size_t step = NLMSG_ALIGN(header.nlmsg_len);
            if (step >= size) {
                break;
            }
            bytes += step;
            size -= step;
        }
        return false;
    }

    std::uint64_t messages = 0;
    std::uint64_t links = 0;
    std::uint64_t facts = 0;  ///< so that no compiler removes the reading

  private:
    void read_link(const std::uint8_t* bytes, std::size_t size) {
        while (size >= sizeof(rtattr)) {
            rtattr attribute{};
            std::memcpy(&attribute, bytes, sizeof attribute);
            if (attribute.rta_len < sizeof attribute || attribute.rta_len > size) {
                return;
            }
            switch (attribute.rta_type) {
                case IFLA_IFNAME:
                case IFLA_MTU:
                case IFLA_MASTER:
                case IFLA_OPERSTATE: facts += bytes[sizeof attribute]; break;
                default: break;
            }
            const std::size_t step = RTA_ALIGN(attribute.rta_len);
            if (step >= size) {
                return;
            }
            bytes += step;
            size -= step;
        }
    }
};

}  // namespace reachd::bench
