#include "agent/ctl/io/control_client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/ctl/command_output.hpp"
#include "agent/ctl/http_response.hpp"
#include "common/io/system_clock.hpp"

namespace reachd::ctl {
namespace {

using Kind = NoAnswer::Kind;

constexpr std::size_t read_bytes = std::size_t{64} * 1024;
constexpr auto queue_pause = std::chrono::milliseconds(20);

std::string message_of(int error) {
    return std::generic_category().message(error);
}

NoAnswer silent(const std::string& path, Duration patience) {
    return {
        Kind::broken,
        fmt::format("reachd has not answered for {} s ({}); look at it: systemctl status reachd",
                    std::chrono::duration_cast<std::chrono::seconds>(patience).count(),
                    path)};
}

NoAnswer broken(const std::string& path, std::string_view why) {
    return {
        Kind::broken,
        fmt::format(
            "no answer from reachd over {}: {}; look at it: systemctl status reachd", path, why)};
}

NoAnswer not_connected(const std::string& path, int error) {
    if (error == ENOENT || error == ECONNREFUSED) {
        return {Kind::not_running,
                fmt::format("reachd is not running ({}: {}); start it: systemctl start reachd",
                            path,
                            error == ENOENT ? "no such file" : "nobody listens there")};
    }
    if (error == EACCES || error == EPERM) {
        return {Kind::not_allowed, not_allowed_here(path)};
    }
    return {Kind::not_running,
            fmt::format("cannot use {}: {}; name the control socket of reachd with --socket",
                        path,
                        message_of(error))};
}

/// A connected socket, and the time that is left for what is done with it.
class Connection {
  public:
    Connection(std::string path, Duration patience)
        : path_(std::move(path)),
          patience_(patience),
          deadline_(mono_now() + patience),
          fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}

    ~Connection() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }

    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    Result<void, NoAnswer> connect();
    Result<void, NoAnswer> send(std::string_view request);
    Result<Answer, NoAnswer> receive();

  private:
    /// False when the deadline passed.
    bool wait_for(short events) const;
    int left_milliseconds() const;

    std::string path_;
    Duration patience_;
    MonoTime deadline_;
    int fd_;
};

int Connection::left_milliseconds() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - mono_now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

bool Connection::wait_for(short events) const {
    for (;;) {
        const int left = left_milliseconds();
        pollfd waiting{.fd = fd_, .events = events, .revents = 0};
        const int ready = poll(&waiting, 1, left);
        if (ready > 0) {
            return true;
        }
        // A signal that did not end the program: on with the time that is left.
        if (left == 0 || (ready < 0 && errno != EINTR)) {
            return false;
        }
    }
}

Result<void, NoAnswer> Connection::connect() {
    if (fd_ < 0) {
        return broken(path_, message_of(errno));
    }
    sockaddr_un address{};
    if (path_.empty() || path_.size() >= sizeof(address.sun_path)) {
        return NoAnswer{Kind::wrong_path,
                        fmt::format("--socket: the path has {} bytes, want 1 to {}",
                                    path_.size(),
                                    sizeof(address.sun_path) - 1)};
    }
    address.sun_family = AF_UNIX;
    std::copy(path_.begin(), path_.end(), address.sun_path);
    for (;;) {
        if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
            return {};
        }
        const int error = errno;
        if (error != EAGAIN && error != EINTR) {
            return not_connected(path_, error);
        }
        // The queue of those who want to connect is full: unix(7) has nothing to wait on there.
        if (left_milliseconds() == 0) {
            return silent(path_, patience_);
        }
        poll(nullptr, 0, static_cast<int>(queue_pause.count()));
    }
}

Result<void, NoAnswer> Connection::send(std::string_view request) {
    while (!request.empty()) {
        const auto size = ::send(fd_, request.data(), request.size(), MSG_NOSIGNAL);
        if (size > 0) {
            request.remove_prefix(static_cast<std::size_t>(size));
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET) {
            return {};  // closed after an answer, perhaps: it can still be read
        }
        if (errno != EAGAIN && errno != EINTR) {
            return broken(path_, message_of(errno));
        }
        if (!wait_for(POLLOUT)) {
            return silent(path_, patience_);
        }
    }
    return {};
}

Result<Answer, NoAnswer> Connection::receive() {
    using Received = Result<Answer, NoAnswer>;
    HttpResponse response;
    std::vector<char> buffer(read_bytes);
    auto progress = HttpResponse::Progress::more;
    while (progress == HttpResponse::Progress::more) {
        if (!wait_for(POLLIN)) {
            return Received(boost::system::in_place_error, silent(path_, patience_));
        }
        const auto size = recv(fd_, buffer.data(), buffer.size(), 0);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (size < 0) {
            return Received(boost::system::in_place_error, broken(path_, message_of(errno)));
        }
        progress = size == 0 ? response.end()
                             : response.feed({buffer.data(), static_cast<std::size_t>(size)});
    }
    if (progress == HttpResponse::Progress::broken) {
        return Received(boost::system::in_place_error, broken(path_, response.problem()));
    }
    return Received(boost::system::in_place_value, Answer{response.status(), response.body()});
}

std::string group_of(const std::string& path) {
    struct stat status {};

    if (stat(path.c_str(), &status) != 0) {
        return {};
    }
    // NOLINTNEXTLINE(concurrency-mt-unsafe): this program has one thread.
    const group* const entry = getgrgid(status.st_gid);
    return entry == nullptr ? std::to_string(status.st_gid) : std::string(entry->gr_name);
}

std::string user_name() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): this program has one thread.
    const passwd* const entry = getpwuid(getuid());
    return entry == nullptr ? std::to_string(getuid()) : std::string(entry->pw_name);
}

}  // namespace

std::string not_allowed_here(const std::string& socket_path) {
    return not_allowed_text(socket_path, group_of(socket_path), user_name());
}

Result<Answer, NoAnswer> ask_daemon(const std::string& socket_path,
                                    std::string_view page,
                                    Duration patience) {
    using Asked = Result<Answer, NoAnswer>;
    Connection connection(socket_path, patience);
    auto step = connection.connect();
    if (step) {
        step =
            connection.send(fmt::format("GET {} HTTP/1.1\r\n"
                                        "Host: localhost\r\n"
                                        "Accept: application/json\r\n"
                                        "Connection: close\r\n\r\n",
                                        page));
    }
    if (!step) {
        return Asked(boost::system::in_place_error, step.error());
    }
    return connection.receive();
}

}  // namespace reachd::ctl
