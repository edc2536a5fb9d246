// Feeds arbitrary bytes to the readers of what names guests: command lines, libvirt's XML and the
// run-time file; what they say is joined. The first byte chooses the reader; whatever the text,
// what comes out is bounded, harmless and, for the file, the same after another round. Corpus:
// corpus/guest_names.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/guest_cache.hpp"
#include "agent/guest_identity.hpp"
#include "agent/guest_text.hpp"
#include "agent/libvirt_domain.hpp"
#include "agent/vm_process.hpp"
#include "common/check.hpp"

namespace reachd {
namespace {

constexpr std::size_t device_text_bytes_max = 60;

void check_name(std::string_view name) {
    ENSURE(name.empty() || is_shown_text(name, guest_name_bytes_max));
}

void check_device(std::string_view device) {
    ENSURE(device.empty() || is_shown_text(device, device_text_bytes_max));
}

void check_mac(const std::optional<MacAddress>& mac) {
    ENSURE(!mac || (!mac->is_zero() && !mac->is_group()));
}

void check_uuid(std::string_view uuid) {
    ENSURE(uuid.empty() || guest_uuid_text(uuid) == uuid);
}

/// Each device that is named anywhere is a port, and so is the owner of each MAC.
void join(NameEvidence evidence, std::vector<GuestPort> ports) {
    const auto identities = identify_guests(ports, evidence);
    ENSURE(identities.size() == ports.size());
    for (const auto& identity : identities) {
        ENSURE(identity.doubt.empty() || identity.name.empty());
        ENSURE(identity.vm == identity.name);
        ENSURE((identity.how == IdentifiedBy::nothing) ==
               (identity.name.empty() && identity.uuid.empty()));
    }
}

void read_process(std::string_view text) {
    auto vm = read_command_line(text);
    check_name(vm.name);
    check_uuid(vm.uuid);
    ENSURE(vm.nics.size() <= vm_nics_max);
    std::vector<GuestPort> ports;
    for (const auto& nic : vm.nics) {
        check_device(nic.tap);
        check_mac(nic.mac);
        ENSURE(nic.mac || !nic.tap.empty());
        GuestPort port;
        port.device = nic.tap;
        if (nic.mac) {
            port.macs.push_back(*nic.mac);
        }
        ports.push_back(std::move(port));
    }
    vm.owner_uid = 0;
    NameEvidence evidence;
    evidence.processes = {std::move(vm)};
    join(std::move(evidence), std::move(ports));
}

void read_domain(std::string_view text) {
    auto domain = read_libvirt_domain(text);
    if (!domain) {
        return;
    }
    ENSURE(!domain->name.empty() && domain->pid >= 0);
    check_name(domain->name);
    check_uuid(domain->uuid);
    ENSURE(domain->interfaces.size() <= libvirt_interfaces_max);
    std::vector<GuestPort> ports;
    for (const auto& interface : domain->interfaces) {
        check_device(interface.device);
        check_mac(interface.mac);
        GuestPort port;
        port.device = interface.device;
        ports.push_back(std::move(port));
    }
    NameEvidence evidence;
    evidence.domains = {std::move(*domain)};
    join(std::move(evidence), std::move(ports));
}

void read_cache(std::string_view text) {
    constexpr WallTime now{std::chrono::seconds(1769904000)};
    const auto reading = decode_guest_cache(text, now);
    ENSURE(reading.problem.empty() || reading.records.empty());
    ENSURE(reading.records.size() <= guest_cache_records_max);
    for (const auto& record : reading.records) {
        check_device(record.device);
        check_mac(record.mac);
        ENSURE(record.first_seen <= record.last_seen && record.last_seen <= now);
        ENSURE(record.address.scope() == IfIndex::any);
    }
    const auto again = decode_guest_cache(encode_guest_cache(reading.records, now), now);
    ENSURE(again.problem.empty() && again.records == reading.records);
}

}  // namespace
}  // namespace reachd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 3) {
        case 0: reachd::read_process(text); break;
        case 1: reachd::read_domain(text); break;
        default: reachd::read_cache(text); break;
    }
    return 0;
}
