#include "exporters/io/control_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace reachd {
namespace {

using boost::asio::local::stream_protocol;

constexpr mode_t socket_mode = 0660;
constexpr const char* operators_group = "reachd";
// Answers of the name service about one group: its members are part of them.
constexpr std::size_t group_bytes_max = std::size_t{1024} * 1024;
// NGROUPS_MAX of the kernel.
constexpr std::size_t groups_max = 65536;

std::string message_of(int error) {
    return std::generic_category().message(error);
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    return address;
}

bool bind_to(int fd, const sockaddr_un& address) {
    return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

/// Removes what is in the way if it is a socket that nobody listens on; else says what it is.
std::optional<std::string> clear_the_way(const std::string& path, const sockaddr_un& address) {
    struct stat status {};

    if (lstat(path.c_str(), &status) != 0) {
        return errno == ENOENT ? std::nullopt : std::optional(message_of(errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return "there is a file of another kind";
    }
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return message_of(errno);
    }
    const int result = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    const int error = errno;
    close(probe);
    // EAGAIN is a full queue of a living listener.
    if (result == 0 || error == EAGAIN) {
        return "another daemon listens there";
    }
    if (error != ECONNREFUSED) {
        return message_of(error);
    }
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
        return message_of(errno);
    }
    return std::nullopt;
}

std::optional<std::string> bind_and_listen(int fd, const std::string& path) {
    // The mode of an unbound socket is, less the umask, the mode that its file gets.
    if (fchmod(fd, socket_mode) != 0) {
        return message_of(errno);
    }
    const auto address = address_of(path);
    if (!bind_to(fd, address)) {
        if (errno != EADDRINUSE) {
            return message_of(errno);
        }
        if (auto obstacle = clear_the_way(path, address)) {
            return obstacle;
        }
        if (!bind_to(fd, address)) {
            return message_of(errno);
        }
    }
    // The group first: a directory with the set-group-ID bit gives its own to what is made in it.
    constexpr auto as_it_is = static_cast<uid_t>(-1);
    if (chown(path.c_str(), as_it_is, getegid()) != 0 || chmod(path.c_str(), socket_mode) != 0 ||
        listen(fd, SOMAXCONN) != 0) {
        const auto message = message_of(errno);
        unlink(path.c_str());
        return message;
    }
    return std::nullopt;
}

std::optional<std::uint32_t> group_id(const char* name) {
    std::vector<char> buffer(std::size_t{4} * 1024);
    for (;;) {
        group entry{};
        group* found = nullptr;
        const int error = getgrnam_r(name, &entry, buffer.data(), buffer.size(), &found);
        if (error == ERANGE && buffer.size() < group_bytes_max) {
            buffer.resize(buffer.size() * 2);
            continue;
        }
        return found == nullptr ? std::nullopt : std::optional<std::uint32_t>(found->gr_gid);
    }
}

}  // namespace

ControlSocketFile::ControlSocketFile(std::string path) : path_(std::move(path)) {
    struct stat status {};

    if (lstat(path_.c_str(), &status) == 0) {
        device_ = status.st_dev;
        inode_ = status.st_ino;
    }
}

ControlSocketFile::ControlSocketFile(ControlSocketFile&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

ControlSocketFile& ControlSocketFile::operator=(ControlSocketFile&& other) noexcept {
    if (this != &other) {
        remove();
        path_ = std::exchange(other.path_, {});
        device_ = other.device_;
        inode_ = other.inode_;
    }
    return *this;
}

ControlSocketFile::~ControlSocketFile() {
    remove();
}

void ControlSocketFile::remove() {
    struct stat status {};

    if (!path_.empty() && lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_) {
        unlink(path_.c_str());
    }
    path_.clear();
}

Result<ControlSocket, std::string> open_control_socket(boost::asio::io_context& loop,
                                                       const std::string& path) {
    const auto failure = [&path](const std::string& why) {
        return fmt::format("cannot listen on {}: {}", path, why);
    };
    constexpr std::size_t path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;
    if (path.size() > path_bytes_max) {
        return failure(
            fmt::format("the path has {} bytes, {} at most", path.size(), path_bytes_max));
    }
    boost::system::error_code error;
    stream_protocol::acceptor acceptor(loop);
    acceptor.open(stream_protocol(), error);
    if (error) {
        return failure(error.message());
    }
    if (auto problem = bind_and_listen(acceptor.native_handle(), path)) {
        return failure(*problem);
    }
    return ControlSocket{std::move(acceptor), ControlSocketFile(path)};
}

ControlAccess control_access() {
    return {.own_user = geteuid(), .own_group = getegid(), .operators = group_id(operators_group)};
}

std::optional<PeerCredentials> peer_credentials(int socket) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        return std::nullopt;
    }
    PeerCredentials result{.user = credentials.uid, .group = credentials.gid};
    std::vector<gid_t> groups(64);
    for (;;) {
        size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
        if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
            groups.resize(size / sizeof(gid_t));
            result.supplementary_groups.assign(groups.begin(), groups.end());
            return result;
        }
        // The kernel tells the size it needs. Without an answer the two above must do.
        if (errno != ERANGE || size / sizeof(gid_t) > groups_max) {
            return result;
        }
        groups.resize(size / sizeof(gid_t));
    }
}

}  // namespace reachd
