#include "agent/vm_process.hpp"

#include <algorithm>
#include <utility>

#include "agent/guest_text.hpp"
#include "agent/json_document.hpp"

namespace reachd {
namespace {

/// key=value pairs looked at in one argument. QEMU's cards have some dozens of properties.
constexpr std::size_t settings_max = 256;
/// An argument in JSON; QEMU's own are some hundred bytes.
constexpr std::size_t json_argument_bytes_max = 16U << 10U;
/// Of a key or an id.
constexpr std::size_t id_bytes_max = 256;

struct Setting {
    std::string key;
    std::string value;
};

using Settings = std::vector<Setting>;

/// Up to the comma that ends a value; two commas are one within it. Takes the ending comma along.
std::string take_value(std::string_view& text) {
    std::string value;
    while (!text.empty()) {
        const auto comma = std::min(text.find(','), text.size());
        value += text.substr(0, comma);
        text.remove_prefix(std::min(comma + 1, text.size()));
        if (text.empty() || text.front() != ',') {
            break;
        }
        value += ',';
        text.remove_prefix(1);
    }
    return value;
}

/// "key=value,key=value". The first may lack its key, which is then `implied`; any other without a
/// value is a switch, of no interest here.
Settings read_settings(std::string_view text, std::string_view implied) {
    Settings settings;
    bool first = true;
    while (!text.empty() && settings.size() < settings_max) {
        const auto end = text.find_first_of("=,");
        if (end != std::string_view::npos && text[end] == '=') {
            std::string key(text.substr(0, std::min(end, id_bytes_max)));
            text.remove_prefix(end + 1);
            settings.push_back({std::move(key), take_value(text)});
        } else if (auto value = take_value(text); first) {
            settings.push_back({std::string(implied), std::move(value)});
        }
        first = false;
    }
    return settings;
}

/// The texts directly in the object; none if it is no JSON.
Settings read_json_settings(std::string_view text) {
    Settings settings;
    JsonProblems ignored;
    if (text.size() > json_argument_bytes_max) {
        return settings;
    }
    const auto document = parse_json(text, ignored);
    if (!document || !document->root().is(JsonType::object)) {
        return settings;
    }
    for (const JsonValue member : document->root().children()) {
        if (member.is(JsonType::text) && settings.size() < settings_max) {
            settings.push_back({std::string(member.key()), std::string(member.text())});
        }
    }
    return settings;
}

Settings read_argument(std::string_view text, std::string_view implied) {
    const bool json = !text.empty() && text.front() == '{';
    return json ? read_json_settings(text) : read_settings(text, implied);
}

/// As QEMU does: of several the last one counts.
std::string_view find(const Settings& settings, std::string_view key) {
    const auto found = std::find_if(settings.rbegin(),
                                    settings.rend(),
                                    [key](const Setting& setting) { return setting.key == key; });
    return found == settings.rend() ? std::string_view{} : std::string_view(found->value);
}

std::optional<MacAddress> guest_mac(std::string_view text) {
    const auto mac = MacAddress::parse(text);
    return mac && !mac->is_zero() && !mac->is_group() ? mac : std::nullopt;
}

/// The two halves of a network card stand in arguments of their own, joined by the back end's id.
struct FrontEnd {
    std::string back_end_id;
    std::optional<MacAddress> mac;
    bool joined = false;
};

struct BackEnd {
    std::string id;
    std::string tap;
};

class Reader {
  public:
    /// False where the option is none that we know.
    bool on_option(std::string_view option, std::string_view value) {
        if (option == "name") {
            on_name(value);
        } else if (option == "uuid") {
            vm_.uuid = guest_uuid_text(value);
        } else if (option == "device") {
            on_device(read_argument(value, "driver"));
        } else if (option == "netdev") {
            on_back_end(read_argument(value, "type"));
        } else if (option == "nic" || option == "net") {
            on_both(read_settings(value, "type"));
        } else if (option == "smbios") {
            on_firmware(read_settings(value, "type"));
        } else {
            return false;
        }
        return true;
    }

