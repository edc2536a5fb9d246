#include "agent/io/namespace_names.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/vfs.h>

#include "agent/guest_text.hpp"
#include "agent/io/bounded_file.hpp"
#include "agent/io/gap_collector.hpp"
#include "agent/io/process_table.hpp"
#include "agent/io/scan_patience.hpp"

namespace reachd {
namespace {

namespace fs = std::filesystem;

using Lookup = Result<std::optional<std::int32_t>, std::error_code>;

std::error_code error_of(int number) {
    return {number, std::generic_category()};
}

struct Request {
    nlmsghdr header{};
    rtgenmsg body{};
    std::array<std::uint8_t, NLMSG_ALIGN(sizeof(rtgenmsg)) - sizeof(rtgenmsg)> padding{};
    rtattr attribute{};
    std::int32_t fd = -1;
};

static_assert(sizeof(Request) ==
              NLMSG_LENGTH(NLMSG_ALIGN(sizeof(rtgenmsg)) + RTA_LENGTH(sizeof(std::int32_t))));

/// The number in an answer to RTM_GETNSID; nothing: the kernel gave it none.
Lookup read_answer(const std::uint8_t* bytes, std::size_t size) {
    nlmsghdr header{};
    if (size < sizeof header) {
        return error_of(EBADMSG);
    }
    std::memcpy(&header, bytes, sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > size) {
        return error_of(EBADMSG);
    }
    if (header.nlmsg_type == NLMSG_ERROR) {
        std::int32_t error = -EBADMSG;
        if (header.nlmsg_len >= sizeof header + sizeof error) {
            std::memcpy(&error, bytes + sizeof header, sizeof error);
        }
        return error_of(-error);
    }
    std::size_t at = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(rtgenmsg)));
    while (header.nlmsg_type == RTM_NEWNSID && at + sizeof(rtattr) <= header.nlmsg_len) {
        rtattr attribute{};
        std::memcpy(&attribute, bytes + at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > header.nlmsg_len - at) {
            break;
        }
        std::int32_t nsid = -1;
        if (attribute.rta_type == NETNSA_NSID && attribute.rta_len == RTA_LENGTH(sizeof nsid)) {
            std::memcpy(&nsid, bytes + at + RTA_LENGTH(0), sizeof nsid);
            return nsid < 0 ? Lookup(std::nullopt) : Lookup(nsid);
        }
        at += RTA_ALIGN(attribute.rta_len);
    }
    return error_of(EBADMSG);
}

/// Asks the kernel, one question at a time.
class Numbers {
  public:
    Numbers() : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
        // The kernel answers while it is asked; should it ever not, this thread is needed again.
        const timeval patience{1, 0};
        if (!socket_ ||
            ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
            error_ = last_error();
        }
    }

    const std::error_code& error() const { return error_; }

    Lookup of(const FileDescriptor& network_namespace) {
        Request request;
        request.header.nlmsg_len = sizeof request;
        request.header.nlmsg_type = RTM_GETNSID;
        request.header.nlmsg_flags = NLM_F_REQUEST;
        request.header.nlmsg_seq = ++sequence_;
        request.body.rtgen_family = AF_UNSPEC;
        request.attribute.rta_len = RTA_LENGTH(sizeof request.fd);
        request.attribute.rta_type = NETNSA_FD;
        request.fd = network_namespace.get();
        sockaddr_nl kernel{};
        kernel.nl_family = AF_NETLINK;
        const auto sent = ::sendto(socket_.get(),
                                   &request,
                                   sizeof request,
                                   0,
                                   reinterpret_cast<const sockaddr*>(&kernel),
                                   sizeof kernel);
        return sent < 0 ? Lookup(last_error()) : receive();
    }

  private:
    Lookup receive() {
        std::array<std::uint8_t, 1024> bytes{};
        for (;;) {
            sockaddr_nl from{};
            socklen_t from_size = sizeof from;
            const auto size = ::recvfrom(socket_.get(),
                                         bytes.data(),
                                         bytes.size(),
                                         0,
                                         reinterpret_cast<sockaddr*>(&from),
                                         &from_size);
            if (size < 0 && errno == EINTR) {
                continue;
            }
            if (size < 0) {
                return last_error();
            }
            // Other programs may write to our socket too, and an answer may come after its time.
            const auto length = static_cast<std::size_t>(size);
            nlmsghdr header{};
            std::memcpy(&header, bytes.data(), std::min(length, sizeof header));
            if (from.nl_pid == 0 && header.nlmsg_seq == sequence_) {
                return read_answer(bytes.data(), length);
            }
        }
    }

    FileDescriptor socket_;
    std::error_code error_;
    std::uint32_t sequence_ = 0;
};

/// Names of the files in a directory, in order; at most namespace_names_max, and none when there is
/// no time to open any.
Result<std::vector<std::string>, std::error_code> file_names(const fs::path& path,
                                                             const std::string& source,
                                                             const ScanPatience& patience,
                                                             GapCollector& gaps) {
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
        if (names.size() >= namespace_names_max) {
            return error_of(E2BIG);
        }
        if (patience.is_over()) {
            gaps.add(source, "reading took too long");
            return std::vector<std::string>{};
        }
        names.push_back(at->path().filename());
    }
    if (error) {
        return error;
    }
    std::sort(names.begin(), names.end());
    return names;
}

class Scan {
  public:
    Scan(const std::atomic<bool>& stop, fs::path root)
        : root_(std::move(root)),
          patience_(stop, name_scan_time_max) {}

    NamespaceNames run() {
        read_directory("run/netns");
        read_directory("run/docker/netns");
        auto& names = found_.names;
        const auto by_number = [](const NamespaceName& left, const NamespaceName& right) {
            return left.nsid < right.nsid;
        };
        std::stable_sort(names.begin(), names.end(), by_number);
        found_.gaps = gaps_.take();
        return std::move(found_);
    }

  private:
    void read_directory(const char* path) {
        const std::string source = std::string("/") + path;
        const auto names = file_names(root_ / path, source, patience_, gaps_);
        if (!names) {
            gaps_.add(source, names.error());
            return;
        }
        if (!names->empty() && numbers_.error()) {
            gaps_.add("RTM_GETNSID", numbers_.error());
            return;
        }
        for (const auto& name : *names) {
            if (patience_.is_over()) {
                gaps_.add(source, "reading took too long");
                return;
            }
            read_file(root_ / path / name, name, source + "/*");
        }
    }

    void read_file(const fs::path& path, const std::string& name, const std::string& source) {
        const FileDescriptor file(
            ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
        if (!file) {
            gaps_.add(source, last_error());
            return;
        }

        struct statfs kind {};

        // Between `touch` and `mount` of ip netns, and for ever after a crash there, it is a file.
        if (::fstatfs(file.get(), &kind) != 0 || kind.f_type != NSFS_MAGIC) {
            return;
        }
        const auto nsid = numbers_.of(file);
        if (!nsid) {
            gaps_.add(source, nsid.error());
            return;
        }
        auto text = guest_name_text(name);
        if (*nsid && found_.names.size() < namespace_names_max && !text.empty()) {
            found_.names.push_back({**nsid, std::move(text)});
        }
    }

    fs::path root_;
    ScanPatience patience_;
    Numbers numbers_;
    NamespaceNames found_;
    GapCollector gaps_;
};

}  // namespace

NamespaceNames read_namespace_names(const std::atomic<bool>& stop, const fs::path& root) {
    return Scan(stop, root).run();
}

}  // namespace reachd
