#include "agent/ctl/http_response.hpp"

#include <algorithm>
#include <charconv>

namespace reachd::ctl {
namespace {

constexpr std::string_view line_end = "\r\n";
constexpr std::string_view head_end = "\r\n\r\n";

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& letter : result) {
        letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    }
    return result;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t";
    const auto first = text.find_first_not_of(blanks);
    return first == std::string_view::npos
               ? std::string_view{}
               : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// All of `text`, and nothing but digits.
template <class Number>
bool parse_whole(std::string_view text, int base, Number& number) {
    const auto* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number, base);
    return !text.empty() && error == std::errc() && stop == end;
}

}  // namespace

HttpResponse::Progress HttpResponse::feed(std::string_view bytes) {
    if (state_ != State::done && state_ != State::broken) {
        pending_.append(bytes);
        read();
        pending_.erase(0, read_);
        read_ = 0;
    }
    return progress();
}

HttpResponse::Progress HttpResponse::end() {
    if (state_ == State::body_to_end) {
        state_ = State::done;
    } else if (state_ != State::done && state_ != State::broken) {
        fail("it ended before it was complete");
    }
    return progress();
}

HttpResponse::Progress HttpResponse::progress() const {
    if (state_ == State::broken) {
        return Progress::broken;
    }
    return state_ == State::done ? Progress::done : Progress::more;
}

/// As far as the bytes go: each step either changes the state or waits for more.
void HttpResponse::read() {
    for (;;) {
        const auto before = state_;
        switch (state_) {
            case State::head: read_head(); break;
            case State::sized_body:
                if (take_body(static_cast<std::size_t>(left_))) {
                    state_ = State::done;
                }
                break;
            case State::chunk_line: read_chunk_line(); break;
            case State::chunk_data:
                if (take_body(static_cast<std::size_t>(left_))) {
                    state_ = State::chunk_end;
                }
                break;
            case State::chunk_end: {
                std::string_view line;
                if (take_line(line)) {
                    line.empty() ? void(state_ = State::chunk_line)
                                 : fail("a chunk is longer than it says");
                }
                break;
            }
            case State::trailer: read_trailer(); break;
            case State::body_to_end: take_body(pending_.size() - read_); break;
            case State::done:
            case State::broken: return;
        }
        if (state_ == before) {
            return;
        }
    }
}

/// A line without its end; false when it is not there yet, or too long.
bool HttpResponse::take_line(std::string_view& line) {
    const auto end = pending_.find(line_end, read_);
    if (end == std::string::npos) {
        if (pending_.size() - read_ > head_bytes_max) {
            fail("a line is too long");
        }
        return false;
    }
    line = std::string_view(pending_).substr(read_, end - read_);
    read_ = end + line_end.size();
    return true;
}

/// Moves what is there of `wanted` bytes into the body; whether that was all of them.
bool HttpResponse::take_body(std::size_t wanted) {
    const auto size = std::min(wanted, pending_.size() - read_);
    if (size > body_bytes_max_ - body_.size()) {
        fail("it is too large");
        return false;
    }
    body_.append(pending_, read_, size);
    read_ += size;
    left_ -= std::min<std::uint64_t>(left_, size);
    return size == wanted;
}

void HttpResponse::read_head() {
    const auto end = pending_.find(head_end, read_);
    if (std::min(end, pending_.size()) - read_ > head_bytes_max) {
        fail("its head is too long");
        return;
    }
    if (end == std::string::npos) {
        return;
    }
    const std::string head = pending_.substr(read_, end - read_);
    read_ = end + head_end.size();
    // "HTTP/1.1 200 OK"
    constexpr std::string_view version = "HTTP/1.";
    constexpr std::size_t status_at = version.size() + 2;
    const std::string_view line = std::string_view(head).substr(0, head.find(line_end));
    const bool good = line.substr(0, version.size()) == version && line.size() >= status_at + 3 &&
                      line[status_at - 1] == ' ' &&
                      parse_whole(line.substr(status_at, 3), 10, status_);
    if (!good || status_ < 200) {
        fail("it is no HTTP");
        return;
    }
    read_fields(std::string_view(head).substr(line.size()));
    if (state_ != State::broken) {
        choose_framing();
    }
}

/// Each field begins with the end of the line before.
void HttpResponse::read_fields(std::string_view fields) {
    while (!fields.empty() && state_ != State::broken) {
        fields.remove_prefix(line_end.size());
        const auto field = fields.substr(0, fields.find(line_end));
        read_field(field);
        fields.remove_prefix(field.size());
    }
}

void HttpResponse::read_field(std::string_view field) {
    const auto colon = field.find(':');
    if (colon == std::string_view::npos) {
        fail("it is no HTTP");
        return;
    }
    const auto name = lower(field.substr(0, colon));
    const auto value = trimmed(field.substr(colon + 1));
    if (name == "content-length") {
        if (sized_ || !parse_whole(value, 10, left_)) {
            fail("its length is not clear");
        }
        sized_ = true;
    } else if (name == "transfer-encoding") {
        if (chunked_ || lower(value) != "chunked") {
            fail("its encoding is not known");
        }
        chunked_ = true;
    } else if (name == "content-encoding" && lower(value) != "identity") {
        fail("it is compressed");
    }
}

void HttpResponse::choose_framing() {
    constexpr unsigned no_content = 204;
    constexpr unsigned not_modified = 304;
    if (chunked_ && sized_) {
        fail("its length is not clear");
    } else if (status_ == no_content || status_ == not_modified) {
        state_ = State::done;
    } else if (chunked_) {
        state_ = State::chunk_line;
    } else if (!sized_) {
        state_ = State::body_to_end;
    } else if (left_ > body_bytes_max_) {
        fail("it is too large");
    } else {
        state_ = left_ == 0 ? State::done : State::sized_body;
    }
}

void HttpResponse::read_chunk_line() {
    std::string_view line;
    if (!take_line(line)) {
        return;
    }
    if (!parse_whole(trimmed(line.substr(0, line.find(';'))), 16, left_)) {
        fail("the size of a chunk is no number");
    } else if (left_ > body_bytes_max_ - body_.size()) {
        fail("it is too large");
    } else {
        state_ = left_ == 0 ? State::trailer : State::chunk_data;
    }
}

/// Fields after the last chunk are not needed; an empty line ends them.
void HttpResponse::read_trailer() {
    std::string_view line;
    while (state_ == State::trailer && take_line(line)) {
        trailer_bytes_ += line.size() + line_end.size();
        if (line.empty()) {
            state_ = State::done;
        } else if (trailer_bytes_ > head_bytes_max) {
            fail("a line is too long");
        }
    }
}

void HttpResponse::fail(std::string_view problem) {
    state_ = State::broken;
    problem_ = problem;
}

}  // namespace reachd::ctl
