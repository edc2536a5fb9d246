#include "agent/guest_cache.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "agent/guest_text.hpp"
#include "agent/json_document.hpp"
#include "agent/netlink_message.hpp"

namespace reachd {
namespace {

constexpr std::int64_t version = 1;
/// Each byte of a name may be shown as \xNN.
constexpr std::size_t device_text_bytes_max = 4 * device_name_bytes_max;

using std::chrono::milliseconds;

std::int64_t to_milliseconds(WallTime time) {
    return std::chrono::floor<milliseconds>(time.time_since_epoch()).count();
}

std::optional<WallTime> from_milliseconds(std::int64_t count) {
    constexpr auto most = std::chrono::duration_cast<milliseconds>(WallTime::max() - WallTime{});
    if (count < 0 || count > most.count()) {
        return std::nullopt;
    }
    return WallTime{milliseconds(count)};
}

/// By whom it was seen last, and then by all else, so that equal contents make equal files.
bool comes_first(const GuestAddressRecord& left, const GuestAddressRecord& right) {
    return std::tie(right.last_seen, left.device, left.mac, left.address) <
           std::tie(left.last_seen, right.device, right.mac, right.address);
}

bool is_guest_mac(const MacAddress& mac) {
    return !mac.is_zero() && !mac.is_group();
}

bool is_guest_address(const IpAddress& address) {
    constexpr std::array<std::uint8_t, 4> broadcast{255, 255, 255, 255};
    return !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() &&
           address != IpAddress::v4(broadcast);
}

/// A name in quotes. It holds no control characters (Link::name).
void append_text(fmt::memory_buffer& out, std::string_view text) {
    out.push_back('"');
    for (const char byte : text) {
        if (byte == '"' || byte == '\\') {
            out.push_back('\\');
        }
        out.push_back(byte);
    }
    out.push_back('"');
}

void append_record(fmt::memory_buffer& out, const GuestAddressRecord& record) {
    auto to = std::back_inserter(out);
    fmt::format_to(to, "{{\"device\":");
    append_text(out, record.device);
    if (record.port_mac) {
        fmt::format_to(to, ",\"port_mac\":\"{}\"", record.port_mac->to_string());
    }
    fmt::format_to(to,
                   ",\"mac\":\"{}\",\"address\":\"{}\",\"first_seen\":{},\"last_seen\":{}}}",
                   record.mac.to_string(),
                   record.address.to_string(),
                   to_milliseconds(record.first_seen),
                   to_milliseconds(record.last_seen));
}

bool is_expired(const GuestAddressRecord& record, WallTime now) {
    return now - record.last_seen > guest_cache_age_max;
}

/// What decode_guest_cache() would take back, but for its age.
bool is_valid(const GuestAddressRecord& record) {
    return is_shown_text(record.device, device_text_bytes_max) && is_guest_mac(record.mac) &&
           is_guest_address(record.address) && record.first_seen <= record.last_seen &&
           record.first_seen >= WallTime{};
}

std::optional<JsonValue> member(JsonValue object, std::string_view key, JsonType type) {
    for (const JsonValue value : object.children()) {
        if (value.key() == key) {
            return value.is(type) ? std::optional(value) : std::nullopt;
        }
    }
    return std::nullopt;
}

std::optional<WallTime> time_member(JsonValue object, std::string_view key) {
    const auto value = member(object, key, JsonType::integer);
    return value ? from_milliseconds(value->integer()) : std::nullopt;
}

std::optional<MacAddress> mac_member(JsonValue object, std::string_view key) {
    const auto value = member(object, key, JsonType::text);
    return value ? MacAddress::parse(value->text()) : std::nullopt;
}

std::optional<GuestAddressRecord> read_record(JsonValue object, WallTime now) {
    const auto device = member(object, "device", JsonType::text);
    const auto mac = mac_member(object, "mac");
    const auto address_text = member(object, "address", JsonType::text);
    const auto address = address_text ? IpAddress::parse(address_text->text()) : std::nullopt;
    const auto first_seen = time_member(object, "first_seen");
    const auto last_seen = time_member(object, "last_seen");
    if (!device || !mac || !address || !first_seen || !last_seen) {
        return std::nullopt;
    }
    GuestAddressRecord record{std::string(device->text()),
                              mac_member(object, "port_mac"),
                              *mac,
                              *address,
                              *first_seen,
                              *last_seen};
    if (!is_valid(record) || record.last_seen - now > guest_cache_ahead_max) {
        return std::nullopt;
    }
    record.last_seen = std::min(record.last_seen, now);
    record.first_seen = std::min(record.first_seen, record.last_seen);
    return record;
}

void read_records(JsonValue list, WallTime now, GuestCacheReading& reading) {
    for (const JsonValue value : list.children()) {
        const bool full = reading.records.size() >= guest_cache_records_max;
        auto record = full ? std::nullopt : read_record(value, now);
        if (!record) {
            ++reading.invalid;
        } else if (is_expired(*record, now)) {
            ++reading.expired;
        } else {
            reading.records.push_back(std::move(*record));
        }
    }
}

/// The first of each address is the one seen last.
void keep_each_once(std::vector<GuestAddressRecord>& records) {
    const auto key = [](const GuestAddressRecord& record) {
        return std::tie(record.device, record.mac, record.address);
    };
    std::sort(records.begin(), records.end(), [&key](const auto& left, const auto& right) {
        return key(left) != key(right) ? key(left) < key(right) : comes_first(left, right);
    });
    const auto end =
        std::unique(records.begin(), records.end(), [&key](const auto& left, const auto& right) {
            return key(left) == key(right);
        });
    records.erase(end, records.end());
    std::sort(records.begin(), records.end(), comes_first);
}

}  // namespace

std::string encode_guest_cache(std::vector<GuestAddressRecord> records, WallTime now) {
    const auto end = std::remove_if(records.begin(), records.end(), [now](const auto& record) {
        return is_expired(record, now) || !is_valid(record);
    });
    records.erase(end, records.end());
    std::sort(records.begin(), records.end(), comes_first);
    if (records.size() > guest_cache_records_max) {
        records.resize(guest_cache_records_max);
    }
    fmt::memory_buffer out;
    fmt::format_to(std::back_inserter(out), "{{\"version\":{},\"addresses\":[", version);
    std::string_view separator = "\n";
    for (const auto& record : records) {
        out.append(separator);
        append_record(out, record);
        separator = ",\n";
    }
    out.append(std::string_view("\n]}\n"));
    return fmt::to_string(out);
}

GuestCacheReading decode_guest_cache(std::string_view text, WallTime now) {
    GuestCacheReading reading;
    if (text.size() > guest_cache_bytes_max) {
        reading.problem = fmt::format("larger than {} MiB", guest_cache_bytes_max >> 20U);
        return reading;
    }
    JsonProblems problems;
    const auto document = parse_json(text, problems);
    if (!document || !document->root().is(JsonType::object)) {
        reading.problem = "no JSON object";
        return reading;
    }
    const auto written_by = member(document->root(), "version", JsonType::integer);
    if (!written_by || written_by->integer() != version) {
        reading.problem = "of a version that this one does not know";
        return reading;
    }
    const auto list = member(document->root(), "addresses", JsonType::array);
    if (!list) {
        reading.problem = "without a list of addresses";
        return reading;
    }
    read_records(*list, now, reading);
    keep_each_once(reading.records);
    return reading;
}

}  // namespace reachd
