#include "agent/io/resolver.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <boost/asio/post.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "common/io/system_clock.hpp"

namespace reachd {

/// The one place where threads meet: a lock, held for the few steps between "still wanted?" and
/// "posted", without which a late result could be posted to a loop that is gone.
struct ResolverState {
    std::mutex mutex;
    std::condition_variable work;           // a lookup waits, or stopped
    std::condition_variable ended;          // a thread has ended
    boost::asio::any_io_executor executor;  // this and the next are empty once stopped
    Resolver::Handler handler;
    std::deque<LookupRequest> waiting;
    std::size_t running = 0;
    std::size_t threads = 0;
    bool stopped = false;
};

namespace {

int family_of(FamilyChoice choice) {
    switch (choice) {
        case FamilyChoice::any: return AF_UNSPEC;
        case FamilyChoice::ipv4: return AF_INET;
        case FamilyChoice::ipv6: return AF_INET6;
    }
    return AF_UNSPEC;
}

ResolveError error_of(int eai) {
    switch (eai) {
        case EAI_NONAME:
        case EAI_NODATA:
        case EAI_ADDRFAMILY: return ResolveError::not_found;
        case EAI_AGAIN: return ResolveError::temporary;
        default: return ResolveError::failed;
    }
}

std::optional<IpAddress> address_of(const addrinfo& info) {
    if (info.ai_family == AF_INET && info.ai_addrlen >= sizeof(sockaddr_in)) {
        sockaddr_in address{};
        std::memcpy(&address, info.ai_addr, sizeof(address));
        std::array<std::uint8_t, 4> bytes{};
        std::memcpy(bytes.data(), &address.sin_addr, bytes.size());
        return IpAddress::v4(bytes);
    }
    if (info.ai_family == AF_INET6 && info.ai_addrlen >= sizeof(sockaddr_in6)) {
        sockaddr_in6 address{};
        std::memcpy(&address, info.ai_addr, sizeof(address));
        std::array<std::uint8_t, 16> bytes{};
        std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
        return IpAddress::v6(bytes, static_cast<IfIndex>(address.sin6_scope_id));
    }
    return std::nullopt;
}

std::vector<IpAddress> addresses_of(const addrinfo* info) {
    std::vector<IpAddress> addresses;
    for (; info != nullptr && addresses.size() < Resolver::addresses_max; info = info->ai_next) {
        const auto address = address_of(*info);
        if (address && std::find(addresses.begin(), addresses.end(), *address) == addresses.end()) {
            addresses.push_back(*address);
        }
    }
    return addresses;
}

/// Blocks, for as long as the name servers please.
ResolveResult resolve(const LookupRequest& request) {
    constexpr std::size_t name_bytes_max = 1024;  // room for NSS aliases; DNS itself ends at 253
    if (request.name.empty() || request.name.size() > name_bytes_max ||
        request.name.find('\0') != std::string::npos) {
        return ResolveError::not_found;
    }
    addrinfo hints{};
    hints.ai_family = family_of(request.family);
    hints.ai_socktype = SOCK_DGRAM;  // one entry an address instead of one a protocol
    hints.ai_flags = request.family == FamilyChoice::any ? AI_ADDRCONFIG : 0;
    addrinfo* answer = nullptr;
    const int eai = getaddrinfo(request.name.c_str(), nullptr, &hints, &answer);
    if (eai != 0) {
        return error_of(eai);
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(answer, freeaddrinfo);
    auto addresses = addresses_of(answer);
    if (addresses.empty()) {
        return ResolveError::not_found;
    }
    return addresses;
}

/// Blocks all signals while threads are made, which inherit that: signals are for the loops.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }

    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_{};
};

/// Caller holds state->mutex and has seen that it is not stopped.
void post_result(const std::shared_ptr<ResolverState>& state,
                 std::uint64_t id,
                 ResolveResult result) {
    boost::asio::post(state->executor, [state, id, result = std::move(result)]() mutable {
        // stop() runs in this same thread: what was posted before it may run after it.
        if (!state->stopped) {
            state->handler(id, std::move(result));
        }
    });
}

/// One thread, from the first lookup to stop().
void work(const std::shared_ptr<ResolverState>& state) {
    pthread_setname_np(pthread_self(), "reachd-dns");
    std::unique_lock lock(state->mutex);
    for (;;) {
        state->work.wait(lock, [&state] { return state->stopped || !state->waiting.empty(); });
        if (state->stopped) {
            break;
        }
        const LookupRequest request = std::move(state->waiting.front());
        state->waiting.pop_front();
        ++state->running;
        lock.unlock();
        ResolveResult result = ResolveError::temporary;
        if (mono_now() < request.give_up) {
            result = resolve(request);
        }
        lock.lock();
        --state->running;
        if (!state->stopped) {
            post_result(state, request.id, std::move(result));
        }
    }
    --state->threads;
    state->ended.notify_all();
}

}  // namespace

Resolver::Resolver(boost::asio::any_io_executor executor, Handler handler)
    : state_(std::make_shared<ResolverState>()) {
    state_->executor = std::move(executor);
    state_->handler = std::move(handler);
}

Resolver::~Resolver() {
    stop();
}

void Resolver::lookup(LookupRequest request) {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopped) {
        return;
    }
    if (state_->threads == 0) {
        start_threads();
    }
    if (state_->threads == 0 || state_->waiting.size() + state_->running >= lookups_max) {
        post_result(state_, request.id, ResolveError::temporary);
        return;
    }
    state_->waiting.push_back(std::move(request));
    state_->work.notify_one();
}

void Resolver::start_threads() {
    const SignalsBlocked blocked;
    try {
        while (state_->threads < threads) {
            std::thread(work, state_).detach();
            ++state_->threads;
        }
    } catch (const std::system_error&) {
        // At a limit of threads. The next lookup tries again if there is none at all.
    }
}

void Resolver::stop() {
    std::unique_lock lock(state_->mutex);
    if (std::exchange(state_->stopped, true)) {
        return;
    }
    state_->executor = {};
    state_->handler = nullptr;
    state_->waiting.clear();
    state_->work.notify_all();
    state_->ended.wait_for(lock, stop_patience, [this] { return state_->threads == 0; });
}

}  // namespace reachd
