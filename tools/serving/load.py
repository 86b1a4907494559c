"""A load generator: requests of one row each, so many at once; prints rates and latencies.

python -m tools.serving.load http://127.0.0.1:8000 --requests 2000 --at-once 32
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass

import httpx
import numpy as np


@dataclass(frozen=True, slots=True)
class Figures:
    """Answered requests a second, latencies in ms, and how many were refused (503)."""

    per_second: float
    p50: float
    p99: float
    refused: int

    def __str__(self) -> str:
        return (
            f"{self.per_second:.0f} requests/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, "
            f"{self.refused} refused"
        )


async def load(client: httpx.AsyncClient, requests: int, at_once: int) -> Figures:
    """Send `requests` rows of noise, `at_once` at a time. RuntimeError if none is answered."""
    shape = (await client.get("/metadata")).json()["input_shape"]
    rows = np.random.default_rng(0).normal(size=(at_once, *shape)).round(3).tolist()
    waiting, times, refused = iter(range(requests)), list[float](), 0

    async def send(worker: int) -> None:
        nonlocal refused
        for number in waiting:
            begun = time.perf_counter()
            body = {"rows": [rows[worker]], "ids": [number]}
            answer = await client.post("/predict", json=body)
            if answer.status_code == httpx.codes.OK:
                times.append(time.perf_counter() - begun)
            else:
                refused += 1

    begun = time.perf_counter()
    await asyncio.gather(*(send(worker) for worker in range(at_once)))
    spent = time.perf_counter() - begun
    if not times:
        raise RuntimeError(f"none of {requests} requests was answered")
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return Figures(len(times) / spent, float(p50), float(p99), refused)


async def run(url: str, requests: int, at_once: int) -> Figures:
    """The figures of a service at `url`."""
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        return await load(client, requests, at_once)


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=32)
    asked = parser.parse_args()
    try:
        print(asyncio.run(run(asked.url, asked.requests, asked.at_once)))
    except (httpx.TransportError, RuntimeError) as error:
        raise SystemExit(f"Error: {asked.url}: {error}; start the service first") from None


if __name__ == "__main__":
    main()
