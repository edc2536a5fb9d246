// The HTTP server of the web loop: /metrics, /healthz, /readyz (also /-/healthy, /-/ready), a front
// page, and the API below /api/v1/, over plain HTTP/1.1 and 1.0, on TCP and on the control socket.
// It owns listening sockets and connections and bounds them; what a page says comes from the
// snapshot. It has no thread of its own, never blocks, and without clients it never wakes up.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/build_info.hpp"
#include "common/log.hpp"
#include "common/result.hpp"
#include "exporters/io/http_session.hpp"
#include "exporters/io/listener.hpp"
#include "exporters/io/snapshot_cache.hpp"

namespace reachd {

/// All members are called on the web loop (or while it does not run); source and log must outlive
/// the server, and so must the loop itself.
class HttpServer {
  public:
    HttpServer(boost::asio::io_context& web_loop,
               SnapshotSource& source,
               LogSink& log,
               const BuildInfo& build);
    ~HttpServer();  ///< stops

    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    /// In force for connections and requests from now on.
    void set_options(const HttpOptions& options);

    /// Listens on exactly these addresses, from now on. New sockets are open before old ones close,
    /// and an address that stays keeps its socket; connections live on. All or nothing: on an error
    /// ("cannot listen on 127.0.0.1:9900: Address already in use") everything stays as it was.
    [[nodiscard]] Result<void, std::string> listen(const std::vector<HttpEndpoint>& endpoints);

    /// Listens on the control socket at `path` as well, in place of the one before; empty: on none.
    /// May ask the name service for the group "reachd": at the start. On an error ("cannot listen
    /// on /run/reachd/control.sock: Permission denied") there is no control socket. The file goes
    /// with stop().
    [[nodiscard]] Result<void, std::string> listen_control(const std::string& path);

    /// The ports being listened on, in the order of the addresses given; for port 0 the kernel's
    /// choice.
    std::vector<std::uint16_t> ports() const;

    /// Closes every socket at once. listen() starts anew.
    void stop();

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace reachd
