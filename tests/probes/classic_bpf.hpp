// Classic BPF for tests, as the kernel runs it on a packet (Documentation/networking/filter.rst):
// only the instructions that our filters of frames use. An unknown one is a bug of the test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <linux/filter.h>

#include "common/bytes.hpp"
#include "common/check.hpp"

namespace reachd::test {

struct BpfVerdict {
    std::uint32_t bytes = 0;  ///< how much of the frame passes; 0: dropped
    int instructions = 0;     ///< run until then
};

class BpfMachine {
  public:
    explicit BpfMachine(ByteView frame) : frame_(frame) {}

    /// PACKET_HOST, PACKET_OUTGOING, … of <linux/if_packet.h>.
    std::uint32_t packet_type = 0;

    BpfVerdict run(std::span<const sock_filter> program) {
        BpfVerdict verdict;
        for (std::size_t at = 0; !failed_; ++at) {
            ENSURE(at < program.size());
            const sock_filter& instruction = program[at];
            ++verdict.instructions;
            if (BPF_CLASS(instruction.code) == BPF_RET) {
                verdict.bytes = instruction.k;
                return verdict;
            }
            if (BPF_CLASS(instruction.code) == BPF_JMP) {
                at += holds(instruction) ? instruction.jt : instruction.jf;
            } else {
                step(instruction);
            }
        }
        return verdict;
    }

  private:
    /// Beyond the end of the frame: the program ends, and drops it.
    std::uint32_t load(std::size_t at, std::size_t size) {
        std::uint32_t value = 0;
        failed_ = failed_ || at + size > frame_.size();
        for (std::size_t i = 0; i < size && !failed_; ++i) {
            value = value << 8U | frame_[at + i];
        }
        return value;
    }

    /// A place beyond all packets means what the kernel knows of this one.
    std::uint32_t load_word(std::uint32_t at) {
        constexpr std::size_t ether_type_at = 12;
        if (at == static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE)) {
            return packet_type;
        }
        const bool is_protocol = at == static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL);
        return is_protocol ? load(ether_type_at, 2) : load(at, 4);
    }

    bool holds(const sock_filter& instruction) const {
        switch (BPF_OP(instruction.code)) {
            case BPF_JEQ: return a_ == instruction.k;
            case BPF_JGT: return a_ > instruction.k;
            case BPF_JSET: return (a_ & instruction.k) != 0;
            default: ensure_failed("known jump", __FILE__, __LINE__);
        }
    }

    void step(const sock_filter& instruction) {
        switch (instruction.code) {
            case BPF_LD | BPF_W | BPF_LEN: a_ = static_cast<std::uint32_t>(frame_.size()); break;
            case BPF_LD | BPF_B | BPF_ABS: a_ = load(instruction.k, 1); break;
            case BPF_LD | BPF_H | BPF_ABS: a_ = load(instruction.k, 2); break;
            case BPF_LD | BPF_W | BPF_ABS: a_ = load_word(instruction.k); break;
            default: ensure_failed("known instruction", __FILE__, __LINE__);
        }
    }

    ByteView frame_;
    std::uint32_t a_ = 0;
    bool failed_ = false;
};

}  // namespace reachd::test
