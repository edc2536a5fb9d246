// Host names to addresses by the system's resolver (getaddrinfo: hosts file, DNS, NSS), which
// blocks, in threads of its own. Keeps no cache and no schedule: that is agent/name_resolution.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include "agent/name_resolution.hpp"

namespace reachd {

struct ResolverState;

/// Two threads, made at the first lookup: a daemon whose peers are all numeric has none.
///
/// A lookup cannot be interrupted: getaddrinfo may sit for half a minute before dead name servers.
/// So the threads are detached, and not those of a pool, whose end would wait for them: stop()
/// waits `stop_patience` for a tidy end, then leaves a stuck thread to the end of the process. Such
/// a thread holds nothing but its share of the state (no executor, no handler), so that all else
/// may be destroyed before it.
///
/// Owned and called by the thread that runs `executor`. The handler runs there too, never inside
/// lookup() and never after stop(); it must not call stop() itself.
class Resolver {
  public:
    using Handler = std::function<void(std::uint64_t id, ResolveResult result)>;

    static constexpr std::size_t threads = 2;
    /// Lookups waiting or running. Twice what NameResolution has under way, for those it gave up.
    static constexpr std::size_t lookups_max = 16;
    /// Addresses taken from one answer; a zone can hold thousands.
    static constexpr std::size_t addresses_max = 64;
    static constexpr Duration stop_patience = std::chrono::milliseconds(500);

    Resolver(boost::asio::any_io_executor executor, Handler handler);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    /// Hands the result to the handler, exactly once unless stop() comes first: addresses in
    /// getaddrinfo's order (RFC 6724) without duplicates, link-local ones with their zone; an empty
    /// list never. With lookups_max busy, or past request.give_up before it began: `temporary`.
    /// For FamilyChoice::any, families the host has no address of are left out (AI_ADDRCONFIG); a
    /// family asked for by name is looked up in any case, since "unresolved" would be untrue.
    void lookup(LookupRequest request);

    /// Idempotent. Returns within stop_patience, see above.
    void stop();

  private:
    /// As far as the system allows; lookups are refused while there is none.
    void start_threads();

    std::shared_ptr<ResolverState> state_;  ///< shared with threads that may outlive this object
};

}  // namespace reachd
