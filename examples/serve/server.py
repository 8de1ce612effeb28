"""An OpenAI-compatible `/v1/embeddings` with an additional field `instruction`.

    python examples/serve/server.py --port 8000

Written to be copied and changed. It needs `fastapi` and `uvicorn`.
"""

import argparse
import base64
import time
from contextlib import asynccontextmanager
from typing import Any, Literal

import numpy as np
import uvicorn
from batcher import ClosedError, FullError, MicroBatcher
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException

from instruct_embeddings import InstructEmbeddingsError, InstructEncoder
from instruct_embeddings.errors import ConfigError, TextError

MOST_INPUTS = 2048  # as of OpenAI


class APIError(Exception):
    """An answer in the shape of OpenAI's errors, which its clients read."""

    def __init__(self, status, message, kind="invalid_request_error", param=None, code=None):
        super().__init__(message)
        self.status, self.headers = status, {}
        self.body = {"message": message, "type": kind, "param": param, "code": code}
        if status in (429, 503):
            self.headers["Retry-After"] = "1"

    def response(self):
        return JSONResponse({"error": self.body}, self.status, headers=self.headers)


class EmbeddingRequest(BaseModel):
    """The body of a request. A field that is misspelled is refused, not left out in silence."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    input: str | list[str] = Field(union_mode="left_to_right")
    instruction: str | None = None  # None: the generic embedding
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None  # read by nobody

    @field_validator("input", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        first = next(iter(value), "") if isinstance(value, list) else value
        if isinstance(first, int | list):
            raise ValueError(
                "token ids are not read, since they belong to the tokenizer of one model. Send "
                "texts; with LangChain pass check_embedding_ctx_length=False to OpenAIEmbeddings"
            )
        if isinstance(value, list) and not 1 <= len(value) <= MOST_INPUTS:
            raise ValueError(f"{len(value)} texts; 1 to {MOST_INPUTS} are allowed in one request")
        return value

    @property
    def texts(self):
        return [self.input] if isinstance(self.input, str) else self.input


def create_app(encoder, name=None, **limits):
    """The application.

    Args:
        encoder: An `InstructEncoder`.
        name: Of the model in requests; by default the encoder's.
        limits: `most_texts` and `most_waiting` of `MicroBatcher`.
    """
    name = name or encoder.name
    sized = {}

    async def encode(texts, instruction, dimensions):
        if dimensions not in sized:  # weights are shared
            changed = encoder.with_options(truncate_dim=dimensions) if dimensions else encoder
            sized[dimensions] = changed
        return await sized[dimensions].aencode(texts, instruction=instruction)

    @asynccontextmanager
    async def lifespan(app):
        await encoder.aencode(["loads the weights"])
        app.state.batcher = MicroBatcher(encode, **limits)
        yield
        await app.state.batcher.close()

    app = FastAPI(title="Embeddings under instructions", lifespan=lifespan)
    _add_error_handlers(app)
    model = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "local"}

    @app.get("/health")
    async def health():
        return {"status": "ok", "waiting": app.state.batcher.waiting}

    @app.get("/v1/models")
    async def models():
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{asked:path}")
    async def one_model(asked: str):
        _check_model(asked, name)
        return model

    @app.post("/v1/embeddings")
    async def embeddings(request: EmbeddingRequest):
        _check_model(request.model, name)
        _check_texts(request.texts)
        _check_dimensions(request.dimensions, encoder.dimension)
        batcher = app.state.batcher
        rows = await batcher.embed(request.texts, request.instruction, request.dimensions)
        return {
            "object": "list",
            "model": name,
            "data": [
                {"object": "embedding", "index": place, "embedding": _shown(row, request)}
                for place, row in enumerate(rows)
            ],
            "usage": {"prompt_tokens": 0, "total_tokens": 0},  # nobody is billed for them
        }

    return app


def _shown(row, request):
    if request.encoding_format == "base64":
        return base64.b64encode(np.asarray(row, dtype="<f4").tobytes()).decode()
    return np.asarray(row, dtype=np.float32).tolist()


def _check_model(asked, name):
    if asked != name:
        message = f"The model {asked!r:.100} does not exist. This server has {name!r}."
        raise APIError(404, message, param="model", code="model_not_found")


def _check_texts(texts):
    # One text that no tokenizer reads must not spoil the batch of others.
    for place, text in enumerate(texts):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            message = f"Text {place} holds half of a surrogate pair, which is no character."
            raise APIError(400, message, param="input") from None


def _check_dimensions(asked, whole):
    if asked is not None and not 1 <= asked <= whole:
        message = f"dimensions={asked}; this model has 1 to {whole}."
        raise APIError(400, message, param="dimensions")


def _add_error_handlers(app):
    @app.exception_handler(APIError)
    async def refused(_: Request, error: APIError):
        return error.response()

    @app.exception_handler(FullError)
    async def full(_: Request, error: FullError):
        message = "Too many texts wait to be encoded. Send the request again later."
        return APIError(429, message, "rate_limit_error", code="rate_limit_exceeded").response()

    @app.exception_handler(ClosedError)
    async def closing(_: Request, error: ClosedError):
        return APIError(503, "The server shuts down.", "server_error").response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError):
        first = error.errors()[0]
        path = [str(part) for part in first["loc"][1:] if isinstance(part, str)]
        param = path[0] if path else None
        message = f"{param or 'The body'}: {first['msg'].removeprefix('Value error, ')}."
        return APIError(400, message, param=param).response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException):
        return APIError(error.status_code, str(error.detail)).response()

    @app.exception_handler(InstructEmbeddingsError)
    async def of_the_encoder(_: Request, error: InstructEmbeddingsError):
        if isinstance(error, ConfigError | TextError):
            return APIError(400, str(error)).response()
        # What the encoder says of files and devices is for the log of the server.
        return APIError(500, "The text could not be encoded.", "server_error").response()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="model id or folder; by default the one in the package")
    parser.add_argument("--name", help="what requests call it; by default its own name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--most-texts", type=int, default=256, help="in a batch")
    parser.add_argument("--most-waiting", type=int, default=4096, help="texts, before 429")
    options = parser.parse_args()
    app = create_app(
        InstructEncoder.from_pretrained(options.model),
        options.name,
        most_texts=options.most_texts,
        most_waiting=options.most_waiting,
    )
    # Requests that were accepted have this long to end when the server is told to stop.
    uvicorn.run(app, host=options.host, port=options.port, timeout_graceful_shutdown=30)


if __name__ == "__main__":
    main()
