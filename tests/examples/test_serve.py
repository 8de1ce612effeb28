"""Bad requests, batches, a full queue, and the end of a server."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest

from instruct_embeddings import InstructEncoder
from tests.examples.conftest import FOLDER, Serve, serving
from tests.models import tiny_checkpoint

JSON = {"content-type": "application/json"}
GOOD: dict[str, Any] = {"model": "tiny", "input": ["a red ball"]}


def post(address: str, body: Any) -> httpx.Response:
    return httpx.post(f"{address}/v1/embeddings", json=body, timeout=30)


@pytest.mark.parametrize(
    ("changes", "status", "param", "message"),
    [
        ({"model": "gpt"}, 404, "model", "The model 'gpt' does not exist. This server has 'tiny'"),
        ({"input": [1, 2, 3]}, 400, "input", "check_embedding_ctx_length=False"),
        ({"input": [[1, 2], [3]]}, 400, "input", "token ids are not read"),
        ({"input": []}, 400, "input", "0 texts; 1 to 2048"),
        ({"input": ["x"] * 2049}, 400, "input", "2049 texts"),
        ({"input": ["x", None]}, 400, "input", "valid string"),
        ({"instructions": "misspelled"}, 400, "instructions", "not permitted"),
        ({"instruction": "  "}, 400, None, "instruction"),
        ({"instruction": "word " * 390}, 400, None, "instruction"),
        ({"instruction": 3}, 400, "instruction", "valid string"),
        ({"dimensions": 0}, 400, "dimensions", "1 to 32"),
        ({"dimensions": 33}, 400, "dimensions", "1 to 32"),
        ({"dimensions": "8"}, 400, "dimensions", "valid integer"),
        ({"encoding_format": "int8"}, 400, "encoding_format", "'float' or 'base64'"),
    ],
)
def test_bad_requests_are_refused_in_the_shape_of_openai(
    address: str, changes: dict[str, Any], status: int, param: str | None, message: str
) -> None:
    answer = post(address, GOOD | changes)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


def test_half_a_character_spoils_no_batch(address: str) -> None:
    body = b'{"model": "tiny", "input": ["\\ud800"]}'
    answer = httpx.post(f"{address}/v1/embeddings", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input", answer.text


def test_what_is_no_json_and_what_is_not_there_are_errors_too(address: str) -> None:
    broken = httpx.post(f"{address}/v1/embeddings", content=b"{", headers=JSON)
    assert (broken.status_code, "error" in broken.json()) == (400, True)
    gone = httpx.get(f"{address}/v1/completions")
    assert (gone.status_code, "error" in gone.json()) == (404, True)
    assert httpx.get(f"{address}/v1/embeddings").status_code == 405
    assert httpx.get(f"{address}/health").json() == {"status": "ok", "waiting": 0}


class Slow:
    """The encoder behind a gate; what it was asked for."""

    dimension = 32

    def __init__(self, encoder: InstructEncoder) -> None:
        self.encoder, self.calls = encoder, []
        self.gate = threading.Event()

    async def aencode(self, texts: list[str], *, instruction: str | None = None) -> Any:
        if texts != ["loads the weights"]:
            self.calls.append((len(texts), instruction))
            await asyncio.to_thread(self.gate.wait, 20)
        return await self.encoder.aencode(texts, instruction=instruction)


def in_threads(address: str, bodies: list[Any]) -> tuple[list[threading.Thread], dict[int, Any]]:
    """Requests under way at once, and their answers."""
    answers: dict[int, Any] = {}

    def send(place: int) -> None:
        answers[place] = post(address, bodies[place])

    threads = [threading.Thread(target=send, args=[place]) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    return threads, answers


def until(found: Any) -> None:
    last = time.monotonic() + 20
    while not found() and time.monotonic() < last:
        time.sleep(0.01)
    assert found()


def waiting(address: str) -> int:
    return int(httpx.get(f"{address}/health").json()["waiting"])


def test_requests_that_wait_share_a_batch_and_get_what_they_would_get_alone(
    serve: Serve, encoder: InstructEncoder
) -> None:
    slow = Slow(encoder)
    address = serve(slow)
    first, _ = in_threads(address, [GOOD])
    until(lambda: slow.calls)
    texts = [
        [f"ball number {i}", "a much longer text about printers"][: 1 + i % 2] for i in range(8)
    ]
    asked = ["What colour is it?", None]
    bodies = [
        GOOD | {"input": one, "instruction": asked[place % 4 // 2]}
        for place, one in enumerate(texts)
    ]
    threads, answers = in_threads(address, bodies)
    until(lambda: waiting(address) == 12)
    slow.gate.set()
    for thread in first + threads:
        thread.join()
    assert len(slow.calls) == 3  # the first, and one for each instruction
    assert sorted(slow.calls[1:], key=str) == [(6, "What colour is it?"), (6, None)]
    for place, body in enumerate(bodies):
        rows = [one["embedding"] for one in answers[place].json()["data"]]
        alone = encoder.encode(body["input"], instruction=body["instruction"])
        np.testing.assert_allclose(rows, alone, atol=1e-6)


def test_a_full_queue_asks_to_come_again(serve: Serve, encoder: InstructEncoder) -> None:
    slow = Slow(encoder)
    address = serve(slow, most_waiting=3)
    threads, answers = in_threads(address, [GOOD])
    until(lambda: slow.calls)
    more, waited = in_threads(address, [GOOD | {"input": ["x", "y"]}])
    until(lambda: waiting(address) == 2)
    refused = post(address, GOOD | {"input": ["x", "y"]})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    slow.gate.set()
    for thread in threads + more:
        thread.join()
    assert (answers[0].status_code, waited[0].status_code) == (200, 200)
    assert post(address, GOOD).status_code == 200


def test_a_failure_of_the_encoder_is_told_without_its_paths(
    serve: Serve, encoder: InstructEncoder
) -> None:
    from instruct_embeddings.errors import EncoderError

    class Failing(Slow):
        async def aencode(self, texts: list[str], *, instruction: str | None = None) -> Any:
            if texts == ["fail"]:
                raise EncoderError("/secret/path is gone")
            return await self.encoder.aencode(texts, instruction=instruction)

    address = serve(Failing(encoder))
    answer = post(address, GOOD | {"input": "fail"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in answer.text
    assert post(address, GOOD).status_code == 200


def test_a_server_that_is_stopped_answers_what_it_has_accepted(
    example: ModuleType, encoder: InstructEncoder
) -> None:
    slow = Slow(encoder)
    with serving(example.create_app(slow, "tiny")) as (address, server):
        threads, answers = in_threads(address, [GOOD, GOOD | {"input": "later"}])
        until(lambda: slow.calls)
        until(lambda: waiting(address) + slow.calls[0][0] == 2)
        server.should_exit = True
        time.sleep(0.3)
        slow.gate.set()
        for thread in threads:
            thread.join()
    assert [answers[place].status_code for place in range(2)] == [200, 200]


async def test_a_closed_batcher_encodes_what_waits_and_takes_nothing_more(
    example: ModuleType,
) -> None:
    async def encode(texts: list[str], instruction: str | None, dimensions: int | None) -> Any:
        await asyncio.sleep(0.01)
        return np.array([[len(text)] for text in texts])

    batcher = example.MicroBatcher(encode, most_texts=3)
    sizes = [["a"], ["bb", "c"], ["d" * 5] * 9, ["eee"]]
    waiting = [asyncio.create_task(batcher.embed(texts)) for texts in sizes]
    await asyncio.sleep(0)
    await batcher.close()
    found = [(await one).ravel().tolist() for one in waiting]
    assert found == [[1], [2, 1], [5] * 9, [3]]
    assert batcher.batches == 3  # the one that is longer than a batch goes alone
    with pytest.raises(example.ClosedError):
        await batcher.embed(["late"])


@pytest.mark.slow
def test_the_command_starts_a_server_that_ends_when_it_is_told_to() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(FOLDER / "server.py"), "--port", str(port)]
    options = ["--model", str(tiny_checkpoint()), "--name", "tiny"]
    with subprocess.Popen([*command, *options], env=os.environ, stderr=subprocess.PIPE) as server:
        address = f"http://127.0.0.1:{port}"
        last = time.monotonic() + 50
        while time.monotonic() < last:
            try:
                assert httpx.get(f"{address}/health").status_code == 200
                break
            except httpx.ConnectError:
                time.sleep(0.2)
        assert post(address, GOOD).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in (0, -signal.SIGTERM)
