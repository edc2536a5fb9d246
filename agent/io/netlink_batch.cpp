#include "agent/io/netlink_batch.hpp"

#include <algorithm>
#include <cerrno>

namespace reachd {
namespace {

/// Losses noted in one batch: in a storm of them the reader must come to an end.
constexpr std::size_t overruns_max = 4;

bool is_from_kernel(const msghdr& header, const sockaddr_nl& sender) {
    return header.msg_namelen == sizeof sender && sender.nl_family == AF_NETLINK &&
           sender.nl_pid == 0;
}

}  // namespace

NetlinkBatch::NetlinkBatch() : buffer_(new std::uint8_t[datagrams_max * datagram_bytes_max]) {}

/// The kernel writes lengths and flags into the headers: they are set anew before each call.
void NetlinkBatch::prepare(std::size_t count) {
    for (std::size_t i = used_; i < used_ + count; ++i) {
        parts_[i] = {buffer_.get() + i * datagram_bytes_max, datagram_bytes_max};
        headers_[i] = {};
        headers_[i].msg_hdr.msg_name = &senders_[i];
        headers_[i].msg_hdr.msg_namelen = sizeof senders_[i];
        headers_[i].msg_hdr.msg_iov = &parts_[i];
        headers_[i].msg_hdr.msg_iovlen = 1;
    }
}

NetlinkBatch::Outcome NetlinkBatch::read(int fd, std::size_t count, std::error_code& error) {
    count = std::min(count, room());
    while (count > 0 && overruns_ < overruns_max) {
        prepare(count);
        const int taken =
            ::recvmmsg(fd, &headers_[used_], static_cast<unsigned>(count), MSG_DONTWAIT, nullptr);
        if (taken > 0) {
            const auto end = used_ + static_cast<std::size_t>(taken);
            for (; used_ < end; ++used_) {
                bytes_ += headers_[used_].msg_len;
            }
            return Outcome::full;
        }
        if (taken == 0 || errno == EAGAIN) {
            return Outcome::empty;
        }
        if (errno == ENOBUFS) {
            ++overruns_;
        } else if (errno != EINTR) {
            error = {errno, std::system_category()};
            return Outcome::failed;
        }
    }
    return Outcome::full;
}

void NetlinkBatch::deliver(NetlinkSink& sink) {
    // Lost is what did not fit behind the waiting datagrams, so it is told after them.
    for (std::size_t i = 0; i < used_; ++i) {
        const auto& header = headers_[i];
        if (!is_from_kernel(header.msg_hdr, senders_[i])) {
            continue;  // another process can write to us; the kernel's facts come from the kernel
        }
        if ((header.msg_hdr.msg_flags & MSG_TRUNC) != 0) {
            sink.on_truncated();
        } else {
            sink.on_datagram(ByteView(buffer_.get() + i * datagram_bytes_max, header.msg_len));
        }
    }
    for (; overruns_ > 0; --overruns_) {
        sink.on_overrun();
    }
    used_ = 0;
    bytes_ = 0;
}

}  // namespace reachd
