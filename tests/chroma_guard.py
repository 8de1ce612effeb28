"""A guard in front of a Chroma server, which has none of its own: it asks for a header."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.chroma_server import HOST

_HOP = {"connection", "content-length", "date", "server", "transfer-encoding", "keep-alive"}


@dataclass
class Guard:
    """Where the guard stands, and what it saw.

    Attributes:
        port: Its port on loopback.
        let_through: Paths that were answered by the server.
        refused: Paths without the right header.
    """

    port: int
    let_through: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@contextmanager
def chroma_guard(server: int, name: str, value: str) -> Iterator[Guard]:
    """Forward what carries a header to the Chroma server at a port; answer 401 to all else."""

    class Handler(BaseHTTPRequestHandler):
        # The default, HTTP/1.0, closes each connection: a client that is refused leaves none open.

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get(name) != value:
                guard.refused.append(self.path)
                self._send(401, [("Content-Type", "application/json")], _REFUSAL)
                return
            guard.let_through.append(self.path)
            connection = HTTPConnection(HOST, server, timeout=30)
            passed = {key: text for key, text in self.headers.items() if key.lower() not in _HOP}
            connection.request(self.command, self.path, body, passed)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            kept = [(key, text) for key, text in answer.getheaders() if key.lower() not in _HOP]
            self._send(answer.status, kept, content)

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for key, text in headers:
                self.send_header(key, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            del format, arguments

    http = ThreadingHTTPServer((HOST, 0), Handler)
    guard = Guard(http.server_address[1])
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield guard
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


_REFUSAL = b'{"error": "AuthError", "message": "Unauthorized"}'
