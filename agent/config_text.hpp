// The small languages inside a configuration's strings: durations, listen addresses, addresses of
// peers and of guests, device and label names, globs. Text in, value or a reason out. It knows no
// keys and no files, looks nothing up (a host name is only judged by its form) and never guesses.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/config.hpp"
#include "common/address.hpp"
#include "common/mac_address.hpp"
#include "common/result.hpp"
#include "common/time.hpp"

namespace reachd {

/// Why a text is refused: one printable line that begins in lower case, without the file or key.
struct TextProblem {
    std::string message;
};

template <class T>
using TextOutcome = Result<T, TextProblem>;

/// A number, decimals allowed (at most 6), and one unit of ms, s, m or h: "250ms", "1.5s". Zero and
/// every length that Duration can hold are fine; bounds are the caller's.
[[nodiscard]] TextOutcome<Duration> parse_duration(std::string_view text);

/// In the largest unit that needs no decimals: "250ms", "90s", "1h". Whole milliseconds only.
std::string duration_text(Duration duration);

/// ":10862", "127.0.0.1:9900" or "[::1]:9900", also with a zone, "[fe80::1%eth0]:9900". Ports 1 to
/// 65535; host names are refused. ListenAddress::host comes in canonical form, with its zone.
[[nodiscard]] TextOutcome<ListenAddress> parse_listen_address(std::string_view text);

/// Where a peer is, as its configuration says it.
struct PeerAddress {
    std::optional<IpAddress> numeric;  ///< without scope; nothing: a host name
    std::string zone;                  ///< interface name of a link-local IPv6 address
    /// Equal for two spellings of one address: RFC 5952 text with zone, or the host name in lower
    /// case without the dot at its end.
    std::string canonical;
};

/// A unicast address ("10.0.0.1", "2001:db8::1", "fe80::1%eth0") or a host name as in RFC 1123,
/// section 2.1. Link-local IPv6 addresses need their zone, others must not have one.
[[nodiscard]] TextOutcome<PeerAddress> parse_peer_address(std::string_view text);

/// A unicast address of this host, numeric, without a zone.
[[nodiscard]] TextOutcome<IpAddress> parse_source_address(std::string_view text);

/// An address that ARP requests may come from: IPv4, unicast, no loopback address.
[[nodiscard]] TextOutcome<IpAddress> parse_arp_sender(std::string_view text);

/// An address that one network interface can have, "52:54:00:12:34:56" in either case: neither zero
/// nor of a group.
[[nodiscard]] TextOutcome<MacAddress> parse_guest_mac(std::string_view text);

/// What is wrong with a text; nothing when all is well.
using TextCheck = std::optional<TextProblem>;

/// The kernel's rule for interface names: 1 to 15 bytes, no '/', ':' or white space, not "." or
/// "..".
[[nodiscard]] TextCheck check_device_name(std::string_view text);

/// Prometheus' rule ([a-zA-Z_][a-zA-Z0-9_]*, nothing that begins with "__"), at most
/// label_name_bytes_max, and none of the names that reachd gives to its own labels.
[[nodiscard]] TextCheck check_label_name(std::string_view text);

/// A label value or a name shown to people: at most label_value_bytes_max, no control characters.
/// UTF-8 is assumed: the JSON reader refuses all else.
[[nodiscard]] TextCheck check_label_value(std::string_view text);

/// A pattern for glob_matches: 1 to glob_bytes_max bytes, no control characters.
[[nodiscard]] TextCheck check_glob(std::string_view text);

/// An absolute path for a Unix socket, at most socket_path_bytes_max; or empty.
[[nodiscard]] TextCheck check_socket_path(std::string_view text);

}  // namespace reachd
