"""A helper program: a TCP server that only takes connections, or that does not even that.

Its test-side end is servers.TcpServer. Arguments: address, port, hanging, backlog.
"""

import selectors
import socket

from .program import serve

CONNECTIONS_MAX = 20000


class Server:
    def __init__(self, selector, address, port, hanging=False, backlog=4096):
        self._selector = selector
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(self._family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(0 if hanging else backlog)
        self._listener.setblocking(False)
        self._counts = {"accepted": 0, "reset": 0, "ended": 0, "bytes": 0, "open": 0}
        self._clients = []  # (address, port) of each connection, the first CONNECTIONS_MAX
        if hanging:
            self._fill(address, port)
        else:
            selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _fill(self, address, port):
        """The accept queue of backlog 0 holds one connection; later SYNs go unanswered."""
        self._filler = socket.create_connection((address, port), timeout=2)

    def _accept(self):
        while True:
            try:
                connection, client = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue  # Linux gives such connections too; others need not
            self._counts["accepted"] += 1
            if len(self._clients) < CONNECTIONS_MAX:
                self._clients.append(client[:2])
            self._counts["open"] += 1
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ,
                                    lambda taken=connection: self._read(taken))

    def _read(self, connection):
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            self._end(connection, "reset")
            return
        if not data:
            self._end(connection, "ended")
        self._counts["bytes"] += len(data)

    def _end(self, connection, how):
        self._counts[how] += 1
        self._counts["open"] -= 1
        self._selector.unregister(connection)
        connection.close()

    def counts(self):
        return self._counts

    def clients(self):
        return self._clients


def start(selector, **arguments):
    server = Server(selector, **arguments)
    return {"counts": server.counts, "clients": server.clients}


if __name__ == "__main__":
    serve(start)
