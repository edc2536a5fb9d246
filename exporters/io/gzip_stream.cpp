#include "exporters/io/gzip_stream.hpp"

#include <array>
#include <limits>
#include <new>

#include "common/check.hpp"

namespace reachd {

GzipStream::GzipStream() {
    constexpr int gzip_format = 16;  // added to the window bits, says zlib.h
    constexpr int window_bits = 15;
    constexpr int memory_level = 8;
    if (deflateInit2(&stream_,
                     Z_BEST_SPEED,
                     Z_DEFLATED,
                     window_bits + gzip_format,
                     memory_level,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        throw std::bad_alloc();
    }
}

GzipStream::~GzipStream() {
    deflateEnd(&stream_);
}

void GzipStream::add(std::string_view text, std::string& out) {
    run(text, Z_NO_FLUSH, out);
}

void GzipStream::finish(std::string& out) {
    run({}, Z_FINISH, out);
}

void GzipStream::run(std::string_view text, int flush, std::string& out) {
    ENSURE(text.size() <= std::numeric_limits<uInt>::max());
    // zlib never writes through next_in; its type is not const for C's sake.
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(text.data()));
    stream_.avail_in = static_cast<uInt>(text.size());
    std::array<char, std::size_t{16} * 1024> part;  // filled by zlib before it is read
    do {
        stream_.next_out = reinterpret_cast<Bytef*>(part.data());
        stream_.avail_out = static_cast<uInt>(part.size());
        const int result = deflate(&stream_, flush);
        ENSURE(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
        out.append(part.data(), part.size() - stream_.avail_out);
    } while (stream_.avail_out == 0);
    ENSURE(stream_.avail_in == 0);
}

}  // namespace reachd
