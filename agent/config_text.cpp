#include "agent/config_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "agent/json_document.hpp"

namespace reachd {
namespace {

constexpr std::size_t host_name_bytes_max =
    253;  // RFC 1123 with RFC 1035's length octets taken off
constexpr std::size_t host_label_bytes_max = 63;

// Locale-free, and false for every byte of a multi-byte UTF-8 character.
bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

bool is_letter(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

bool is_control(char byte) {
    const auto value = static_cast<unsigned char>(byte);
    return value < 0x20U || value == 0x7fU;
}

bool all_of(std::string_view text, bool (*accepts)(char)) {
    return std::all_of(text.begin(), text.end(), accepts);
}

std::string quoted(std::string_view text) {
    return fmt::format("\"{}\"", excerpt(text));
}

// Durations

struct Unit {
    std::string_view name;
    std::int64_t nanoseconds;
};

constexpr std::array units{Unit{"ms", 1'000'000},
                           Unit{"s", 1'000'000'000},
                           Unit{"m", 60'000'000'000},
                           Unit{"h", 3'600'000'000'000}};
constexpr std::size_t decimals_max = 6;  // decimals * the nanoseconds of an hour still fit 64 bits

constexpr std::string_view duration_forms = R"(durations are written like "250ms", "1.5s", "5m")";

/// The value of up to 18 digits, so that it fits.
std::int64_t digits_value(std::string_view digits) {
    std::int64_t value = 0;
    for (const char digit : digits) {
        value = value * 10 + (digit - '0');
    }
    return value;
}

std::optional<std::int64_t> whole_nanoseconds(std::string_view digits, std::int64_t unit) {
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
    constexpr std::size_t digits_max = 18;
    if (digits.size() > digits_max) {
        return std::nullopt;
    }
    const auto value = digits_value(digits);
    // One unit is left for the decimals, which are less than one unit.
    if (value > std::numeric_limits<std::int64_t>::max() / unit - 1) {
        return std::nullopt;
    }
    return value * unit;
}

std::int64_t decimal_nanoseconds(std::string_view digits, std::int64_t unit) {
    std::int64_t scale = 1;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        scale *= 10;
    }
    return digits_value(digits) * unit / scale;
}

/// "12.5" of "12.5s" as its two runs of digits.
struct Decimal {
    std::string_view whole;
    std::string_view decimals;
};

std::optional<Decimal> split_decimal(std::string_view number) {
    const auto dot = number.find('.');
    Decimal decimal{number.substr(0, dot), {}};
    if (dot != std::string_view::npos) {
        decimal.decimals = number.substr(dot + 1);
        if (decimal.decimals.empty()) {
            return std::nullopt;
        }
    }
    const bool is_number = !decimal.whole.empty() && all_of(decimal.whole, is_digit) &&
                           all_of(decimal.decimals, is_digit);
    return is_number ? std::optional(decimal) : std::nullopt;
}

TextOutcome<Duration> combine(const Decimal& decimal, std::int64_t unit, std::string_view text) {
    if (decimal.decimals.size() > decimals_max) {
        return TextProblem{fmt::format("{} has more than {} decimals", quoted(text), decimals_max)};
    }
    const auto whole = whole_nanoseconds(decimal.whole, unit);
    if (!whole) {
        return TextProblem{fmt::format("{} is too long", quoted(text))};
    }
    return Duration(*whole + decimal_nanoseconds(decimal.decimals, unit));
}

// Addresses

struct HostAndZone {
    std::string_view host;
    std::optional<std::string_view> zone;
};

HostAndZone split_zone(std::string_view text) {
    const auto percent = text.find('%');
    if (percent == std::string_view::npos) {
        return {text, std::nullopt};
    }
    return {text.substr(0, percent), text.substr(percent + 1)};
}

bool is_v4_mapped(const IpAddress& address) {
    constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return address.family() == Family::ipv6 &&
           std::equal(prefix.begin(), prefix.end(), address.bytes().begin());
}

bool is_broadcast(const IpAddress& address) {
    const auto bytes = address.bytes();
    return address.family() == Family::ipv4 &&
           std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0xffU; });
}

TextCheck check_not_special(const IpAddress& address, std::string_view text) {
    if (address.is_multicast()) {
        return TextProblem{fmt::format("{} is a multicast address", quoted(text))};
    }
    if (is_broadcast(address)) {
        return TextProblem{fmt::format("{} is the broadcast address", quoted(text))};
    }
    if (is_v4_mapped(address)) {
        return TextProblem{fmt::format(
            "{} is an IPv4 address in IPv6 form; write the IPv4 address itself", quoted(text))};
    }
    return std::nullopt;
}

TextCheck check_unicast(const IpAddress& address, std::string_view text) {
    if (address.is_unspecified()) {
        return TextProblem{fmt::format("{} is the unspecified address", quoted(text))};
    }
    return check_not_special(address, text);
}

TextCheck check_zone(const IpAddress& address,
                     const std::optional<std::string_view>& zone,
                     std::string_view text) {
    if (!zone) {
        return std::nullopt;
    }
    if (!address.is_link_local_v6()) {
        return TextProblem{
            fmt::format("{} has a zone; only link-local IPv6 addresses have one", quoted(text))};
    }
    if (auto problem = check_device_name(*zone)) {
        return TextProblem{fmt::format("zone of {}: {}", quoted(text), problem->message)};
    }
    return std::nullopt;
}

TextProblem link_local_without_zone(std::string_view text) {
    return {fmt::format("{} is link-local and needs its interface, as in \"fe80::1%eth0\"",
                        quoted(text))};
}

bool is_host_label(std::string_view label) {
    const auto accepts = [](char byte) { return is_letter(byte) || is_digit(byte) || byte == '-'; };
    return !label.empty() && label.size() <= host_label_bytes_max && label.front() != '-' &&
           label.back() != '-' && std::all_of(label.begin(), label.end(), accepts);
}

/// What getaddrinfo would take for the last part of an IPv4 address: decimal or hexadecimal.
bool is_number(std::string_view label) {
    const auto is_hex = [](char byte) {
        return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
    };
    const bool has_prefix =
        label.size() >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X');
    return has_prefix ? all_of(label.substr(2), is_hex) : all_of(label, is_digit);
}

/// `name` without its final dot.
bool is_host_name(std::string_view name) {
    if (name.empty() || name.size() > host_name_bytes_max) {
        return false;
    }
    while (true) {
        const auto dot = name.find('.');
        if (!is_host_label(name.substr(0, dot))) {
            return false;
        }
        if (dot == std::string_view::npos) {
            // No top-level domain is a number: "10.0.0.300" is a mistyped address, not a name.
            return !is_number(name);
        }
        name.remove_prefix(dot + 1);
    }
}

TextProblem no_address(std::string_view text) {
    if (text.empty()) {
        return {"must not be empty"};
    }
    if (text.find('/') != std::string_view::npos) {
        return {
            fmt::format("{} is a prefix or URL; one address or host name is wanted", quoted(text))};
    }
    const bool looks_v4 = is_digit(text.front()) &&
                          all_of(text, [](char byte) { return is_digit(byte) || byte == '.'; });
    if (looks_v4) {
        return {fmt::format("{} is no IPv4 address", quoted(text))};
    }
    if (text.find(':') != std::string_view::npos) {
        return {fmt::format("{} is no IPv6 address, and no other has a ':'", quoted(text))};
    }
    return {fmt::format("{} is neither an IP address nor a host name", quoted(text))};
}

PeerAddress named(std::string_view name) {
    PeerAddress address;
    address.canonical = std::string(name);
    for (char& byte : address.canonical) {
        if (byte >= 'A' && byte <= 'Z') {
            byte = static_cast<char>(byte - 'A' + 'a');
        }
    }
    return address;
}

// Listen addresses

struct HostAndPort {
    std::string_view host;
    std::string_view port;
    bool is_bracketed = false;
};

std::optional<HostAndPort> split_port(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return std::nullopt;
    }
    auto host = text.substr(0, colon);
    const auto port = text.substr(colon + 1);
    if (host.empty() || host.front() != '[') {
        return HostAndPort{host, port, false};
    }
    if (host.back() != ']') {
        return std::nullopt;
    }
    host.remove_prefix(1);
    host.remove_suffix(1);
    return HostAndPort{host, port, true};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, port);
    const bool is_port = error == std::errc() && stopped == end && port != 0;
    return is_port ? std::optional(port) : std::nullopt;
}

