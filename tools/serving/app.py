"""A FastAPI service.

QBNNC_ARTEFACT=served.onnx uvicorn tools.serving.app:from_environment --factory
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from qbnnc.support.errors import InputError, UserError
from tools.serving.batching import Closed, QueueFull
from tools.serving.service import Limits, Service, open_file


class TooLarge(Exception):
    """A body of more bytes than one may have."""


def from_environment() -> FastAPI:
    """The service of the file that QBNNC_ARTEFACT names.

    QBNNC_SEED is the seed of requests without one (0), QBNNC_THREADS the threads of a prediction.
    SystemExit with one sentence if there is no such service: uvicorn would print a stack.
    """
    try:
        return create_app(_service())
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None


def _service() -> Service:
    path = os.environ.get("QBNNC_ARTEFACT")
    if not path:
        raise UserError("not set", place="QBNNC_ARTEFACT", remedy="name an .onnx or .qbnn file")
    seed, threads = (_number(name) for name in ("QBNNC_SEED", "QBNNC_THREADS"))
    return Service(open_file(path, threads), Limits(), seed or 0)


def create_app(service: Service) -> FastAPI:
    """The routes POST /predict, GET /health and GET /metadata of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.batcher.close()

    app = FastAPI(title="qbnnc", lifespan=lifespan)

    async def predict(request: Request) -> Response:
        return await _predict(service, request)

    async def health() -> dict[str, object]:
        return service.health()

    async def metadata() -> dict[str, object]:
        return service.metadata()

    app.add_api_route("/predict", predict, methods=["POST"], response_model=None)
    app.add_api_route("/health", health, methods=["GET"])
    app.add_api_route("/metadata", metadata, methods=["GET"])
    return app


async def _predict(service: Service, request: Request) -> Response:
    """The answer, or a plain line: 413, 422 for what is wrong, 503 when there is no room."""
    try:
        body = await _body(request, service.limits.body_bytes)
        # A large body takes milliseconds to parse, in which no other request would be served.
        asked = await asyncio.to_thread(service.parse, body)
        answer = await service.answer(asked)
        return await asyncio.to_thread(JSONResponse, answer)
    except TooLarge:
        text = f"the body has more than {service.limits.body_bytes} bytes: send fewer rows"
        return PlainTextResponse(text, 413)
    except InputError as error:
        return PlainTextResponse(str(error), 422)
    except QueueFull:
        wait = {"Retry-After": str(service.limits.retry_after_seconds)}
        return PlainTextResponse("the queue is full: try again later", 503, wait)
    except Closed:
        wait = {"Retry-After": str(service.limits.retry_after_seconds)}
        return PlainTextResponse("the service is stopping: try again", 503, wait)


async def _body(request: Request, most: int) -> bytes:
    """The body, of which no more than `most` bytes are ever held; TooLarge otherwise."""
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)


def _number(name: str) -> int | None:
    """A whole number from the environment; None if it is not set."""
    text = os.environ.get(name)
    try:
        return int(text) if text else None
    except ValueError:
        raise UserError(f"{text!r} is not a whole number", place=name) from None
