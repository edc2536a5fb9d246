// When which host name is looked up, and which address of an answer is used. Looks nothing up
// itself: requests go out, results come in, time and chance are arguments. Numeric addresses are
// none of its business.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/config.hpp"
#include "common/address.hpp"
#include "common/random.hpp"
#include "common/result.hpp"
#include "common/time.hpp"

namespace reachd {

enum class ResolveError : std::uint8_t {
    not_found,  ///< no such name, or no usable address of the wanted family
    temporary,  ///< the resolver could not answer now (EAI_AGAIN), or had too much to do
    failed,     ///< anything else, and no answer in time
};

constexpr std::string_view to_text(ResolveError error) {
    constexpr std::array<std::string_view, 3> names{"not_found", "temporary", "failed"};
    return names[static_cast<std::size_t>(error)];
}

/// Addresses in the resolver's order of preference (RFC 6724).
using ResolveResult = Result<std::vector<IpAddress>, ResolveError>;

struct LookupRequest {
    std::uint64_t id = 0;  ///< never used twice
    std::string name;
    FamilyChoice family = FamilyChoice::any;
    MonoTime give_up{};  ///< a lookup not begun by then is not worth beginning
};

/// What a result did to a name.
struct NameUpdate {
    std::string name;
    FamilyChoice family = FamilyChoice::any;
    std::optional<IpAddress> address;  ///< in use now; nothing: the name has never been resolved
    bool changed = false;              ///< `address` is another one than before

    friend bool operator==(const NameUpdate&, const NameUpdate&) = default;
};

struct NameState {
    std::optional<IpAddress> address;
    std::uint32_t failures = 0;              ///< in a row, since the last good answer
    std::optional<ResolveError> last_error;  ///< of the failures above

    friend bool operator==(const NameState&, const NameState&) = default;
};

/// The schedule of all host names. A name and family is looked up once however many peers have it;
/// it has at most one lookup under way. A failure never takes an address away. There is at most one
/// entry a peer, so that limits.peers bounds it.
class NameResolution {
  public:
    /// A good answer is asked for again after this; names spread over it by chance.
    static constexpr Duration refresh_interval = std::chrono::seconds(30);
    /// After the first failure, doubled with each further one up to the longest.
    static constexpr Duration retry_first = std::chrono::seconds(2);
    static constexpr Duration retry_longest = std::chrono::seconds(30);
    /// No answer by then is a failure. A good one that comes later is still welcome.
    static constexpr Duration lookup_timeout = std::chrono::seconds(10);
    static constexpr std::size_t under_way_max = 8;
    /// Given-up lookups whose late answers would still be recognised; the oldest are forgotten.
    static constexpr std::size_t given_up_max = 64;

    /// One more peer uses the name. A new name is due for its first lookup at `now`.
    void add(const std::string& name, FamilyChoice family, MonoTime now);
    /// One peer less. Names without a peer are forgotten; to remove an unknown one is a bug.
    void remove(const std::string& name, FamilyChoice family);

    /// Gives up lookups that took too long, then hands out the due ones as far as
    /// under_way_max allows, longest due first. Each must be answered by on_result() at most once.
    [[nodiscard]] std::vector<LookupRequest> take_requests(MonoTime now, Random& random);

    /// The address in use is the first one of the answer, kept as long as an answer contains it.
    /// Addresses of another family and those no probe may go to (unspecified, multicast, broadcast)
    /// do not count. Nothing for ids that mean nothing (any more), and for late failures.
    std::optional<NameUpdate> on_result(std::uint64_t id,
                                        const ResolveResult& result,
                                        MonoTime now,
                                        Random& random);

    /// Nothing for names that were not added.
    std::optional<NameState> state(const std::string& name, FamilyChoice family) const;

    /// When take_requests() has something to do; mono_never without names.
    MonoTime next_deadline() const;

    /// Failed lookups since the beginning, time-outs included.
    std::uint64_t errors() const { return errors_; }

    std::size_t names() const { return names_.size(); }

    std::size_t under_way() const { return under_way_.size(); }

  private:
    struct Key {
        std::string name;
        FamilyChoice family = FamilyChoice::any;

        friend auto operator<=>(const Key&, const Key&) = default;
    };

    struct Entry {
        std::uint32_t peers = 0;
        std::uint64_t serial = 0;  ///< order of arrival; breaks ties, so that runs repeat exactly
        NameState state;
        /// Place in due_; nothing while a lookup is under way.
        std::optional<MonoTime> due;
    };

    using Names = std::map<Key, Entry>;

    struct Lookup {
        std::uint64_t id = 0;
        Key key;
        MonoTime give_up{};
    };

    void schedule(Names::iterator name, MonoTime due);
    void unschedule(Names::iterator name);
    void expire(MonoTime now, Random& random);
    void fail(Names::iterator name, ResolveError error, MonoTime now, Random& random);
    /// Whether the address changed.
    bool succeed(Names::iterator name,
                 const std::vector<IpAddress>& usable,
                 MonoTime now,
                 Random& random);
    bool is_under_way(const Key& key) const;

    Names names_;
    std::map<std::pair<MonoTime, std::uint64_t>, Names::iterator> due_;
    std::vector<Lookup> under_way_;  ///< oldest first, so that the front is the first to give up
    std::vector<Lookup> given_up_;   ///< oldest first
    std::uint64_t next_id_ = 1;
    std::uint64_t next_serial_ = 1;
    std::uint64_t errors_ = 0;
};

}  // namespace reachd