TextCheck read_listen_host(const HostAndPort& parts, std::string_view text, ListenAddress& listen) {
    const auto [host, zone] = split_zone(parts.host);
    const auto address = IpAddress::parse(host);
    if (!address) {
        return TextProblem{fmt::format(
            "{}: the address to listen on must be numeric, or left out for all", quoted(text))};
    }
    if ((address->family() == Family::ipv6) != parts.is_bracketed) {
        return TextProblem{
            fmt::format("{}: IPv6 addresses, and no others, stand in [brackets]", quoted(text))};
    }
    if (auto problem = check_not_special(*address, text)) {
        return problem;
    }
    if (auto problem = check_zone(*address, zone, text)) {
        return problem;
    }
    if (address->is_link_local_v6() && !zone) {
        return link_local_without_zone(text);
    }
    listen.host = zone ? fmt::format("{}%{}", address->to_string(), *zone) : address->to_string();
    return std::nullopt;
}

// Labels

/// Names that reachd's own series and its host carry.
constexpr std::array<std::string_view, 18> own_labels{"peer",
                                                      "address",
                                                      "probe",
                                                      "port",
                                                      "kind",
                                                      "source",
                                                      "device",
                                                      "bridge",
                                                      "vm",
                                                      "reason",
                                                      "le",
                                                      "fault",
                                                      "code",
                                                      "severity",
                                                      "cause",
                                                      "host",
                                                      "role",
                                                      "virtualization"};

}  // namespace

