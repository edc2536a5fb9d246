// The HTTP server and its control socket, and reachctl's client, on the real kernel: who gets in,
// what becomes of the file, the pages of the API. Needs no privileges; with them it also tries as
// somebody else. Snapshots are the test's own.
#include "exporters/io/control_socket.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <zlib.h>

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ctl/http_response.hpp"
#include "agent/ctl/io/control_client.hpp"
#include "common/io/system_clock.hpp"
#include "exporters/io/http_server.hpp"

using namespace reachd;
using namespace std::chrono_literals;
using ctl::ask_daemon;
using ctl::NoAnswer;

namespace {

class NoLog final : public LogSink {
  public:
    void write(const LogRecord& /*record*/) override {}
};

class Source final : public SnapshotSource {
  public:
    void request(Done done) override {
        auto snapshot = std::make_shared<Snapshot>();
        snapshot->sequence = ++sequence;
        snapshot->taken = now();
        snapshot->started = snapshot->taken;
        snapshot->host.name = "hv1";
        snapshot->topology_synced = true;
        snapshot->topology_in_step = true;
        auto topology = std::make_shared<TopologySnapshot>();
        for (std::uint32_t i = 1; i <= links; ++i) {
            Link link;
            link.index = IfIndex{i};
            link.name = "vnet" + std::to_string(i);
            link.kind = LinkKind::tap;
            topology->links.push_back(std::make_shared<const Link>(link));
        }
        snapshot->topology = std::move(topology);
        done(std::move(snapshot));
    }

    std::uint64_t sequence = 41;
    std::atomic<std::uint32_t> links = 2;
};

class Folder {
  public:
    Folder() {
        std::string pattern = "/tmp/reachd-control-test-XXXXXX";
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        path = pattern;
        socket = path + "/control.sock";
    }

    ~Folder() {
        unlink(socket.c_str());
        rmdir(path.c_str());
    }

    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    std::string path;
    std::string socket;
};

/// A server on a loop of its own thread, as the daemon has it.
class Served {
  public:
    Served() : server_(loop_, source, log_, {"0.4.0", "0123456789ab", "test"}) {
        thread_ = std::thread([this] { loop_.run(); });
    }

    ~Served() {
        on_loop([this] { server_.stop(); });
        work_.reset();
        thread_.join();
    }

    Served(const Served&) = delete;
    Served& operator=(const Served&) = delete;

    void on_loop(const std::function<void()>& work) {
        std::atomic<bool> done = false;
        boost::asio::post(loop_, [&] {
            work();
            done = true;
        });
        while (!done) {
            std::this_thread::sleep_for(1ms);
        }
    }

    /// Empty: it listens.
    std::string listen_control(const std::string& path) {
        std::string error;
        on_loop([&] {
            const auto result = server_.listen_control(path);
            error = result ? "" : result.error();
        });
        return error;
    }

    std::uint16_t listen_tcp(const std::string& host) {
        std::uint16_t port = 0;
        on_loop([&] {
            REQUIRE(server_.listen({{host, 0}}).has_value());
            port = server_.ports().at(0);
        });
        return port;
    }

    void set_options(const HttpOptions& options) {
        on_loop([&] { server_.set_options(options); });
    }

    void stop() {
        on_loop([this] { server_.stop(); });
    }

    Source source;

  private:
    boost::asio::io_context loop_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
        loop_.get_executor()};
    NoLog log_;
    HttpServer server_;
    std::thread thread_;
};

struct Response {
    unsigned status = 0;
    std::string head;
    std::string body;
};

/// Sends the bytes and reads until the server closes.
Response talk(int fd, const std::string& request) {
    REQUIRE(send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(request.size()));
    std::string bytes(std::size_t{64} * 1024, '\0');
    std::string all;
    for (;;) {
        const auto size = recv(fd, bytes.data(), bytes.size(), 0);
        if (size <= 0) {
            break;
        }
        all.append(bytes, 0, static_cast<std::size_t>(size));
    }
    close(fd);
    Response response;
    const auto end = all.find("\r\n\r\n");
    REQUIRE(end != std::string::npos);
    response.head = all.substr(0, end + 2);
    response.body = all.substr(end + 4);
    response.status = static_cast<unsigned>(std::stoul(all.substr(9, 3)));
    return response;
}

int connected(const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof(address.sun_path));
    std::copy(path.begin(), path.end(), address.sun_path);
    REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    return fd;
}

int connected(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    return fd;
}

std::string get(const std::string& target, const std::string& fields = "") {
    return "GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields + "\r\n";
}