    VmProcess finish() {
        for (auto& back_end : back_ends_) {
            VmNic nic{std::nullopt, std::move(back_end.tap)};
            const auto front_end =
                std::find_if(front_ends_.begin(), front_ends_.end(), [&](const FrontEnd& half) {
                    return !half.joined && !half.back_end_id.empty() &&
                           half.back_end_id == back_end.id;
                });
            if (front_end != front_ends_.end()) {
                nic.mac = front_end->mac;
                front_end->joined = true;
            }
            add(std::move(nic));
        }
        for (const auto& front_end : front_ends_) {
            if (!front_end.joined) {
                add({front_end.mac, {}});
            }
        }
        return std::move(vm_);
    }

  private:
    void on_name(std::string_view value) {
        auto name = guest_name_text(find(read_settings(value, "guest"), "guest"));
        if (!name.empty()) {
            vm_.name = std::move(name);
        }
    }

    /// How Proxmox gives the UUID: as that of the system (SMBIOS type 1).
    void on_firmware(const Settings& settings) {
        if (vm_.uuid.empty() && find(settings, "type") == "1") {
            vm_.uuid = guest_uuid_text(find(settings, "uuid"));
        }
    }

    void on_device(const Settings& settings) {
        const auto mac = guest_mac(find(settings, "mac"));
        const auto back_end_id = find(settings, "netdev");
        if ((mac || !back_end_id.empty()) && front_ends_.size() < vm_nics_max) {
            front_ends_.push_back({std::string(back_end_id.substr(0, id_bytes_max)), mac});
        }
    }

    void on_back_end(const Settings& settings) {
        auto tap = guest_device_text(find(settings, "ifname"));
        if (find(settings, "type") == "tap" && !tap.empty() && back_ends_.size() < vm_nics_max) {
            const auto id = find(settings, "id");
            back_ends_.push_back({std::string(id.substr(0, id_bytes_max)), std::move(tap)});
        }
    }

    /// Both halves in one (-nic), or one of them, joined by a hub (-net).
    void on_both(const Settings& settings) {
        auto mac = guest_mac(find(settings, "mac"));
        if (!mac) {
            mac = guest_mac(find(settings, "macaddr"));
        }
        const bool tap = find(settings, "type") == "tap";
        add({mac, tap ? guest_device_text(find(settings, "ifname")) : std::string()});
    }

    void add(VmNic nic) {
        if ((nic.mac || !nic.tap.empty()) && vm_.nics.size() < vm_nics_max) {
            vm_.nics.push_back(std::move(nic));
        }
    }

    VmProcess vm_;
    std::vector<FrontEnd> front_ends_;
    std::vector<BackEnd> back_ends_;
};

/// Without its dashes, one or two; empty if the argument is no option.
std::string_view option_of(std::string_view argument) {
    if (argument.size() < 2 || argument.front() != '-') {
        return {};
    }
    return argument.substr(argument[1] == '-' ? 2 : 1);
}

/// The value is the guest's own text, which may look like an option.
bool takes_any_text(std::string_view option) {
    return option == "append";
}

std::vector<std::string_view> split(std::string_view command_line) {
    // A name cut in the middle would be another name.
    const bool cut = command_line.size() >= command_line_bytes_max;
    command_line = command_line.substr(0, command_line_bytes_max);
    std::vector<std::string_view> arguments;
    while (!command_line.empty()) {
        const auto end = command_line.find('\0');
        if (end == std::string_view::npos) {
            if (!cut) {
                arguments.push_back(command_line);
            }
            break;
        }
        arguments.push_back(command_line.substr(0, end));
        command_line.remove_prefix(end + 1);
    }
    return arguments;
}

bool starts_with(std::string_view text, std::string_view beginning) {
    return text.substr(0, beginning.size()) == beginning;
}

}  // namespace

bool may_be_vm(std::string_view comm) {
    return starts_with(comm, "qemu") || starts_with(comm, "kvm");
}

VmProcess read_command_line(std::string_view command_line) {
    const auto arguments = split(command_line);
    Reader reader;
    for (std::size_t i = 1; i + 1 < arguments.size(); ++i) {
        const auto option = option_of(arguments[i]);
        if (option.empty()) {
            continue;
        }
        if (reader.on_option(option, arguments[i + 1]) || takes_any_text(option)) {
            ++i;
        }
    }
    return reader.finish();
}

}  // namespace reachd