TextOutcome<Duration> parse_duration(std::string_view text) {
    if (!text.empty() && text.front() == '-') {
        return TextProblem{fmt::format("{} is negative", quoted(text))};
    }
    const auto unit_at = std::min(text.find_first_not_of("0123456789."), text.size());
    const auto decimal = split_decimal(text.substr(0, unit_at));
    const auto name = text.substr(unit_at);
    if (!decimal) {
        return TextProblem{fmt::format("{} is no duration; {}", quoted(text), duration_forms)};
    }
    if (name.empty()) {
        return TextProblem{fmt::format("{} has no unit; {}", quoted(text), duration_forms)};
    }
    for (const auto& unit : units) {
        if (unit.name == name) {
            return combine(*decimal, unit.nanoseconds, text);
        }
    }
    return TextProblem{fmt::format("{} is no duration; {}", quoted(text), duration_forms)};
}

std::string duration_text(Duration duration) {
    for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
        if (duration.count() != 0 && duration.count() % unit->nanoseconds == 0) {
            return fmt::format("{}{}", duration.count() / unit->nanoseconds, unit->name);
        }
    }
    return fmt::format("{}ms", duration.count() / units.front().nanoseconds);
}

TextOutcome<ListenAddress> parse_listen_address(std::string_view text) {
    const auto parts = split_port(text);
    if (!parts) {
        return TextProblem{fmt::format(
            R"({} is no address with a port; such are ":10862", "127.0.0.1:9900", "[::1]:9900")",
            quoted(text))};
    }
    ListenAddress listen;
    if (!parts->host.empty() || parts->is_bracketed) {
        if (auto problem = read_listen_host(*parts, text, listen)) {
            return *problem;
        }
    }
    const auto port = parse_port(parts->port);
    if (!port) {
        return TextProblem{fmt::format("{}: the port must be 1 to 65535", quoted(text))};
    }
    listen.port = *port;
    return listen;
}

TextOutcome<PeerAddress> parse_peer_address(std::string_view text) {
    const auto [host, zone] = split_zone(text);
    const auto numeric = IpAddress::parse(host);
    if (!numeric) {
        auto name = text;
        if (!name.empty() && name.back() == '.') {
            name.remove_suffix(1);
        }
        return is_host_name(name) ? TextOutcome<PeerAddress>(named(name)) : no_address(text);
    }
    if (auto problem = check_unicast(*numeric, text)) {
        return *problem;
    }
    if (auto problem = check_zone(*numeric, zone, text)) {
        return *problem;
    }
    if (numeric->is_link_local_v6() && !zone) {
        return link_local_without_zone(text);
    }
    PeerAddress address{numeric, std::string(zone.value_or("")), numeric->to_string()};
    if (zone) {
        address.canonical += '%';
        address.canonical += *zone;
    }
    return address;
}

