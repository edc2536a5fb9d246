#include "probes/overflow_watch.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

TEST_CASE("overflow watch: a rising count after a long queue is an overflow, once") {
    OverflowWatch watch;
    watch.set_buffer(100'000);
    watch.on_read(60'000);
    CHECK_FALSE(watch.on_count(0));
    CHECK(watch.on_count(5));
    CHECK_FALSE(watch.on_count(5));
    CHECK(watch.on_count(6));
}

TEST_CASE("overflow watch: it shows on the first packet after the queue was emptied") {
    OverflowWatch watch;
    watch.set_buffer(100'000);
    watch.on_read(60'000);
    watch.on_empty();
    watch.on_read(100);
    CHECK(watch.on_count(5));
}

TEST_CASE("overflow watch: a rising count with a short queue is forged packets, not an overflow") {
    OverflowWatch watch;
    watch.set_buffer(100'000);
    for (std::uint32_t dropped = 1; dropped < 100; ++dropped) {
        watch.on_read(1000);
        CHECK_FALSE(watch.on_count(dropped));
        watch.on_empty();
    }
    watch.on_read(60'000);
    watch.on_empty();
    watch.on_empty();  // an overflow of then would have shown
    CHECK_FALSE(watch.on_count(200));
}

TEST_CASE("overflow watch: the count may wrap") {
    OverflowWatch watch;
    watch.set_buffer(1000);
    watch.on_read(1000);
    CHECK(watch.on_count(0xffffffffU));
    CHECK(watch.on_count(0));
}

}  // namespace
}  // namespace reachd
