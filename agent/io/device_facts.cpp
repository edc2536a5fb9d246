#include "agent/io/device_facts.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include "agent/io/small_file.hpp"

namespace reachd {
namespace {

/// IFNAMSIZ - 1.
constexpr std::size_t name_bytes_max = 15;
constexpr std::size_t driver_bytes_max = 63;

/// As the kernel checks a new name, so that no name leads to another place of sysfs.
bool is_device_name(std::string_view name) {
    if (name.empty() || name.size() > name_bytes_max || name == "." || name == "..") {
        return false;
    }
    return std::none_of(name.begin(), name.end(), [](char letter) {
        return letter == '/' || letter == ':' || letter == '\0';
    });
}

std::optional<std::int64_t> parse_number(std::string_view text) {
    std::int64_t number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

/// The directory of one device, held open: a rename in between cannot mix two devices.
class DeviceDirectory {
  public:
    explicit DeviceDirectory(const std::filesystem::path& path)
        : fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

    ~DeviceDirectory() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }

    DeviceDirectory(const DeviceDirectory&) = delete;
    DeviceDirectory& operator=(const DeviceDirectory&) = delete;

    bool is_open() const { return fd_ >= 0; }

    std::optional<std::int64_t> number(const std::string& file) const {
        return parse_number(read_small_file(fd_, file));
    }

    bool has(const char* file) const { return ::faccessat(fd_, file, F_OK, 0) == 0; }

    /// Last part of the target of a symbolic link; empty where it is no link, or odd.
    std::string link_name(const char* file) const {
        std::array<char, 4096> target{};
        const auto size = ::readlinkat(fd_, file, target.data(), target.size());
        if (size <= 0 || static_cast<std::size_t>(size) == target.size()) {
            return {};
        }
        std::string_view text(target.data(), static_cast<std::size_t>(size));
        text.remove_prefix(text.rfind('/') + 1);  // npos + 1: 0
        const bool plain = std::all_of(
            text.begin(), text.end(), [](char letter) { return letter > ' ' && letter < '\x7f'; });
        return plain && text.size() <= driver_bytes_max ? std::string(text) : std::string{};
    }

  private:
    int fd_;
};

/// Devices without a link, and drivers that do not know, say -1, 2^32 - 1 or EINVAL.
std::uint32_t speed_of(const DeviceDirectory& device) {
    const auto speed = device.number("speed").value_or(0);
    return speed > 0 && speed < std::numeric_limits<std::uint32_t>::max()
               ? static_cast<std::uint32_t>(speed)
               : 0;
}

}  // namespace

DeviceFacts read_device_facts(IfIndex index,
                              const std::string& name,
                              const std::filesystem::path& sysfs) {
    DeviceFacts facts;
    facts.index = index;
    if (!is_device_name(name)) {
        return facts;
    }
    const DeviceDirectory device(sysfs / "class" / "net" / name);
    if (!device.is_open() ||
        device.number("ifindex") != static_cast<std::int64_t>(static_cast<std::uint32_t>(index))) {
        return facts;
    }
    facts.driver = device.link_name("device/driver");
    facts.virtual_function = device.has("device/physfn");
    facts.speed_mbit = speed_of(device);
    return facts;
}

}  // namespace reachd
