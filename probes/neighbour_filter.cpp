#include "probes/neighbour_filter.hpp"

#include <cstdint>
#include <limits>

#include "common/check.hpp"

namespace reachd {
namespace {

constexpr std::uint32_t ethernet_bytes = 14;
constexpr std::uint32_t vlan_tag_bytes = 4;
constexpr std::uint32_t accept_bytes = 0xffff;

/// Where a jump goes, always forward. `next` is the instruction behind it.
enum class Label : std::uint8_t { next, ipv4, ipv6, tagged, dhcp, accept, drop };

/// Collects instructions; jumps know labels instead of distances until finish().
class Program {
  public:
    void load(unsigned size_and_mode, std::uint32_t at) { add(BPF_LD | size_and_mode, at); }

    void add(unsigned code, std::uint32_t k) {
        instructions_.push_back({static_cast<std::uint16_t>(code), 0, 0, k});
        jumps_.push_back({});
    }

    void jump(unsigned condition, std::uint32_t k, Label if_true, Label if_false) {
        add(BPF_JMP | BPF_K | condition, k);
        jumps_.back() = {if_true, if_false};
    }

    /// Here is what the jumps to `label` made so far mean.
    void set(Label label) {
        for (std::size_t i = 0; i < instructions_.size(); ++i) {
            settle(i, jumps_[i].if_true, label, instructions_[i].jt);
            settle(i, jumps_[i].if_false, label, instructions_[i].jf);
        }
    }

    std::vector<sock_filter> finish() const {
        for (const Jump& jump : jumps_) {
            ENSURE(jump.if_true == Label::next && jump.if_false == Label::next);
        }
        return instructions_;
    }

  private:
    struct Jump {
        Label if_true = Label::next;
        Label if_false = Label::next;
    };

    void settle(std::size_t from, Label& wanted, Label label, std::uint8_t& distance) const {
        if (wanted != label) {
            return;
        }
        const std::size_t skipped = instructions_.size() - from - 1;
        ENSURE(skipped <= std::numeric_limits<std::uint8_t>::max());
        distance = static_cast<std::uint8_t>(skipped);
        wanted = Label::next;  // settled
    }

    std::vector<sock_filter> instructions_;
    std::vector<Jump> jumps_;
};

/// Unfragmented UDP between ports 67 and 68. The ports come first: nearly all of IPv4 fails there,
/// TCP with its ports in the same place too, after the only load from the packet. No IPv4 options:
/// nobody sends DHCP with them.
void append_ipv4(Program& program, std::uint32_t ip) {
    program.load(BPF_W | BPF_ABS, ip + 20);  // A = source and destination port
    program.jump(BPF_JEQ, 68U << 16U | 67U, Label::dhcp, Label::next);
    program.jump(BPF_JEQ, 67U << 16U | 68U, Label::dhcp, Label::drop);
    program.set(Label::dhcp);
    program.load(BPF_B | BPF_ABS, ip);  // A = version and header length
    program.jump(BPF_JEQ, 0x45, Label::next, Label::drop);
    program.load(BPF_B | BPF_ABS, ip + 9);
    program.jump(BPF_JEQ, 17, Label::next, Label::drop);
    program.load(BPF_H | BPF_ABS, ip + 6);  // A = flags and fragment offset
    program.jump(BPF_JSET, 0x3fff, Label::drop, Label::accept);
}

/// Neighbour discovery that no router has forwarded; A is its ICMPv6 type afterwards.
void append_neighbour_discovery(Program& program, std::uint32_t ip) {
    program.load(BPF_H | BPF_ABS, ip + 6);  // A = next header and hop limit
    program.jump(BPF_JEQ, 58U << 8U | 255U, Label::next, Label::drop);
    program.load(BPF_B | BPF_ABS, ip + 40);
}

void append_ipv6(Program& program, std::uint32_t ip) {
    append_neighbour_discovery(program, ip);
    program.jump(BPF_JEQ, 135, Label::accept, Label::next);
    program.jump(BPF_JEQ, 136, Label::accept, Label::drop);
}

/// A is the type of what begins at `ip`.
void append_checks(Program& program, std::uint32_t ip, Label if_tagged) {
    program.jump(BPF_JEQ, 0x0800, Label::ipv4, Label::next);
    program.jump(BPF_JEQ, 0x86dd, Label::ipv6, Label::next);
    program.jump(BPF_JEQ, 0x0806, Label::accept, Label::next);
    program.jump(BPF_JEQ, 0x8100, if_tagged, Label::drop);
    program.set(Label::ipv4);
    append_ipv4(program, ip);
    program.set(Label::ipv6);
    append_ipv6(program, ip);
}

/// What a guest says of itself. The type is the one that the kernel has read already.
void append_guest(Program& program) {
    program.load(BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL));
    append_checks(program, ethernet_bytes, Label::tagged);
    program.set(Label::tagged);
    program.load(BPF_H | BPF_ABS, ethernet_bytes + vlan_tag_bytes - 2);
    append_checks(program, ethernet_bytes + vlan_tag_bytes, Label::drop);
}

/// Of a macvtap's frames those of the guest.
void append_outgoing(Program& program) {
    constexpr std::uint32_t packet_outgoing = 4;  // PACKET_OUTGOING of <linux/if_packet.h>
    program.load(BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE));
    program.jump(BPF_JEQ, packet_outgoing, Label::next, Label::drop);
}

/// To one host: what answers our question is, and what is sent to all of the link, by anybody,
/// leaves it its room in the receive buffer.
void append_unicast(Program& program) {
    program.load(BPF_B | BPF_ABS, 0);
    program.jump(BPF_JSET, 0x01, Label::drop, Label::accept);
}

/// The socket gets nothing but ARP: of it the replies.
void append_arp_replies(Program& program) {
    program.load(BPF_H | BPF_ABS, ethernet_bytes + 6);
    program.jump(BPF_JEQ, 2, Label::next, Label::drop);
    append_unicast(program);
}

/// The socket gets nothing but IPv6: of it the advertisements.
void append_advertisements(Program& program) {
    append_neighbour_discovery(program, ethernet_bytes);
    program.jump(BPF_JEQ, 136, Label::next, Label::drop);
    append_unicast(program);
}

}  // namespace

std::vector<sock_filter> neighbour_filter(PortUse use) {
    Program program;
    switch (use) {
        case PortUse::guest: append_guest(program); break;
        case PortUse::macvtap_guest:
            append_outgoing(program);
            append_guest(program);
            break;
        case PortUse::gateway_arp: append_arp_replies(program); break;
        case PortUse::gateway_nd: append_advertisements(program); break;
    }
    program.set(Label::accept);
    program.load(BPF_W | BPF_LEN, 0);
    program.jump(BPF_JGT, neighbour_frame_bytes_max, Label::drop, Label::next);
    program.add(BPF_RET | BPF_K, accept_bytes);
    program.set(Label::drop);
    program.add(BPF_RET | BPF_K, 0);
    return program.finish();
}

}  // namespace reachd
