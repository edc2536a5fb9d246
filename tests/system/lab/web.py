"""HTTP as bytes on a socket made inside a namespace: polite requests and hostile ones."""

import gzip
import socket


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()


def connect(namespace, port, within=5.0, address="127.0.0.1"):
    with namespace.inside():
        return socket.create_connection((address, port), timeout=within)


class Reader:
    """Reads responses one after another from a connection."""

    def __init__(self, connection):
        self._connection = connection
        self._buffer = b""

    def _more(self):
        piece = self._connection.recv(65536)
        if not piece:
            raise ConnectionError("closed within a response")
        self._buffer += piece

    def response(self, head_only=False):
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip()
        status = int(status_line.split()[1])
        if head_only or status in (204, 304):
            return Response(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            length = int(headers["content-length"])
            while len(self._buffer) < length:
                self._more()
            body, self._buffer = self._buffer[:length], self._buffer[length:]
        else:
            body = self._until_closed()
        return Response(status, headers, body)

    def _until_closed(self):
        body, self._buffer = self._buffer, b""
        while piece := self._connection.recv(65536):
            body += piece
        return body

    def _chunks(self):
        body = b""
        while True:
            while b"\r\n" not in self._buffer:
                self._more()
            size_text, self._buffer = self._buffer.split(b"\r\n", 1)
            size = int(size_text.split(b";")[0], 16)
            while len(self._buffer) < size + 2:
                self._more()
            body += self._buffer[:size]
            self._buffer = self._buffer[size + 2:]
            if size == 0:
                return body


def request(namespace, port, path="/metrics", method="GET", headers=None, within=5.0,
            address="127.0.0.1"):
    """One request on a connection of its own. gzip bodies are unpacked; headers say so."""
    with connect(namespace, port, within, address) as connection:
        lines = [f"{method} {path} HTTP/1.1", "Host: lab", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        response = Reader(connection).response(head_only=method == "HEAD")
    if response.headers.get("content-encoding") == "gzip":
        response.body = gzip.decompress(response.body)
    return response
