#include "agent/guest_notices.hpp"

#include <iterator>

#include <fmt/format.h>

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view suppressed_message = "5d1d8e0f3b0a4c7f9c3e6a2b8f417d95";

}  // namespace

std::vector<NamedCount> GuestNotices::counts() const {
    std::vector<NamedCount> occurred;
    for (std::size_t why = 0; why < guest_refusal_count; ++why) {
        if (counts_[why] != 0) {
            occurred.push_back(
                {std::string(to_text(static_cast<GuestRefusal>(why))), counts_[why]});
        }
    }
    return occurred;
}

bool GuestNotices::is_news(std::uint64_t matter, MonoTime now) {
    if (told_.contains(matter)) {
        return false;
    }
    if (now >= window_end_ && suppressed_ == 0) {
        window_end_ = now + window;
        lines_ = 0;
    }
    if (lines_ >= lines_per_window) {
        ++suppressed_;
        return false;
    }
    ++lines_;
    told_.insert(matter);
    told_in_order_.push_back(matter);
    if (told_in_order_.size() > matters_max) {
        told_.erase(told_in_order_.front());
        told_in_order_.pop_front();
    }
    return true;
}

void GuestNotices::take_logs(MonoTime now, std::vector<LogRecord>& logs) {
    std::move(logs_.begin(), logs_.end(), std::back_inserter(logs));
    logs_.clear();
    if (suppressed_ == 0 || now < window_end_) {
        return;
    }
    logs.push_back({LogLevel::notice,
                    fmt::format("and {} more refused claims of guests within {} s",
                                std::exchange(suppressed_, 0),
                                std::chrono::duration_cast<std::chrono::seconds>(window).count()),
                    suppressed_message,
                    {}});
}

MonoTime GuestNotices::next_deadline() const {
    return suppressed_ > 0 ? window_end_ : mono_never;
}

}  // namespace reachd
