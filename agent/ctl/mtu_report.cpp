#include "agent/ctl/mtu_report.hpp"

namespace reachd::ctl {

std::string named(const IpAddress& reporter, const MtuReport& report) {
    return reporter.scope() == IfIndex::any ? reporter.to_string()
                                            : reporter.to_string(report.device);
}

std::optional<MtuFault> fault_of(const PathMtu& mtu) {
    switch (mtu.verdict) {
        case MtuVerdict::undetermined:
        case MtuVerdict::ok: return std::nullopt;
        case MtuVerdict::signalled:
        case MtuVerdict::local:
        case MtuVerdict::peer_egress: return MtuFault{"E5001", "mtu_mismatch", false};
        case MtuVerdict::black_hole:
            return mtu.direction == MtuDirection::reverse
                       ? MtuFault{"E5004", "mtu_reverse", true}
                       : MtuFault{"E5002", "mtu_black_hole", true};
    }
    return std::nullopt;
}

}  // namespace reachd::ctl
