#include "agent/io/name_evidence.hpp"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "agent/io/namespace_names.hpp"
#include "agent/io/process_table.hpp"

namespace reachd {

NameEvidence read_name_evidence(const std::atomic<bool>& stop, const std::filesystem::path& root) {
    NameEvidence evidence;
    const auto add_gaps = [&evidence](std::vector<NameGap>& gaps) {
        std::move(gaps.begin(), gaps.end(), std::back_inserter(evidence.gaps));
    };
    auto table = read_process_table(stop, root);
    evidence.processes = std::move(table.processes);
    evidence.vm_uids = std::move(table.vm_uids);
    add_gaps(table.gaps);
    auto libvirt = read_libvirt_files(stop, root);
    evidence.domains = std::move(libvirt.domains);
    add_gaps(libvirt.gaps);
    auto namespaces = read_namespace_names(stop, root);
    evidence.namespaces = std::move(namespaces.names);
    add_gaps(namespaces.gaps);
    return evidence;
}

}  // namespace reachd
