"""TCP servers for the probes: open, and hanging. A closed port needs none."""

import socket

from .program import Program


class TcpServer:
    """Listens in a namespace, takes every connection and waits for its end.

    hanging: its accept queue is full, so that a SYN is never answered.
    """

    def __init__(self, namespace, port, address="0.0.0.0", hanging=False, backlog=4096):
        self.namespace, self.address, self.port = namespace, address, port
        self._program = Program(namespace, "tcp_server", address=address, port=port,
                                hanging=hanging, backlog=backlog)

    def counts(self):
        """So far: {"accepted", "reset" and "ended" (by a FIN) by the client, "open", "bytes"}."""
        return self._program.ask("counts")

    def clients(self):
        """(address, port) of each connection, oldest first."""
        return [tuple(client) for client in self._program.ask("clients")]

    def close(self):
        """The port is closed when this returns, and connections are reset."""
        self._program.close()


def connect(namespace, address, port, within=0.5):
    """How a plain connect from the namespace ends: "open", "refused" or "timeout"."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.inside(), socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(within)
        try:
            client.connect((address, port))
            return "open"
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
