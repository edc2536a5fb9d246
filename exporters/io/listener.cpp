#include "exporters/io/listener.hpp"

#include <utility>

#include <boost/asio/ip/v6_only.hpp>
#include <fmt/core.h>

#include <sys/socket.h>

namespace reachd {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

enum class Families : std::uint8_t { as_given, both };

Result<tcp::acceptor, error_code> open_at(boost::asio::io_context& loop,
                                          const tcp::endpoint& endpoint,
                                          Families families,
                                          PortSharing sharing) {
    error_code error;
    tcp::acceptor acceptor(loop);
    acceptor.open(endpoint.protocol(), error);
    if (!error) {
        // Without it a restart would have to wait for connections in TIME_WAIT.
        acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    }
    if (!error && endpoint.address().is_v6()) {
        acceptor.set_option(boost::asio::ip::v6_only(families == Families::as_given), error);
    }
    if (!error) {
        share_port(acceptor.native_handle(), sharing == PortSharing::accepted);
        acceptor.bind(endpoint, error);
    }
    if (!error) {
        acceptor.listen(tcp::acceptor::max_listen_connections, error);
    }
    if (error) {
        return error;
    }
    return acceptor;
}

/// The errors of a machine without IPv6: not compiled in, or switched off.
bool is_family_missing(const error_code& error) {
    using boost::system::errc::errc_t;
    return error == errc_t::address_family_not_supported ||
           error == errc_t::protocol_not_supported || error == errc_t::address_not_available;
}

}  // namespace

std::string to_text(const HttpEndpoint& endpoint) {
    if (endpoint.host.find(':') != std::string::npos) {
        return fmt::format("[{}]:{}", endpoint.host, endpoint.port);
    }
    return fmt::format("{}:{}", endpoint.host, endpoint.port);
}

Result<tcp::acceptor, error_code> open_listener(boost::asio::io_context& loop,
                                                const HttpEndpoint& endpoint,
                                                PortSharing sharing) {
    if (endpoint.host.empty()) {
        auto both = open_at(loop, {tcp::v6(), endpoint.port}, Families::both, sharing);
        if (both || !is_family_missing(both.error())) {
            return both;
        }
        return open_at(loop, {tcp::v4(), endpoint.port}, Families::as_given, sharing);
    }
    error_code error;
    const auto address = boost::asio::ip::make_address(endpoint.host, error);
    if (error) {
        return error;
    }
    return open_at(loop, {address, endpoint.port}, Families::as_given, sharing);
}

void share_port(int listener, bool shared) {
    const int value = shared ? 1 : 0;
    // Where it fails, the bind that depends on it fails too and tells the reason.
    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &value, sizeof(value));
}

}  // namespace reachd
