#include "exporters/http_message.hpp"

#include <chrono>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;

TEST_CASE("routes are found by path alone") {
    CHECK(http_route("/metrics") == HttpRoute::metrics);
    CHECK(http_route("/metrics?collect[]=x") == HttpRoute::metrics);
    CHECK(http_route("http://hv1:10862/metrics?x") == HttpRoute::metrics);
    CHECK(http_route("HTTP://hv1/healthz") == HttpRoute::healthy);
    CHECK(http_route("/-/healthy") == HttpRoute::healthy);
    CHECK(http_route("/readyz") == HttpRoute::ready);
    CHECK(http_route("/-/ready") == HttpRoute::ready);
    CHECK(http_route("/") == HttpRoute::front_page);
    CHECK(http_route("/?a=b") == HttpRoute::front_page);
    CHECK(http_route("http://hv1") == HttpRoute::front_page);
}

TEST_CASE("anything else has no route") {
    for (const auto* target : {"",
                               "*",
                               "/metrics/",
                               "/Metrics",
                               "//metrics",
                               "/api",
                               "/apiv1/status",
                               "/../metrics",
                               "/%6detrics",
                               "metrics",
                               "hv1:443",
                               "?"}) {
        CAPTURE(target);
        CHECK(http_route(target) == HttpRoute::unknown);
    }
}

TEST_CASE("the API has routes of its own, also where nothing is") {
    CHECK(http_route("/api/v1/status") == HttpRoute::api_status);
    CHECK(http_route("/api/v1/peers") == HttpRoute::api_peers);
    CHECK(http_route("/api/v1/guests") == HttpRoute::api_guests);
    CHECK(http_route("/api/v1/topology?x") == HttpRoute::api_topology);
    CHECK(http_route("/api/v1/status/") == HttpRoute::api_unknown);
    CHECK(http_route("/api/v2/status") == HttpRoute::api_unknown);
    CHECK(http_route("/api/") == HttpRoute::api_unknown);
    CHECK(is_api(HttpRoute::api_unknown));
    for (const auto* page : {"status", "peers", "guests", "topology"}) {
        const auto path = std::string("/api/v1/") + page;
        CHECK(is_api(http_route(path)));
        CHECK(is_for_this_host(http_route(path)));
        CHECK(front_page("1").find("href=\"" + path + "\"") != std::string::npos);
    }
    CHECK_FALSE(is_api(HttpRoute::front_page));
    CHECK(is_for_this_host(HttpRoute::front_page));
    CHECK(is_for_this_host(HttpRoute::api_status));
    CHECK_FALSE(is_for_this_host(HttpRoute::metrics));
    CHECK_FALSE(is_for_this_host(HttpRoute::healthy));
}

TEST_CASE("the first parameter of a query is found") {
    CHECK_FALSE(first_parameter("/x").has_value());
    CHECK_FALSE(first_parameter("/x?").has_value());
    CHECK_FALSE(first_parameter("/x?&&#a=1").has_value());
    CHECK(first_parameter("/x?a") == "a");
    CHECK(first_parameter("/x?&a=b&c") == "a");
    CHECK(first_parameter("/x?=b") == "");
    CHECK(first_parameter("/x?a?b=c") == "a?b");
}

TEST_CASE("errors are JSON that nobody can break out of") {
    CHECK(http_error_json("no", "mend") ==
          "{\"error\":{\"message\":\"no\",\"remedy\":\"mend\"}}\n");
    CHECK(http_error_json("a\"b\\c", "\n\x01\xff") ==
          R"({"error":{"message":"a\"b\\c","remedy":"\\n\\x01\\xff"}})"
          "\n");
}

TEST_CASE("validators are compared weakly") {
    CHECK(etag_matches("\"7\"", "\"7\""));
    CHECK(etag_matches("\"6\", W/\"7\"", "\"7\""));
    CHECK(etag_matches("*", "\"7\""));
    CHECK_FALSE(etag_matches("", "\"7\""));
    CHECK_FALSE(etag_matches("7", "\"7\""));
    CHECK_FALSE(etag_matches("\"77\"", "\"7\""));
    CHECK_FALSE(etag_matches("w/\"7\"", "\"7\""));
}

