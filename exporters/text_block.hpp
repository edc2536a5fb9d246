// A block of text under construction: fixed memory with a fill mark, written without a check for
// each piece. The writer asks for room once for a whole group of lines; the block never moves
// while it is being filled, and grows only while empty.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "common/check.hpp"
#include "common/time.hpp"
#include "exporters/number_text.hpp"

namespace reachd {

class TextBlock {
  public:
    explicit TextBlock(std::size_t capacity)
        : memory_(std::make_unique_for_overwrite<char[]>(capacity)),
          at_(memory_.get()),
          end_(memory_.get() + capacity) {}

    bool empty() const { return at_ == memory_.get(); }

    std::string_view view() const {
        return {memory_.get(), static_cast<std::size_t>(at_ - memory_.get())};
    }

    void clear() { at_ = memory_.get(); }

    std::size_t room() const { return static_cast<std::size_t>(end_ - at_); }

    /// Whether `bytes` can be written now. A block that is still empty makes the room: one group
    /// of lines always fits, however long its labels are.
    [[nodiscard]] bool reserve(std::size_t bytes) {
        if (bytes <= room()) [[likely]] {
            return true;
        }
        if (!empty()) {
            return false;
        }
        *this = TextBlock(bytes);
        return true;
    }

    // What follows needs room that reserve() promised.

    void text(std::string_view piece) {
        std::memcpy(at_, piece.data(), piece.size());
        at_ += piece.size();
    }

    void character(char piece) { *at_++ = piece; }

    void number(std::uint64_t value) { at_ = write_unsigned(at_, value); }

    void seconds(Duration value) { at_ = write_seconds(at_, value); }

    void unix_seconds(WallTime value) { at_ = write_unix_seconds(at_, value); }

    /// `value` escaped for a place between double quotes; needs twice its size.
    void escaped(std::string_view value) {
        for (const char letter : value) {
            if (letter == '\\' || letter == '"' || letter == '\n') [[unlikely]] {
                *at_++ = '\\';
                *at_++ = letter == '\n' ? 'n' : letter;
            } else {
                *at_++ = letter;
            }
        }
    }

    /// Where the next byte goes; what lies before it stays put until clear() or reserve().
    const char* position() const { return at_; }

  private:
    std::unique_ptr<char[]> memory_;
    char* at_;
    char* end_;
};

}  // namespace reachd
