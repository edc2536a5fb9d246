// What sysfs knows of a device of the hardware and rtnetlink does not tell. Reads, and judges
// nothing; that the device is one of the hardware is the caller's knowledge.
#pragma once

#include <filesystem>
#include <string>

#include "common/address.hpp"
#include "common/snapshot.hpp"

namespace reachd {

/// The facts of the device `name`, whose index must be `index`: sysfs may show the devices of
/// another network namespace, and names move on. What cannot be read, and everything of a device
/// that is not this one, is "not known". `index` is set in any case.
/// May wait for the kernel's rtnl lock (the speed of a device): never call it in the probe loop.
DeviceFacts read_device_facts(IfIndex index,
                              const std::string& name,
                              const std::filesystem::path& sysfs = "/sys");

}  // namespace reachd
