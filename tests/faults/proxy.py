"""Between a Chroma client and a real Chroma server: breaks what it is told to break."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias

from tests.chroma_server import HOST

Stage: TypeAlias = Literal["sampling", "prefetch", "rescoring", "records", "writing", "other"]
_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What a server sends back."""

    status: int
    body: bytes
    kind: str = "application/json"


@dataclass
class Rule:
    """What happens to some requests.

    Attributes:
        stage: Part of a search that the request belongs to.
        fault: Given the handler and what sends the request on, does something else with it.
        skip: Requests of that stage that pass before.
        times: Requests that are broken.
    """

    stage: Stage
    fault: "Break"
    skip: int = 0
    times: int = 1


Forward: TypeAlias = Callable[[], Answer]
Break: TypeAlias = Callable[["Handler", Forward], None]


@dataclass
class Proxy:
    """Passes requests on, but for those that a rule is about.

    Attributes:
        port: Where clients connect to.
        upstream: Port of the real server.
        rules: Looked at in order; a rule that is used up is dropped.
        seen: Requests of each stage so far.
    """

    upstream: int
    port: int = 0
    rules: list[Rule] = field(default_factory=list)
    seen: Counter[Stage] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def break_next(self, stage: Stage, fault: Break, *, skip: int = 0, times: int = 1) -> None:
        """From now on: leave some requests of a stage alone, then break some."""
        self.rules.append(Rule(stage, fault, skip, times))

    def matching(self, stage: Stage) -> Break | None:
        """What to do with a request."""
        with self._lock:
            self.seen[stage] += 1
            for rule in self.rules:
                if rule.stage != stage:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    return None
                rule.times -= 1
                if not rule.times:
                    self.rules.remove(rule)
                return rule.fault
        return None


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    timeout = _SECONDS
    proxy: Proxy

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def forward() -> Answer:
            return _ask(self.proxy.upstream, self.command, self.path, body)

        fault = self.proxy.matching(_stage(self.path, body))
        try:
            if fault is None:
                self.send(forward())
            else:
                fault(self, forward)
        except (OSError, HTTPException):
            # The real server is down: as with any proxy on the wire, the connection ends.
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def send(self, answer: Answer, *, share: float = 1.0) -> None:
        """Send an answer, or the first part of it."""
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: int(share * len(answer.body))])

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: requests are counted, not logged."""


def hang_up(handler: Handler, forward: Forward) -> None:
    """Close the connection without an answer, after the server has done its work."""
    forward()
    handler.close_connection = True


def cut_off(handler: Handler, forward: Forward) -> None:
    """Send half of the answer, then close the connection."""
    handler.send(forward(), share=0.5)
    handler.close_connection = True


def answer_with(status: int, body: str, kind: str = "text/html") -> Break:
    """Answer something else, as a gateway or an overloaded server does."""
    return lambda handler, forward: handler.send(Answer(status, body.encode(), kind))


def wait_first(seconds: float) -> Break:
    """Take time."""

    def slow(handler: Handler, forward: Forward) -> None:
        time.sleep(seconds)
        handler.send(forward())

    return slow


def do_first(action: Callable[[], object]) -> Break:
    """Do something at this moment, then send the request on."""

    def acting(handler: Handler, forward: Forward) -> None:
        action()
        handler.send(forward())

    return acting


@contextmanager
def proxy_before(port: int) -> Iterator[Proxy]:
    """A proxy before the server at a port."""
    proxy = Proxy(upstream=port)
    handler = type("BoundHandler", (Handler,), {"proxy": proxy})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        proxy.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _ask(port: int, command: str, path: str, body: bytes) -> Answer:
    connection = HTTPConnection(HOST, port, timeout=_SECONDS)
    try:
        connection.request(command, path, body or None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        kind = response.getheader("Content-Type") or "application/json"
        return Answer(response.status, response.read(), kind)
    finally:
        connection.close()


def _stage(path: str, body: bytes) -> Stage:
    """Which part of a search, or of indexing, sends such a request."""
    path = path.partition("?")[0]
    if path.endswith("/query"):
        return "prefetch"
    if path.endswith("/add"):
        return "writing"
    if not path.endswith("/get"):
        return "other"
    asked = json.loads(body)
    if not asked.get("ids"):
        return "sampling"
    return "rescoring" if "embeddings" in asked.get("include", []) else "records"