TextOutcome<IpAddress> parse_source_address(std::string_view text) {
    const auto address = IpAddress::parse(text);
    if (!address) {
        return TextProblem{
            fmt::format("{} is no IP address; a source is numeric and has no zone", quoted(text))};
    }
    if (auto problem = check_unicast(*address, text)) {
        return *problem;
    }
    return *address;
}

TextOutcome<IpAddress> parse_arp_sender(std::string_view text) {
    const auto address = IpAddress::parse(text);
    if (!address || address->family() != Family::ipv4) {
        return TextProblem{fmt::format(
            "{} is no IPv4 address; ARP has no others, and \"\" stands for 0.0.0.0", quoted(text))};
    }
    if (address->is_unspecified()) {
        return TextProblem{fmt::format("{} is what \"\" stands for; write that", quoted(text))};
    }
    if (address->is_loopback()) {
        return TextProblem{
            fmt::format("{} is a loopback address, which no network has", quoted(text))};
    }
    if (auto problem = check_unicast(*address, text)) {
        return *problem;
    }
    return *address;
}

TextOutcome<MacAddress> parse_guest_mac(std::string_view text) {
    const auto mac = MacAddress::parse(text);
    if (!mac) {
        return TextProblem{fmt::format(
            R"({} is no MAC address; they are written like "52:54:00:12:34:56")", quoted(text))};
    }
    if (mac->is_group() || mac->is_zero()) {
        return TextProblem{fmt::format("{} is {}; no interface has it",
                                       quoted(text),
                                       mac->is_zero() ? "the zero address" : "a group address")};
    }
    return *mac;
}

TextCheck check_device_name(std::string_view text) {
    constexpr std::size_t bytes_max = 15;  // IFNAMSIZ less its NUL
    if (text.empty() || text.size() > bytes_max) {
        return TextProblem{
            fmt::format("{} is no device name: they have 1 to 15 bytes", quoted(text))};
    }
    const auto is_refused = [](char byte) {
        return byte == '/' || byte == ':' || byte == ' ' || is_control(byte);
    };
    if (text == "." || text == ".." || std::any_of(text.begin(), text.end(), is_refused)) {
        return TextProblem{fmt::format("{} is no device name: they have no '/', ':' or white space",
                                       quoted(text))};
    }
    return std::nullopt;
}

TextCheck check_label_name(std::string_view text) {
    const auto accepts = [](char byte) { return is_letter(byte) || is_digit(byte) || byte == '_'; };
    if (text.empty() || text.size() > label_name_bytes_max) {
        return TextProblem{fmt::format("label names have 1 to {} bytes", label_name_bytes_max)};
    }
    if (is_digit(text.front()) || !std::all_of(text.begin(), text.end(), accepts)) {
        return TextProblem{
            "no valid label name: letters, digits and '_', not beginning with a digit"};
    }
    if (text.substr(0, 2) == "__") {
        return TextProblem{"label names that begin with \"__\" belong to Prometheus"};
    }
    if (std::find(own_labels.begin(), own_labels.end(), text) != own_labels.end()) {
        return TextProblem{"reachd gives a label of this name itself; choose another"};
    }
    return std::nullopt;
}

TextCheck check_label_value(std::string_view text) {
    if (text.size() > label_value_bytes_max) {
        return TextProblem{fmt::format("longer than {} bytes", label_value_bytes_max)};
    }
    if (std::any_of(text.begin(), text.end(), is_control)) {
        return TextProblem{fmt::format("{} holds a control character", quoted(text))};
    }
    return std::nullopt;
}

TextCheck check_glob(std::string_view text) {
    if (text.empty() || text.size() > glob_bytes_max) {
        return TextProblem{fmt::format("a glob has 1 to {} bytes", glob_bytes_max)};
    }
    if (std::any_of(text.begin(), text.end(), is_control)) {
        return TextProblem{fmt::format("{} holds a control character", quoted(text))};
    }
    return std::nullopt;
}

TextCheck check_socket_path(std::string_view text) {
    if (text.size() > socket_path_bytes_max) {
        return TextProblem{
            fmt::format("longer than {} bytes, the kernel's limit", socket_path_bytes_max)};
    }
    if (!text.empty() && text.front() != '/') {
        return TextProblem{fmt::format("{} is no absolute path", quoted(text))};
    }
    if (std::any_of(text.begin(), text.end(), is_control)) {
        return TextProblem{fmt::format("{} holds a control character", quoted(text))};
    }
    return std::nullopt;
}

}  // namespace reachd