std::string field_of(const Response& response, const std::string& name) {
    const auto at = response.head.find("\r\n" + name + ": ");
    if (at == std::string::npos) {
        return "";
    }
    const auto begin = at + name.size() + 4;
    return response.head.substr(begin, response.head.find("\r\n", begin) - begin);
}

std::string unchunked(const Response& response) {
    ctl::HttpResponse reader;
    reader.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    REQUIRE(reader.feed(response.body) == ctl::HttpResponse::Progress::done);
    return reader.body();
}

std::string unpacked(const std::string& gzip) {
    std::string text(std::size_t{64} * 1024 * 1024, '\0');
    z_stream stream{};
    REQUIRE(inflateInit2(&stream, 16 + 15) == Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(gzip.data()));
    stream.avail_in = static_cast<uInt>(gzip.size());
    stream.next_out = reinterpret_cast<Bytef*>(text.data());
    stream.avail_out = static_cast<uInt>(text.size());
    REQUIRE(inflate(&stream, Z_FINISH) == Z_STREAM_END);
    text.resize(stream.total_out);
    inflateEnd(&stream);
    return text;
}

struct stat status_of(const std::string& path) {
    struct stat status {};

    REQUIRE(lstat(path.c_str(), &status) == 0);
    return status;
}

bool is_there(const std::string& path) {
    struct stat status {};

    return lstat(path.c_str(), &status) == 0;
}

