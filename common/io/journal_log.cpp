#include "common/io/journal_log.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/io/system_clock.hpp"

namespace reachd {

namespace {

bool is_journal_stream(const struct stat& status) {
    const char* const stream = std::getenv("JOURNAL_STREAM");
    return stream != nullptr && journal_stream_is(stream,
                                                  static_cast<std::uint64_t>(status.st_dev),
                                                  static_cast<std::uint64_t>(status.st_ino));
}

bool is_busy(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS;
}

}  // namespace

JournalLog::JournalLog(JournalLogOptions options) : options_(std::move(options)) {
    struct stat status {};

    if (fstat(options_.fd, &status) != 0) {
        return;  // closed: every record will be counted as dropped
    }
    with_time_ = S_ISREG(status.st_mode) || isatty(options_.fd) == 1;
    is_socket_ = S_ISSOCK(status.st_mode);
    if (is_journal_stream(status)) {
        // Without a socket to send from, lines on stderr still reach the journal.
        journal_fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
}

JournalLog::~JournalLog() {
    report_left_out(now().wall);
    if (journal_fd_ >= 0) {
        close(journal_fd_);
    }
}

void JournalLog::write(const LogRecord& record) {
    if (record.level > options_.minimum) {
        return;
    }
    const Instant time = now();
    switch (rate_.admit(time.mono)) {
        case LogVerdict::pass:
            report_left_out(time.wall);
            deliver(record, time.wall);
            return;
        case LogVerdict::suppress_first:
            deliver({LogLevel::warning,
                     fmt::format("more than {} log records in a second, leaving out the rest of it",
                                 log_records_per_second_max)},
                    time.wall);
            [[fallthrough]];
        case LogVerdict::suppress: ++suppressed_; return;
    }
}

void JournalLog::report_left_out(WallTime time) {
    const std::uint64_t suppressed = rate_.take_suppressed();
    if (suppressed > 0) {
        deliver({LogLevel::warning,
                 fmt::format("{} log records left out: more than {} in a second",
                             suppressed,
                             log_records_per_second_max)},
                time);
    }
    const std::uint64_t dropped = std::exchange(dropped_untold_, 0);
    if (dropped == 0) {
        return;
    }
    const std::uint64_t dropped_before = dropped_;
    deliver(
        {LogLevel::warning, fmt::format("{} log records lost: they could not be written", dropped)},
        time);
    if (dropped_ != dropped_before) {
        // Still nobody there: the lost records remain to be told, this line itself does not count.
        dropped_ = dropped_before;
        dropped_untold_ = dropped;
    }
}

void JournalLog::deliver(const LogRecord& record, WallTime time) {
    Delivery delivery = journal_fd_ >= 0 ? send_to_journal(record) : Delivery::impossible;
    if (delivery == Delivery::impossible) {
        delivery = write_line(line_of(record, time));
    }
    if (delivery != Delivery::done) {
        ++dropped_;
        ++dropped_untold_;
    }
}

std::string JournalLog::line_of(const LogRecord& record, WallTime time) const {
    const std::string message = printable(record.message);
    if (journal_fd_ >= 0) {
        // A sandbox without the journal's socket: journald reads the severity from stderr's lines.
        return fmt::format("<{}>{}\n", static_cast<int>(record.level), message);
    }
    const std::string time_text = with_time_ ? rfc3339_utc(time) + ' ' : std::string();
    return fmt::format("{}{}: {}\n", time_text, to_text(record.level), message);
}

JournalLog::Delivery JournalLog::send_to_journal(const LogRecord& record) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (options_.journal_socket.size() >= sizeof(address.sun_path)) {
        return Delivery::impossible;
    }
    std::copy(options_.journal_socket.begin(), options_.journal_socket.end(), address.sun_path);
    const std::string datagram = journal_datagram(record, options_.identifier);
    ssize_t sent = 0;
    do {
        // Not connected: a restarted journald with a new socket is found again.
        sent = sendto(journal_fd_,
                      datagram.data(),
                      datagram.size(),
                      MSG_DONTWAIT | MSG_NOSIGNAL,
                      reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address));
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        return Delivery::done;
    }
    return is_busy(errno) ? Delivery::busy : Delivery::impossible;
}

JournalLog::Delivery JournalLog::write_line(const std::string& line) const {
    // O_NONBLOCK would change the file for everybody who shares it (a shell, say), so ask first: a
    // pipe that is ready takes at least PIPE_BUF bytes at once, and a line is never longer.
    pollfd ready{options_.fd, POLLOUT, 0};
    if (poll(&ready, 1, 0) != 1 || ready.revents != POLLOUT) {
        return Delivery::busy;  // full, or nobody will ever read it
    }
    ssize_t written = 0;
    do {
        written = is_socket_
                      ? send(options_.fd, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                      : ::write(options_.fd, line.data(), line.size());
    } while (written < 0 && errno == EINTR);
    return written == static_cast<ssize_t>(line.size()) ? Delivery::done : Delivery::busy;
}

}  // namespace reachd
