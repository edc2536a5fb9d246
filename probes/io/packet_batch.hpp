// Reads frames from a packet socket in bulk, with what the kernel tells beside them: stamp, VLAN
// tag, whether the checksum is there. Understands no frame and owns no socket.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <sys/socket.h>

#include "common/bytes.hpp"
#include "common/time.hpp"
#include "probes/neighbour_packet.hpp"

namespace reachd {

/// What we look for in the control messages of a frame.
struct Ancillary {
    std::optional<WallTime> stamp;
    std::uint16_t vlan = 0;  ///< of a tag that the kernel keeps beside the frame
    Checksum checksum = Checksum::complete;
};

/// Room for frames and their control messages, laid out once.
class PacketBatch {
  public:
    PacketBatch(std::size_t frames, std::size_t bytes_each);

    std::size_t size() const { return messages_.size(); }

    /// Fills it with what is there now; how many frames that are. `flags` are those of recvmmsg(2).
    std::size_t receive(int fd, int flags);

    /// Cut to the room there is. Of the last receive().
    ByteView frame(std::size_t place) const;

    Ancillary ancillary(std::size_t place) const;

  private:
    static constexpr std::size_t control_bytes = 192;

    struct Slot {
        iovec vector{};
        alignas(cmsghdr) std::array<std::uint8_t, control_bytes> control{};
    };

    int read(int fd, int flags);

    std::size_t bytes_each_;
    std::size_t used_;  ///< headers that the last receive() may have changed
    std::vector<std::uint8_t> bytes_;
    std::vector<Slot> slots_;
    std::vector<mmsghdr> messages_;
};

}  // namespace reachd
