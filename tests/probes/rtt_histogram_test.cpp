// Buckets as Prometheus means them: upper bounds that are inclusive, the rest in +Inf.
#include "probes/rtt_histogram.hpp"

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

TEST_CASE("histogram: upper bounds are inclusive to the nanosecond") {
    // 0.0002 is no exact binary fraction: compared as doubles, 200 us might land beside it.
    const HistogramEdges edges({0.00005, 0.0001, 0.0002, 0.0005, 1});
    CHECK(edges.bucket_count() == 6);
    CHECK(edges.bucket(0ns) == 0);
    CHECK(edges.bucket(50us) == 0);
    CHECK(edges.bucket(50us + 1ns) == 1);
    CHECK(edges.bucket(200us) == 2);
    CHECK(edges.bucket(200us + 1ns) == 3);
    CHECK(edges.bucket(1s) == 4);
    CHECK(edges.bucket(1s + 1ns) == 5);
    CHECK(edges.bucket(Duration::max()) == 5);
}

TEST_CASE("histogram: every decimal edge is where it was written") {
    for (int exponent = 0; exponent < 9; ++exponent) {
        for (const long digit : {1L, 2L, 5L}) {
            long long nanoseconds = digit;
            double seconds = static_cast<double>(digit) * 1e-9;
            for (int i = 0; i < exponent; ++i) {
                nanoseconds *= 10;
                seconds *= 10;
            }
            const HistogramEdges edges({seconds});
            CAPTURE(nanoseconds);
            CHECK(edges.bucket(Duration(nanoseconds)) == 0);
            CHECK(edges.bucket(Duration(nanoseconds + 1)) == 1);
        }
    }
}

TEST_CASE("histogram: without edges everything is in +Inf") {
    const HistogramEdges edges({});
    CHECK(edges.bucket_count() == 1);
    CHECK(edges.bucket(1h) == 0);
}

TEST_CASE("histogram: counts and sum") {
    Histogram histogram({0.001, 0.01});
    histogram.record(1ms);
    histogram.record(2ms);
    histogram.record(3ms);
    histogram.record(5s);
    const HistogramSnapshot snapshot = histogram.snapshot();
    CHECK(*snapshot.edges == std::vector<double>{0.001, 0.01});
    CHECK(snapshot.counts == std::vector<std::uint64_t>{1, 2, 1});
    CHECK(snapshot.sum == 5006ms);
}
