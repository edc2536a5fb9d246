// The configuration file, from the disk to a Config or to everything that is wrong with it. Blocks
// for as long as the disk and the size of the file want: never to be called on the probe loop.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/config.hpp"

namespace reachd {

struct ConfigFile {
    std::string path;
    bool may_be_missing = false;  ///< the default path: no file means `{}`
};

struct LoadedConfig {
    std::optional<Config> config;
    std::vector<std::string> problems;  ///< one line each; empty exactly if there is a config
    bool missing = false;               ///< no such file, and that is no problem
};

LoadedConfig load_config(const ConfigFile& file);

}  // namespace reachd
