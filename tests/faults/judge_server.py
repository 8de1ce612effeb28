"""A judge in a process of its own, asked over HTTP, that misbehaves as it is told.

    python -m tests.faults.judge_server PORT_FILE

The last part of the path says how: `/good` grades, `/hang` never answers, `/half` stops in the
middle of its answer, `/nan`, `/short` and `/words` answer something else than one number a text.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Judging(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        how = self.path.rsplit("/", 1)[-1]
        scores: list[Any] = [float("red" in text) for text in asked["texts"]]
        if how == "hang":
            time.sleep(600)
        if how == "nan":
            scores[0] = float("nan")
        if how == "short":
            scores.pop()
        if how == "words":
            scores[0] = "high"
        reply = json.dumps(scores).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply[: len(reply) // 2] if how == "half" else reply)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests look at the answers."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judging)
    fresh = Path(sys.argv[1]).with_suffix(".new")
    fresh.write_text(str(server.server_port))
    fresh.replace(sys.argv[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
