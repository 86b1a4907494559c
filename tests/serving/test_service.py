"""The service on loopback under many requests at once, and its limits."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import ArrayLike, NDArray

from qbnnc.backends.onnx import emit
from qbnnc.ir import format
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.support.errors import FileError
from tests.runtime.nets import images, mlp
from tools.serving.app import create_app
from tools.serving.batching import Batcher, Closed, Outputs, QueueFull
from tools.serving.load import run
from tools.serving.service import Limits, Service, open_file

MODEL = mlp()
ROWS = 3


@pytest.fixture(scope="module", params=["onnx", "qbnn"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = emit(MODEL, row_ids=True) if request.param == "onnx" else format.to_bytes(MODEL)
    file = tmp_path_factory.mktemp("served") / f"model.{request.param}"
    file.write_bytes(data)
    return file


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of the service in a thread, on a port that the system chose."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def test_two_hundred_requests_at_once(path: Path) -> None:
    """Every answer has the bits of the oracle, however rows were joined."""
    service, rng = Service(open_file(path, 1)), np.random.default_rng(1)
    requests = 200
    x = images(MODEL, requests * ROWS).reshape(requests, ROWS, -1)
    ids = rng.integers(0, 2**62, (requests, ROWS))

    async def send(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=requests)
        async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:
            bodies = [
                {"rows": x[i].tolist(), "ids": ids[i].tolist(), "seed": i % 2, "samples": True}
                for i in range(requests)
            ]
            return await asyncio.gather(*(client.post("/predict", json=b) for b in bodies))

    with served(create_app(service)) as url:
        answers = asyncio.run(send(url))
    for number, answer in enumerate(answers):
        assert answer.status_code == 200, answer.text
        want = oracle_prediction(
            MODEL, x[number], samples=MODEL.samples, seed=number % 2, row_ids=ids[number]
        )
        found = answer.json()
        for name, array in want.items():
            given = np.array(found[name], np.float32)
            if name.startswith("samples"):
                assert np.array_equal(given, array), (number, name)
            else:
                np.testing.assert_allclose(given, array, rtol=1e-5, atol=1e-6)
    assert service.batcher.requests == requests > service.batcher.predictions


@asynccontextmanager
async def direct(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


ROW = [0.5] * MODEL.graph.input.type.size
WRONG: list[tuple[object, str]] = [
    ([], "not a JSON object"),
    ({}, "rows: missing"),
    ({"rows": []}, "at least one row"),
    ({"rows": [[1, 2]]}, "shape"),
    ({"rows": [ROW], "more": 1}, "unknown key"),
    ({"rows": [ROW], "ids": [-1]}, "row_ids"),
    ({"rows": [ROW], "ids": [2**63]}, "row_ids"),
    ({"rows": [ROW], "ids": [1, 2]}, "row_ids"),
    ({"rows": [ROW], "ids": 3}, "ids"),
    ({"rows": [ROW], "seed": 1.5}, "seed"),
    ({"rows": [ROW], "samples": 1}, "samples"),
    ({"rows": [ROW] * 65}, "64 or fewer"),
    ({"rows": [[1e300, *ROW[1:]]]}, "finite"),
    ({"rows": [["a", *ROW[1:]]]}, "real numbers"),
]


@pytest.mark.parametrize(("body", "text"), WRONG)
def test_wrong_bodies(path: Path, body: object, text: str) -> None:
    async def send() -> httpx.Response:
        async with direct(Service(open_file(path, 1))) as client:
            return await client.post("/predict", json=body)

    answer = asyncio.run(send())
    assert (answer.status_code, text in answer.text) == (422, True), answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_limits_health_and_metadata(path: Path) -> None:
    service = Service(open_file(path, 1), Limits(body_bytes=100))

    async def send() -> list[httpx.Response]:
        async with direct(service) as client:
            return [
                await client.post("/predict", content=b" " * 101),
                await client.post("/predict", content=b"{" * 100),
                await client.get("/health"),
                await client.get("/metadata"),
            ]

    large, no_json, health, metadata = asyncio.run(send())
    assert (large.status_code, no_json.status_code) == (413, 422)
    assert health.json()["status"] == "ok"
    assert metadata.json()["input_shape"] == list(MODEL.graph.input.type.shape)
    assert metadata.json()["digest"] == format.digest(MODEL)


class Slow:
    """A session that waits until it is told to go on."""

    def __init__(self) -> None:
        self.go, self.sizes = threading.Event(), list[int]()

    def predict(
        self,
        x: ArrayLike,
        samples: int | None = None,
        seed: int = 0,
        *,
        row_ids: ArrayLike | None = None,
    ) -> Outputs:
        self.go.wait()
        batch = np.asarray(x)
        self.sizes.append(len(batch))
        if np.isnan(batch).any():
            raise ValueError("nan")
        return {"mean": batch[:, 0]}


def row(value: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return np.full((1, 1), value, np.float32), np.zeros(1, np.int64)


def test_a_full_queue_errors_and_closing() -> None:
    async def scenario() -> None:
        session = Slow()
        batcher = Batcher(session, batch_rows=2, queue_rows=3)
        first = asyncio.create_task(batcher.predict(*row(1), 0))
        await asyncio.sleep(0.01)  # it is in work
        others = [asyncio.create_task(batcher.predict(*row(v), 0)) for v in (2, 3, 4)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await batcher.predict(*row(5), 0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Closed):
            await batcher.predict(*row(6), 0)
        session.go.set()
        made = await asyncio.gather(first, *others)
        assert [float(each["mean"][0]) for each in made] == [1, 2, 3, 4]
        assert session.sizes == [1, 2, 1]
        await closing

    asyncio.run(scenario())


def test_an_error_ends_its_requests_alone() -> None:
    async def scenario() -> None:
        session = Slow()
        session.go.set()
        batcher = Batcher(session, batch_rows=2, queue_rows=3)
        with pytest.raises(ValueError, match="nan"):
            await batcher.predict(*row(float("nan")), 0)
        assert float((await batcher.predict(*row(7), 0))["mean"][0]) == 7
        await batcher.close()

    asyncio.run(scenario())


def test_a_full_queue_is_503(path: Path) -> None:
    service = Service(open_file(path, 1))

    async def send() -> httpx.Response:
        async with direct(service) as client:
            await service.batcher.close()
            return await client.post("/predict", json={"rows": [ROW]})

    answer = asyncio.run(send())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_the_load_generator(path: Path) -> None:
    with served(create_app(Service(open_file(path, 1)))) as url:
        figures = asyncio.run(run(url, 40, 8))
    assert figures.refused == 0
    assert 0 < figures.p50 <= figures.p99
    assert "requests/s" in str(figures)


def test_a_file_without_row_ids(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(emit(MODEL))
    with pytest.raises(FileError, match="--row-ids"):
        open_file(tmp_path / "model.onnx")
