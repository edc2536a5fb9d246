// What libvirt's run-time XML says about one running domain: /run/libvirt/qemu/NAME.xml and
// /run/libvirt/lxc/NAME.xml. Text in, values out; agent/io/process_table finds the files.
//
// libexpat reads the XML. A document type is refused (libvirt writes none), so that no entity can
// be defined; depth and sizes are bounded; nothing outside the text is ever looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/mac_address.hpp"

namespace reachd {

/// Of one file. libvirt's are some tens of kilobytes, most of it capabilities and metadata.
inline constexpr std::size_t libvirt_file_bytes_max = 1U << 20U;
/// Interfaces of one domain; further ones are left out.
inline constexpr std::size_t libvirt_interfaces_max = 64;
/// Elements within each other; libvirt's own need 12 or so.
inline constexpr std::size_t libvirt_depth_max = 64;

struct LibvirtInterface {
    std::string device;  ///< <target dev=…/>, safe text as in Link::name; empty: none
    std::optional<MacAddress> mac{};

    friend bool operator==(const LibvirtInterface&, const LibvirtInterface&) = default;
};

struct LibvirtDomain {
    std::int32_t pid = 0;  ///< of its process; 0: not told
    std::string name;      ///< safe and bounded, see guest_name_text(); never empty
    std::string uuid;      ///< lower case; empty: not told
    std::vector<LibvirtInterface> interfaces;

    friend bool operator==(const LibvirtDomain&, const LibvirtDomain&) = default;
};

/// Nothing if the text is not well-formed, passes a limit, or is no domain with a name.
std::optional<LibvirtDomain> read_libvirt_domain(std::string_view xml);

}  // namespace reachd
