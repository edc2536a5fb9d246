#include "probes/probe_cookie.hpp"

#include <bit>

namespace reachd {
namespace {

struct SipState {
    std::uint64_t v0;
    std::uint64_t v1;
    std::uint64_t v2;
    std::uint64_t v3;

    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }

    void absorb(std::uint64_t word) {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }
};

std::uint64_t little_endian(ByteView bytes) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        word |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
    }
    return word;
}

}  // namespace

void ProbeCookie::write(ByteSpan out) const {
    write_big_endian(out, 0, tag);
    write_big_endian(out, 8, token.session);
    write_big_endian(out, 12, token.sequence);
}

std::optional<ProbeCookie> ProbeCookie::read(ByteView bytes_in) {
    if (bytes_in.size() < bytes) {
        return std::nullopt;
    }
    return ProbeCookie{*read_u64(bytes_in, 0), {*read_u32(bytes_in, 8), *read_u32(bytes_in, 12)}};
}

std::uint64_t CookieKey::siphash(ByteView bytes_in) const {
    SipState state{key_[0] ^ 0x736f6d6570736575U,
                   key_[1] ^ 0x646f72616e646f6dU,
                   key_[0] ^ 0x6c7967656e657261U,
                   key_[1] ^ 0x7465646279746573U};
    const std::size_t whole = bytes_in.size() / 8 * 8;
    for (std::size_t at = 0; at < whole; at += 8) {
        state.absorb(little_endian(bytes_in.subspan(at, 8)));
    }
    state.absorb(little_endian(bytes_in.subspan(whole)) |
                 (static_cast<std::uint64_t>(bytes_in.size()) << 56U));
    state.v2 ^= 0xffU;
    for (int i = 0; i < 4; ++i) {
        state.round();
    }
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

std::uint64_t CookieKey::tag(ProbeToken token, std::uint32_t generation) const {
    std::array<std::uint8_t, 12> message{};
    write_big_endian(ByteSpan(message), 0, token.session);
    write_big_endian(ByteSpan(message), 4, generation);
    write_big_endian(ByteSpan(message), 8, token.sequence);
    return siphash(message);
}

}  // namespace reachd
