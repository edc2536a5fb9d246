// One HTTP/1.1 response (RFC 9112) read from bytes as they come: body by length, in chunks, or up
// to the end of the connection. It bounds what it holds, believes no length, and knows no sockets,
// no compression and no second response.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace reachd::ctl {

class HttpResponse {
  public:
    /// Status line and fields together; also a chunk's line and the trailer.
    static constexpr std::size_t head_bytes_max = std::size_t{64} * 1024;
    static constexpr std::size_t body_bytes_default = std::size_t{256} * 1024 * 1024;

    explicit HttpResponse(std::size_t body_bytes_max = body_bytes_default)
        : body_bytes_max_(body_bytes_max) {}

    enum class Progress : std::uint8_t { more, done, broken };

    /// Takes the next bytes; those after the end of the response are ignored.
    Progress feed(std::string_view bytes);

    /// The connection has ended.
    Progress end();

    unsigned status() const { return status_; }

    const std::string& body() const { return body_; }

    /// What is wrong, in a few words, once it is broken.
    std::string_view problem() const { return problem_; }

  private:
    enum class State : std::uint8_t {
        head,
        sized_body,
        chunk_line,
        chunk_data,
        chunk_end,
        trailer,
        body_to_end,
        done,
        broken,
    };

    void read();
    bool take_line(std::string_view& line);
    bool take_body(std::size_t wanted);
    void read_head();
    void read_fields(std::string_view fields);
    void read_field(std::string_view field);
    void choose_framing();
    void read_chunk_line();
    void read_trailer();
    void fail(std::string_view problem);
    Progress progress() const;

    std::size_t body_bytes_max_;
    State state_ = State::head;
    std::string pending_;   ///< received and not read yet
    std::size_t read_ = 0;  ///< of these, what is read
    unsigned status_ = 0;
    bool chunked_ = false;
    bool sized_ = false;
    std::uint64_t left_ = 0;  ///< of the sized body, or of the chunk
    std::size_t trailer_bytes_ = 0;
    std::string body_;
    std::string_view problem_;
};

}  // namespace reachd::ctl