/// The exit code of `work` in a process that is somebody else; only root can make one.
int as_somebody_else(const std::vector<gid_t>& groups, const std::function<int()>& work) {
    constexpr uid_t nobody = 65534;
    const pid_t child = fork();
    if (child == 0) {
        const bool changed = setgroups(groups.size(), groups.data()) == 0 &&
                             setresgid(nobody, nobody, nobody) == 0 &&
                             setresuid(nobody, nobody, nobody) == 0;
        _exit(changed ? work() : 99);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

constexpr std::string_view status_page = "/api/v1/status";

}  // namespace

TEST_CASE("reachctl's client is answered over the control socket") {
    Folder folder;
    Served served;
    REQUIRE(served.listen_control(folder.socket).empty());
    const auto status = ask_daemon(folder.socket, status_page);
    REQUIRE(status.has_value());
    CHECK(status->status == 200);
    CHECK(status->body.find("\"healthy\":true") != std::string::npos);
    CHECK(status->body.find("\"version\":\"0.4.0\"") != std::string::npos);
    const auto topology = ask_daemon(folder.socket, "/api/v1/topology");
    REQUIRE(topology.has_value());
    CHECK(topology->body.find("\"vnet2\"") != std::string::npos);
    const auto peers = ask_daemon(folder.socket, "/api/v1/peers");
    REQUIRE(peers.has_value());
    CHECK(peers->body.find("\"peers\":[],\"peers_omitted\":0") != std::string::npos);
    const auto guests = ask_daemon(folder.socket, "/api/v1/guests");
    REQUIRE(guests.has_value());
    CHECK(guests->body.find("\"guests\":[],\"guests_omitted\":0") != std::string::npos);
    const auto missing = ask_daemon(folder.socket, "/api/v1/nothing");
    REQUIRE(missing.has_value());
    CHECK(missing->status == 404);
    CHECK(missing->body.find("{\"error\":{\"message\":\"no such page\"") == 0);
}

TEST_CASE("a large topology arrives whole") {
    Folder folder;
    Served served;
    served.source.links = 10'000;
    REQUIRE(served.listen_control(folder.socket).empty());
    const auto answer = ask_daemon(folder.socket, "/api/v1/topology", 60s);
    REQUIRE(answer.has_value());
    CHECK(answer->body.size() > 1'000'000);
    CHECK(answer->body.find("\"vnet10000\"") != std::string::npos);
}

TEST_CASE("the file has the mode and the group of the socket, whatever the umask") {
    for (const mode_t mask : {0U, 0077U}) {
        Folder folder;
        const mode_t before = umask(mask);
        {
            Served served;
            CHECK(served.listen_control(folder.socket).empty());
            const auto status = status_of(folder.socket);
            CHECK((status.st_mode & 07777U) == 0660U);
            CHECK(status.st_gid == getegid());
            CHECK(S_ISSOCK(status.st_mode));
        }
        umask(before);
        CHECK_FALSE(is_there(folder.socket));
    }
}

TEST_CASE("a dead socket is replaced, a living one and any other file are not") {
    Folder folder;
    const int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(folder.socket.begin(), folder.socket.end(), address.sun_path);
    REQUIRE(bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    close(dead);
    REQUIRE(is_there(folder.socket));
    {
        Served first;
        CHECK(first.listen_control(folder.socket).empty());
        Served second;
        CHECK(second.listen_control(folder.socket) ==
              "cannot listen on " + folder.socket + ": another daemon listens there");
        CHECK(ask_daemon(folder.socket, status_page).has_value());
    }
    CHECK_FALSE(is_there(folder.socket));
    close(open(folder.socket.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    Served third;
    CHECK(third.listen_control(folder.socket) ==
          "cannot listen on " + folder.socket + ": there is a file of another kind");
    CHECK(is_there(folder.socket));
}

TEST_CASE("the file goes with the server, unless it is somebody else's by then") {
    Folder folder;
    Served served;
    REQUIRE(served.listen_control(folder.socket).empty());
    served.stop();
    CHECK_FALSE(is_there(folder.socket));
    REQUIRE(served.listen_control(folder.socket).empty());
    CHECK(ask_daemon(folder.socket, status_page).has_value());
    REQUIRE(served.listen_control("").empty());
    CHECK_FALSE(is_there(folder.socket));

    REQUIRE(served.listen_control(folder.socket).empty());
    unlink(folder.socket.c_str());
    Served successor;
    REQUIRE(successor.listen_control(folder.socket).empty());
    served.stop();
    CHECK(ask_daemon(folder.socket, status_page).has_value());
}

TEST_CASE("where no socket can be, that is said") {
    Served served;
    CHECK(served.listen_control("/nonexistent/control.sock") ==
          "cannot listen on /nonexistent/control.sock: No such file or directory");
    const auto error = served.listen_control("/" + std::string(107, 'x'));
    CHECK(error.find(": the path has 108 bytes, 107 at most") != std::string::npos);
}

TEST_CASE("the client says why there is no answer") {
    Folder folder;
    auto answer = ask_daemon(folder.socket, status_page);
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().kind == NoAnswer::Kind::not_running);
    CHECK(answer.error().text == "reachd is not running (" + folder.socket +
                                     ": no such file); start it: systemctl start reachd");
    close(open(folder.socket.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    answer = ask_daemon(folder.socket, status_page);
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().text.find("nobody listens there") != std::string::npos);
    answer = ask_daemon(std::string(108, 'x'), status_page);
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().kind == NoAnswer::Kind::wrong_path);
}

TEST_CASE("a daemon that is silent, or leaves, is no answer") {
    Folder folder;
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(folder.socket.begin(), folder.socket.end(), address.sun_path);
    REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(listen(listener, 1) == 0);
    const MonoTime began = mono_now();
    auto answer = ask_daemon(folder.socket, status_page, 300ms);
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().kind == NoAnswer::Kind::broken);
    CHECK(answer.error().text.find("has not answered") != std::string::npos);
    CHECK(mono_now() - began >= 300ms);
    CHECK(mono_now() - began < 5s);
    // The queue is full now, of those who have left and of one more: connect() itself must end.
    const int waiting = connected(folder.socket);
    answer = ask_daemon(folder.socket, status_page, 300ms);
    CHECK_FALSE(answer.has_value());
    close(waiting);

    std::thread leaver([&] {
        for (int i = 0; i < 3; ++i) {
            close(accept(listener, nullptr, nullptr));
        }
    });
    answer = ask_daemon(folder.socket, status_page, 5s);
    CHECK_FALSE(answer.has_value());
    shutdown(listener, SHUT_RDWR);
    leaver.join();
    close(listener);
}

TEST_CASE("the API over TCP: validators, parameters, methods, gzip") {
    Served served;
    const auto port = served.listen_tcp("127.0.0.1");
    const auto plain = talk(connected(port), get("/api/v1/status"));
    CHECK(plain.status == 200);
    CHECK(field_of(plain, "Content-Type") == "application/json");
    CHECK(field_of(plain, "Cache-Control") == "no-cache");
    CHECK(field_of(plain, "ETag") == "\"42\"");
    CHECK(field_of(plain, "Content-Length") == std::to_string(plain.body.size()));
    CHECK(plain.body.find("\"sequence\":42") != std::string::npos);

    // All of these within the quarter of a second for which a snapshot is shared, most likely.
    const auto same = talk(connected(port), get("/api/v1/status", "If-None-Match: \"42\"\r\n"));
    const auto etag = field_of(same, "ETag");
    CHECK(same.status == (etag == "\"42\"" ? 304 : 200));
    CHECK(same.body.empty() == (same.status == 304));
    const auto star = talk(connected(port), get("/api/v1/status", "If-None-Match: *\r\n"));
    CHECK(star.status == 304);
    CHECK(field_of(star, "Content-Length").empty());

    const auto strange = talk(connected(port), get("/api/v1/topology?colour=red"));
    CHECK(strange.status == 400);
    CHECK(strange.body ==
          "{\"error\":{\"message\":\"unknown parameter 'colour'\","
          "\"remedy\":\"this page takes no parameters\"}}\n");
    const auto post = talk(connected(port),
                           "POST /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK(post.status == 405);
    CHECK(field_of(post, "Allow") == "GET, HEAD");
    CHECK(post.body.find("{\"error\":") == 0);
    const auto head = talk(
        connected(port), "HEAD /api/v1/topology HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK(head.status == 200);
    CHECK(head.body.empty());
    CHECK(std::stoul(field_of(head, "Content-Length")) > 100);

    served.source.links = 5000;
    std::this_thread::sleep_for(300ms);
    const auto packed = talk(connected(port), get("/api/v1/topology", "Accept-Encoding: gzip\r\n"));
    CHECK(field_of(packed, "Content-Encoding") == "gzip");
    const auto text = unpacked(unchunked(packed));
    CHECK(text.size() > 10 * packed.body.size());
    CHECK(text.front() == '{');
    CHECK(text.find("\"vnet5000\"") != std::string::npos);
}

TEST_CASE("metrics and health stay what they were") {
    Served served;
    const auto port = served.listen_tcp("127.0.0.1");
    CHECK(talk(connected(port), get("/healthz")).body == "ok\n");
    const auto metrics = talk(connected(port), get("/metrics"));
    CHECK(metrics.status == 200);
    CHECK(unchunked(metrics).find("reachd_build_info") != std::string::npos);
    const auto nowhere = talk(connected(port), get("/nowhere"));
    CHECK(nowhere.status == 404);
    CHECK(nowhere.body.find("no such page; ") == 0);
}

TEST_CASE("TCP clients cannot keep the operator out") {
    Folder folder;
    Served served;
    HttpOptions options;
    options.limits.connections = 2;
    options.limits.idle_evictable_after = 1h;
    served.set_options(options);
    const auto port = served.listen_tcp("127.0.0.1");
    REQUIRE(served.listen_control(folder.socket).empty());
    const int first = connected(port);
    const int second = connected(port);
    CHECK(talk(connected(port), get("/healthz")).status == 503);
    CHECK(ask_daemon(folder.socket, status_page).has_value());
    close(first);
    close(second);
}

TEST_CASE("the control socket has its own limit") {
    Folder folder;
    Served served;
    HttpOptions options;
    options.limits.control_connections = 2;
    options.limits.idle_evictable_after = 1h;
    served.set_options(options);
    const auto port = served.listen_tcp("127.0.0.1");
    REQUIRE(served.listen_control(folder.socket).empty());
    const int first = connected(folder.socket);
    const int second = connected(folder.socket);
    const auto third = ask_daemon(folder.socket, status_page);
    REQUIRE(third.has_value());
    CHECK(third->status == 503);
    CHECK(talk(connected(port), get("/healthz")).status == 200);
    close(first);
    close(second);
}

TEST_CASE("a client is known by its credentials") {
    std::array<int, 2> pair{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
    const auto credentials = peer_credentials(pair[0]);
    close(pair[0]);
    close(pair[1]);
    REQUIRE(credentials.has_value());
    CHECK(credentials->user == geteuid());
    CHECK(credentials->group == getegid());
    CHECK(may_control(credentials, control_access()));
    CHECK_FALSE(peer_credentials(-1).has_value());
}

TEST_CASE("only those whom the socket is for get in") {
    if (geteuid() != 0) {
        WARN("not root: cannot try as somebody else");
        return;
    }
    Folder folder;
    REQUIRE(chmod(folder.path.c_str(), 0755) == 0);
    Served served;
    REQUIRE(served.listen_control(folder.socket).empty());
    const auto kind = [&] {
        const auto answer = ask_daemon(folder.socket, status_page);
        return answer ? static_cast<int>(answer->status / 100)
                      : 10 + static_cast<int>(answer.error().kind);
    };
    constexpr int not_allowed = 10 + static_cast<int>(NoAnswer::Kind::not_allowed);
    // First the mode of the file, then, where that lets them pass, the credentials.
    CHECK(as_somebody_else({}, kind) == not_allowed);
    CHECK(as_somebody_else({getegid()}, kind) == 2);
    REQUIRE(chmod(folder.socket.c_str(), 0666) == 0);
    CHECK(as_somebody_else({}, kind) == 4);
    CHECK(as_somebody_else({1, 2, 3}, kind) == 4);
    std::vector<gid_t> many;
    for (gid_t group = 10'000; group < 10'300; ++group) {
        many.push_back(group);
    }
    CHECK(as_somebody_else(many, kind) == 4);
    many.push_back(getegid());
    CHECK(as_somebody_else(many, kind) == 2);
}
