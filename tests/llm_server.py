"""A scripted model behind an OpenAI-compatible endpoint on loopback."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.error import HTTPError
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_ADVERTISED = 1000


@dataclass(frozen=True)
class Call:
    """One request to the server; `number` counts from 1."""

    number: int
    model: str
    system: str
    user: str
    authorization: str


@dataclass(frozen=True)
class Reply:
    """What the server does with a call.

    `seconds` passes first. `body` replaces the whole JSON answer. `drop` says after how many bytes
    of a longer body the connection closes.
    """

    text: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    body: bytes | None = None
    drop: int | None = None


Script: TypeAlias = Callable[[Call], "Reply | str"]


class LLMServer(ThreadingHTTPServer):
    """Answers every chat completion by its script; keeps the calls, and the requests as they came.

    `requests` holds a path and a body each.
    """

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__((HOST, 0), _Handler)
        self.script = script
        self.calls: list[Call] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Base address, as OpenAI clients want it."""
        return f"http://{HOST}:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the script."""

    def answer(self, payload: Mapping[str, Any], authorization: str) -> Reply:
        """Note the call, then ask the script."""
        parts = {message["role"]: _text(message["content"]) for message in payload["messages"]}
        with self._lock:
            call = Call(
                number=len(self.calls) + 1,
                model=payload["model"],
                system=parts.get("system", ""),
                user=parts.get("user", ""),
                authorization=authorization,
            )
            self.calls.append(call)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self.script(call)
            reply = Reply(reply) if isinstance(reply, str) else reply
            time.sleep(reply.seconds)
        finally:
            with self._lock:
                self._at_once -= 1
        return reply


class _Handler(BaseHTTPRequestHandler):
    server: LLMServer

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, payload))
        reply = self.server.answer(payload, self.headers.get("Authorization", ""))
        body = reply.body if reply.body is not None else _completion(reply, payload["model"])
        dropped = reply.drop is not None
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + (_ADVERTISED if dropped else 0)))
        self.send_header("Connection", "close")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: reply.drop])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


def _completion(reply: Reply, model: str) -> bytes:
    if reply.status != 200:
        return json.dumps({"error": {"message": reply.text, "code": str(reply.status)}}).encode()
    message = {"role": "assistant", "content": reply.text}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    ).encode()


def _text(content: Any) -> str:
    """Content as a plain text or as blocks."""
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content)


@contextmanager
def llm_server(script: Script) -> Iterator[LLMServer]:
    """Serve a script until the block ends."""
    server = LLMServer(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class PlainModel:
    """The least a user may bring: a callable `str -> str`, here over HTTP.

    Raises what the standard library raises: `HTTPError` with `code` and `headers`, `OSError`,
    `HTTPException`. Closes its sockets before, for warnings about them are errors here.
    """

    url: str
    model_name: str = "scripted"

    def __call__(self, text: str) -> str:
        payload = {"model": self.model_name, "messages": [{"role": "user", "content": text}]}
        url = f"{self.url}/chat/completions"
        parts = urlsplit(url)
        with closing(HTTPConnection(parts.netloc, timeout=30)) as connection:
            connection.request("POST", parts.path, json.dumps(payload))
            with connection.getresponse() as response:
                body = response.read()
        if response.status != 200:
            raise HTTPError(url, response.status, response.reason, response.headers, None)
        return str(json.loads(body)["choices"][0]["message"]["content"])
