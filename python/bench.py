"""Measures the cost of gating a FastAPI app: `python3 python/bench.py [TIDEGATE_BINARY]`.

Prints a request's time (ASGI call, no network, medians of several rounds) without and
with the middleware, and, given a binary, how long a block takes from the moment its
last use is published until it is visible in each of several worker processes.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "tests")]

import httpx  # noqa: E402
from fastapi import FastAPI  # noqa: E402

from fake import API, Server  # noqa: E402
from tidegate import Tidegate  # noqa: E402

ROUNDS, REQUESTS = 9, 3000
WORKERS, BLOCKS = 4, 200

SCOPE = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
    "path": "/api/features/search", "raw_path": b"/api/features/search", "query_string": b"", "root_path": "",
    "headers": [(b"host", b"app"), (b"x-customer", b"acme")], "client": ("127.0.0.1", 1), "server": ("app", 80),
}  # fmt: skip


def app(gate=None):
    made = FastAPI()

    @made.post("/api/features/{name}")
    async def feature(name: str):
        return {"feature": name}

    if gate is not None:
        gate.install(made, customer=lambda request: request.headers["x-customer"])
    return made


async def _receive():
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message):
    assert message.get("status", 200) == 200


async def a_round(target):
    began = time.perf_counter()
    for _ in range(REQUESTS):
        await target(dict(SCOPE), _receive, _send)
    return (time.perf_counter() - began) / REQUESTS * 1e6


async def overhead():
    with Server({**API, "limit": None}) as server:
        gate = Tidegate(server.url, queue=ROUNDS * REQUESTS + REQUESTS)
        gate.wait_synced()
        bare, gated = app(), app(gate)
        await a_round(bare), await a_round(gated)
        raw, ours = [], []
        for _ in range(ROUNDS):
            raw.append(await a_round(bare))
            ours.append(await a_round(gated))
        await gate.close(1)
    raw_us, our_us = statistics.median(raw), statistics.median(ours)
    print(f"request, bare app {raw_us:.0f} us, gated {our_us:.0f} us: overhead {our_us - raw_us:.0f} us (target 100)")


WORKER = """
import sys, time
from tidegate import Tidegate
gate = Tidegate(sys.argv[1]); gate.wait_synced(10); print("ready", flush=True)
for line in sys.stdin:
    customer = line.strip()
    while gate.check(customer, "api").allowed: time.sleep(0.0005)
    print(time.time(), flush=True)
"""


def visible(binary):
    folder = tempfile.mkdtemp()
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("TIDEGATE_", "MONGODB_", "RESEND_"))}
    dev = subprocess.Popen(
        [binary, "dev", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:-1", "--data", folder],
        cwd=folder, env=keep, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    url = next(w for line in dev.stdout for w in line.split() if w.startswith("http://127.0.0.1"))
    threading.Thread(target=dev.stdout.read, daemon=True).start()
    environment = {**keep, "PYTHONPATH": str(Path(__file__).parent)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, url],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(WORKERS)
    ]
    try:
        for w in workers:
            assert w.stdout.readline() == "ready\n"
        taken = []
        gate = Tidegate(url)
        with httpx.Client(base_url=url) as client:
            for i in range(BLOCKS):
                customer = f"c{i}"
                client.post("/v1/events", json=[{"type": "api", "subject": customer, "id": str(n)} for n in range(99)])
                for w in workers:
                    w.stdin.write(customer + "\n")
                    w.stdin.flush()
                time.sleep(0.01)
                began = time.time()
                gate.record_nowait(customer, "api")
                taken.append(max(float(w.stdout.readline()) for w in workers) - began)
        taken.sort()
        p50, p99 = taken[len(taken) // 2] * 1e3, taken[int(len(taken) * 0.99)] * 1e3
        gate.close_sync()
        print(
            f"last use recorded -> block visible in all of {WORKERS} workers: "
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms (target 50)"
        )
    finally:
        for process in [*workers, dev]:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    asyncio.run(overhead())
    if len(sys.argv) > 1:
        visible(os.path.abspath(sys.argv[1]))
