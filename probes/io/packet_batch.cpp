#include "probes/io/packet_batch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/if_packet.h>

#include "probes/io/control_messages.hpp"

namespace reachd {
namespace {

Ancillary read_ancillary(const msghdr& message) {
    constexpr std::uint16_t vlan_id_mask = 0x0fff;
    Ancillary found;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(const_cast<msghdr*>(&message), header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPING) {
            found.stamp = read_stamp(*header);
        } else if (header->cmsg_level == SOL_PACKET && header->cmsg_type == PACKET_AUXDATA) {
            tpacket_auxdata data{};
            std::memcpy(&data, CMSG_DATA(header), sizeof(data));
            if ((data.tp_status & TP_STATUS_VLAN_VALID) != 0) {
                found.vlan = data.tp_vlan_tci & vlan_id_mask;
            }
            if ((data.tp_status & TP_STATUS_CSUMNOTREADY) != 0) {
                found.checksum = Checksum::left_to_device;
            }
        }
    }
    return found;
}

}  // namespace

PacketBatch::PacketBatch(std::size_t frames, std::size_t bytes_each)
    : bytes_each_(bytes_each),
      used_(frames),
      bytes_(frames * bytes_each),
      slots_(frames),
      messages_(frames) {
    for (std::size_t i = 0; i < frames; ++i) {
        slots_[i].vector = {bytes_.data() + i * bytes_each, bytes_each};
        messages_[i].msg_hdr.msg_iov = &slots_[i].vector;
        messages_[i].msg_hdr.msg_iovlen = 1;
    }
}

std::size_t PacketBatch::receive(int fd, int flags) {
    for (std::size_t i = 0; i < used_; ++i) {
        messages_[i].msg_hdr.msg_control = slots_[i].control.data();
        messages_[i].msg_hdr.msg_controllen = control_bytes;
        messages_[i].msg_hdr.msg_flags = 0;
    }
    int got = read(fd, flags);
    if (got < 0 && errno != EAGAIN) {
        // A pending error of the device (it went down) was reported, and so cleared, instead.
        got = read(fd, flags);
    }
    const auto count = static_cast<std::size_t>(std::max(got, 0));
    // The call touches one header more than it fills when it runs into the end of the queue.
    used_ = std::min(count + 1, size());
    return count;
}

ByteView PacketBatch::frame(std::size_t place) const {
    const auto length = std::min<std::size_t>(messages_[place].msg_len, bytes_each_);
    return ByteView(bytes_).subspan(place * bytes_each_, length);
}

Ancillary PacketBatch::ancillary(std::size_t place) const {
    return read_ancillary(messages_[place].msg_hdr);
}

int PacketBatch::read(int fd, int flags) {
    return recvmmsg(fd,
                    messages_.data(),
                    static_cast<unsigned>(messages_.size()),
                    flags | MSG_DONTWAIT,
                    nullptr);
}

}  // namespace reachd
