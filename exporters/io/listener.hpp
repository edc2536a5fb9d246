// Listening TCP sockets: how one is opened, how one makes room for its successor. Accepts nothing.
#pragma once

#include <cstdint>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "common/result.hpp"

namespace reachd {

/// Where to listen. `host` is a numeric address, with a zone for link-local ones; empty means every
/// address of both families on one socket, or of IPv4 alone where IPv6 is missing. Port 0: any.
struct HttpEndpoint {
    std::string host;
    std::uint16_t port = 0;

    friend bool operator==(const HttpEndpoint&, const HttpEndpoint&) = default;
};

/// "127.0.0.1:10862", "[::1]:10862", ":10862".
std::string to_text(const HttpEndpoint& endpoint);

enum class PortSharing : std::uint8_t {
    refused,  ///< the usual: an address in use is an error
    /// Also where another socket of this user, prepared by share_port, listens already.
    accepted,
};

/// A listening socket, or the error of the step that failed. An address that is not numeric is
/// invalid_argument.
Result<boost::asio::ip::tcp::acceptor, boost::system::error_code> open_listener(
    boost::asio::io_context& loop, const HttpEndpoint& endpoint, PortSharing sharing);

/// Lets a successor listen on the same port for the moment of a hand-over, or no longer.
/// `listener`: the descriptor of a TCP socket.
void share_port(int listener, bool shared);

}  // namespace reachd
