// Names that guests, their management and containers were given, as text that may be shown: people,
// and sometimes tenants, choose them freely. Decides how they are made harmless, not what they
// mean.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace reachd {

/// Bytes of a guest's name as shown: longer ones are cut between characters.
inline constexpr std::size_t guest_name_bytes_max = 256;

/// A name from the bytes found: valid UTF-8 without control characters, written as device_text()
/// writes them, and at most guest_name_bytes_max long.
std::string guest_name_text(std::string_view found);

/// A device's name as in Link::name; empty if the kernel cannot have a device of that name.
std::string guest_device_text(std::string_view found);

/// Lower case, 8-4-4-4-12 hexadecimal digits (RFC 9562, section 4); empty for anything else.
std::string guest_uuid_text(std::string_view found);

/// Text as guest_name_text() and device_text() make it, not empty, at most `bytes_max` long: for
/// what comes back from a file.
bool is_shown_text(std::string_view text, std::size_t bytes_max);

}  // namespace reachd
