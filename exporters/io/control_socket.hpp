// The control socket in the file system: opened with its owner and mode, a dead predecessor's
// replaced, its own removed at the end; and who a client is. Accepts nothing and speaks no HTTP.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "common/result.hpp"
#include "exporters/control_access.hpp"

namespace reachd {

/// The file of a listening socket, to be removed by who made it and by nobody else.
class ControlSocketFile {
  public:
    ControlSocketFile() = default;
    /// Remembers which file it is, so that a successor's at the same path is left alone.
    explicit ControlSocketFile(std::string path);
    ControlSocketFile(ControlSocketFile&& other) noexcept;
    ControlSocketFile& operator=(ControlSocketFile&& other) noexcept;
    ~ControlSocketFile();  ///< removes it

    void remove();

  private:
    std::string path_;  ///< empty: none
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
};

struct ControlSocket {
    boost::asio::local::stream_protocol::acceptor acceptor;
    ControlSocketFile file;
};

/// Listens at `path` with mode 0660 and the process' own group; never for more people than that,
/// not even for a moment. A socket that nobody listens on is replaced. An error is a line for
/// people: "cannot listen on /run/reachd/control.sock: another daemon listens there".
Result<ControlSocket, std::string> open_control_socket(boost::asio::io_context& loop,
                                                       const std::string& path);

/// Own user and group, and the group "reachd". May ask the name service: for the start only.
ControlAccess control_access();

/// Nothing when the kernel does not tell.
std::optional<PeerCredentials> peer_credentials(int socket);

}  // namespace reachd