TEST_CASE("gzip is welcome by name, by alias and by the star") {
    for (const auto* field : {"gzip",
                              "GZip",
                              "x-gzip",
                              "deflate, gzip",
                              "gzip;q=0.1",
                              "gzip ; q=1.000",
                              " gzip\t",
                              "*",
                              "identity, *;q=0.5",
                              "br;q=1.0, gzip;q=0.001",
                              "gzip;level=9",
                              ",,gzip,"}) {
        CAPTURE(field);
        CHECK(accepts_gzip(field));
    }
}

TEST_CASE("gzip is not welcome unless that is said") {
    for (const auto* field : {"",
                              "identity",
                              "gzip;q=0",
                              "gzip;q=0.000",
                              "gzip;Q=0",
                              "*;q=0",
                              "gzip;q=0, *",
                              "gzip;q=",
                              "gzip;q=nonsense",
                              "gzip;q=2",
                              "gzip;q=-1",
                              "gzip;q=1.5",
                              "gzipped",
                              "bgzip",
                              "deflate;gzip",
                              ";;;,,,===",
                              "gzip;q=0.0001"}) {
        CAPTURE(field);
        CHECK_FALSE(accepts_gzip(field));
    }
}

TEST_CASE("dates have the fixed form of HTTP") {
    CHECK(http_date(WallTime(std::chrono::seconds(784'111'777))) ==
          "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(http_date(WallTime{}) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(http_date(WallTime(std::chrono::seconds(1'709'164'800))) ==
          "Thu, 29 Feb 2024 00:00:00 GMT");
}

TEST_CASE("a head says how its body ends") {
    const WallTime time{};
    const auto head = http_head(
        {.status = 404, .content_length = 12, .keep_alive = false, .fields = "Allow: GET\r\n"},
        time);
    CHECK(head ==
          "HTTP/1.1 404 Not Found\r\n"
          "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
          "Content-Type: text/plain; charset=utf-8\r\n"
          "Content-Length: 12\r\n"
          "Connection: close\r\n"
          "X-Content-Type-Options: nosniff\r\n"
          "Allow: GET\r\n"
          "\r\n");

    const auto chunked = http_head({.framing = HttpFraming::chunked, .gzip = true}, time);
    CHECK(chunked.find("Transfer-Encoding: chunked\r\n") != std::string::npos);
    CHECK(chunked.find("Content-Encoding: gzip\r\n") != std::string::npos);
    CHECK(chunked.find("Content-Length") == std::string::npos);
    CHECK(chunked.find("Connection") == std::string::npos);

    const auto closing = http_head({.framing = HttpFraming::close, .keep_alive = false}, time);
    CHECK(closing.find("Transfer-Encoding") == std::string::npos);
    CHECK(closing.find("Content-Length") == std::string::npos);
    CHECK(closing.find("Connection: close\r\n") != std::string::npos);

    const auto bare =
        http_head({.status = 304, .content_type = {}, .framing = HttpFraming::none}, time);
    CHECK(bare ==
          "HTTP/1.1 304 Not Modified\r\n"
          "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
          "X-Content-Type-Options: nosniff\r\n"
          "\r\n");
}

TEST_CASE("readiness says what is missing") {
    Snapshot snapshot;
    CHECK(missing_for_ready(snapshot) ==
          "the first reading of the topology is not complete; not every peer has been sent a "
          "probe yet");
    snapshot.topology_synced = true;
    CHECK(missing_for_ready(snapshot) == "not every peer has been sent a probe yet");
    snapshot.every_peer_asked = true;
    CHECK_FALSE(missing_for_ready(snapshot).has_value());
}

TEST_CASE("the front page needs nothing but itself") {
    const auto page = front_page("0.1.0");
    CHECK(page.find("reachd 0.1.0") != std::string::npos);
    CHECK(page.find("href=\"/metrics\"") != std::string::npos);
    CHECK(page.find("<script") == std::string::npos);
    CHECK(page.find("style") == std::string::npos);
    CHECK(page.find("//") == std::string::npos);
    CHECK(front_page_fields.find("Content-Security-Policy: default-src 'none'") == 0);
}
