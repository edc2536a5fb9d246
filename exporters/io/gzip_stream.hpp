// A gzip member made piece by piece (RFC 1952), fast rather than small: zlib level 1. About 270 kB
// of memory while it lives, whatever the size of the text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <zlib.h>

namespace reachd {

class GzipStream {
  public:
    /// Throws std::bad_alloc when zlib cannot get its memory.
    GzipStream();
    ~GzipStream();

    GzipStream(const GzipStream&) = delete;
    GzipStream& operator=(const GzipStream&) = delete;

    /// Compresses `text`; what is finished of the output is appended to `out`.
    void add(std::string_view text, std::string& out);

    /// Appends the rest and the trailer. Nothing may be added after it.
    void finish(std::string& out);

  private:
    void run(std::string_view text, int flush, std::string& out);

    z_stream stream_{};
};

}  // namespace reachd
