#include "agent/ctl/http_response.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd::ctl;
using Progress = HttpResponse::Progress;

namespace {

const std::string sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const std::string chunked =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    "3\r\nhel\r\n02;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n";

std::string problem_of(const std::string& bytes, std::size_t body_bytes_max = 100) {
    HttpResponse response(body_bytes_max);
    auto progress = response.feed(bytes);
    if (progress == Progress::more) {
        progress = response.end();
    }
    return progress == Progress::broken ? std::string(response.problem()) : "none";
}

}  // namespace

TEST_CASE("a body is read by its length or in chunks, however the bytes come") {
    for (const auto& text : {sized, chunked}) {
        for (std::size_t step = 1; step <= text.size(); ++step) {
            HttpResponse response;
            auto progress = Progress::more;
            for (std::size_t at = 0; at < text.size(); at += step) {
                CHECK(progress == Progress::more);
                progress = response.feed(text.substr(at, step));
            }
            CHECK(progress == Progress::done);
            CHECK(response.status() == 200);
            CHECK(response.body() == "hello");
            CHECK(response.feed("more") == Progress::done);
            CHECK(response.end() == Progress::done);
            CHECK(response.body() == "hello");
        }
    }
}

TEST_CASE("without a length the end of the connection is the end of the body") {
    HttpResponse response;
    CHECK(response.feed("HTTP/1.0 503 Nope\r\nX: y\r\n\r\nhel") == Progress::more);
    CHECK(response.feed("lo") == Progress::more);
    CHECK(response.end() == Progress::done);
    CHECK(response.status() == 503);
    CHECK(response.body() == "hello");
}

TEST_CASE("some answers have no body") {
    for (const auto* text : {"HTTP/1.1 304 Not Modified\r\n\r\n",
                             "HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
        CAPTURE(text);
        HttpResponse response;
        CHECK(response.feed(text) == Progress::done);
        CHECK(response.body().empty());
    }
}

TEST_CASE("every cut is noticed") {
    for (const auto& text : {sized, chunked}) {
        for (std::size_t size = 0; size < text.size(); ++size) {
            CAPTURE(size);
            CHECK(problem_of(text.substr(0, size)) == "it ended before it was complete");
        }
    }
}

TEST_CASE("nothing that is not HTTP passes for it") {
    const std::string ok = "HTTP/1.1 200 OK\r\n";
    CHECK(problem_of("SSH-2.0-x\r\n\r\n") == "it is no HTTP");
    CHECK(problem_of("HTTP/1.1 2x0 OK\r\n\r\n") == "it is no HTTP");
    CHECK(problem_of("HTTP/1.1 20\r\n\r\n") == "it is no HTTP");
    CHECK(problem_of("HTTP/1.1 100 Continue\r\n\r\n") == "it is no HTTP");
    CHECK(problem_of("HTTP/2 200 OK\r\n\r\n") == "it is no HTTP");
    CHECK(problem_of(ok + "no colon\r\n\r\n") == "it is no HTTP");
    CHECK(problem_of(ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello") ==
          "its length is not clear");
    CHECK(problem_of(ok + "Content-Length: -5\r\n\r\nhello") == "its length is not clear");
    CHECK(problem_of(ok + "Content-Length: 99999999999999999999\r\n\r\n") ==
          "its length is not clear");
    CHECK(problem_of(ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello") ==
          "its length is not clear");
    CHECK(problem_of(ok + "Transfer-Encoding: gzip, chunked\r\n\r\n") ==
          "its encoding is not known");
    CHECK(problem_of(ok + "Content-Encoding: gzip\r\n\r\n") == "it is compressed");
}

TEST_CASE("chunks must be what they say") {
    const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    CHECK(problem_of(head + "x\r\n") == "the size of a chunk is no number");
    CHECK(problem_of(head + "\r\n") == "the size of a chunk is no number");
    CHECK(problem_of(head + "-1\r\n") == "the size of a chunk is no number");
    CHECK(problem_of(head + "fffffffffffffffff\r\n") == "the size of a chunk is no number");
    CHECK(problem_of(head + "2\r\nabc\r\n") == "a chunk is longer than it says");
}

TEST_CASE("nothing grows beyond its bound") {
    const std::string ok = "HTTP/1.1 200 OK\r\n";
    const std::string endless(HttpResponse::head_bytes_max + 100, 'x');
    CHECK(problem_of(ok + "Content-Length: 101\r\n\r\n") == "it is too large");
    CHECK(problem_of(ok + "\r\n" + std::string(101, 'x')) == "it is too large");
    const auto head = ok + "Transfer-Encoding: chunked\r\n\r\n";
    CHECK(problem_of(head + "65\r\n") == "it is too large");
    CHECK(problem_of(head + "32\r\n" + std::string(50, 'x') + "\r\n33\r\n") == "it is too large");
    CHECK(problem_of(head + "ffffffffffffffff\r\n") == "it is too large");
    CHECK(problem_of(head + endless) == "a line is too long");
    CHECK(problem_of(ok + "X: " + endless) == "its head is too long");
    CHECK(problem_of(ok + "X: " + endless + "\r\n\r\n") == "its head is too long");
    std::string trailer = head + "0\r\n";
    for (int i = 0; i < 10'000; ++i) {
        trailer += "X: 1234\r\n";
    }
    CHECK(problem_of(trailer) == "a line is too long");
}
