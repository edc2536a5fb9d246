#include "agent/config_guests.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "agent/config_reader.hpp"
#include "agent/config_text.hpp"

namespace reachd {
namespace {

using namespace config_reader;

template <auto member>
void globs(JsonProblems& problems, const JsonValue& value, SectionOf<member>& section) {
    if (!expect(problems, value, JsonType::array, R"(a list of globs like ["br*"])")) {
        return;
    }
    if (value.children().count() > guest_globs_max) {
        problems.add(value, fmt::format("must have at most {} globs", guest_globs_max));
        return;
    }
    auto& list = section.*member;
    list.clear();
    for (const auto element : value.children()) {
        std::string glob;
        read_checked(problems, element, check_glob, glob);
        list.push_back(std::move(glob));
    }
}

/// A member of "names" while it is read. `place` tells its key and line.
struct NameDraft {
    MacAddress mac;
    std::uint32_t order = 0;  ///< in the file
    JsonValue place;
    std::string name;
};

void read_guest_name(JsonProblems& problems, const JsonValue& value, std::string& name) {
    if (value.is(JsonType::text) && value.text().empty()) {
        problems.add(value, "must not be empty; leave it out to have the guest named by itself");
        return;
    }
    read_checked(problems, value, check_label_value, name);
}

/// Those of equal spelling are duplicate keys, which the reader of JSON has told.
void refuse_duplicate_macs(JsonProblems& problems, const std::vector<NameDraft>& sorted) {
    std::size_t first = 0;
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        const auto& member = sorted[i].place;
        if (sorted[i].mac != sorted[first].mac) {
            first = i;
        } else if (member.key() != sorted[first].place.key()) {
            problems.add_key(member,
                             fmt::format("the same MAC address as \"{}\" on line {}",
                                         excerpt(sorted[first].place.key()),
                                         sorted[first].place.key_line()));
        }
    }
}

std::vector<NameDraft> name_drafts(JsonProblems& problems, const JsonValue& value) {
    std::vector<NameDraft> drafts;
    for (const auto member : value.children()) {
        std::string name;
        read_guest_name(problems, member, name);
        const auto mac = parse_guest_mac(member.key());
        if (!mac) {
            problems.add_key(member, mac.error().message);
            continue;
        }
        const auto order = static_cast<std::uint32_t>(drafts.size());
        drafts.push_back({*mac, order, member, std::move(name)});
    }
    std::sort(drafts.begin(), drafts.end(), [](const NameDraft& one, const NameDraft& other) {
        return std::pair(one.mac, one.order) < std::pair(other.mac, other.order);
    });
    return drafts;
}

void read_names(JsonProblems& problems, const JsonValue& value, GuestDiscoveryConfig& guests) {
    if (!expect(problems, value, JsonType::object)) {
        return;
    }
    if (value.children().count() > guest_names_max) {
        problems.add(value, fmt::format("more than {} names", guest_names_max));
        return;
    }
    auto drafts = name_drafts(problems, value);
    refuse_duplicate_macs(problems, drafts);
    guests.names.clear();
    guests.names.reserve(drafts.size());
    for (auto& draft : drafts) {
        guests.names.emplace_back(draft.mac, std::move(draft.name));
    }
}

constexpr std::array guest_keys{
    Key<GuestDiscoveryConfig>{"enabled", boolean<&GuestDiscoveryConfig::enabled>},
    Key<GuestDiscoveryConfig>{"containers", boolean<&GuestDiscoveryConfig::containers>},
    Key<GuestDiscoveryConfig>{"bridges", globs<&GuestDiscoveryConfig::bridges>},
    Key<GuestDiscoveryConfig>{"exclude", globs<&GuestDiscoveryConfig::exclude>},
    Key<GuestDiscoveryConfig>{"names", read_names},
};

}  // namespace

void read_guest_discovery(JsonProblems& problems,
                          const JsonValue& value,
                          GuestDiscoveryConfig& guests) {
    if (value.is(JsonType::boolean)) {
        guests.enabled = value.boolean();
    } else if (expect(problems, value, JsonType::object, "true, false or an object")) {
        read_section(problems, value, guest_keys, guests);
    }
}

}  // namespace reachd
