#include "probes/io/socket_closer.hpp"

#include <algorithm>
#include <system_error>

#include <boost/asio/post.hpp>

#include <unistd.h>

namespace reachd {

SocketCloser::SocketCloser() = default;

SocketCloser::~SocketCloser() {
    close_all({});
}

void SocketCloser::give_to(std::unique_ptr<boost::asio::thread_pool>& pool,
                           std::size_t size,
                           int fd) {
    try {
        if (!pool) {
            pool = std::make_unique<boost::asio::thread_pool>(size);
        }
    } catch (const std::system_error&) {
        ::close(fd);  // no more threads: then it takes its time
        return;
    }
    ++pending_;
    boost::asio::post(*pool, [this, fd] {
        ::close(fd);
        --pending_;
    });
}

void SocketCloser::close(int fd) {
    give_to(pool_, threads, fd);
}

void SocketCloser::close_all(const std::vector<int>& fds) {
    std::unique_ptr<boost::asio::thread_pool> many;
    for (const int fd : fds) {
        give_to(many, std::min(threads_at_end, fds.size()), fd);
    }
    if (many) {
        many->join();
    }
    if (pool_) {
        pool_->join();
        pool_.reset();
    }
}

}  // namespace reachd
