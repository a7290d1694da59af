"""A mounted app: Starlette never runs its start, so the first request waits for the first decisions."""

import asyncio
import socket
import time

import httpx
import pytest
from fastapi import FastAPI

from fake import API, Server, blocked
from real import eventually, post, used, uvicorn
from test_fastapi import customer_of

APP = """
from fastapi import FastAPI
from tidegate import Tidegate

app, sub, gate = FastAPI(), FastAPI(), Tidegate()
gate.install(sub, customer=lambda request: request.headers.get("x-customer"))
app.mount("/m", sub)


@sub.post("/api/features/search")
async def search():
    return "found"
"""


def test_a_blocked_customer_is_blocked_at_once_after_every_start(tidegate, tmp_path):
    (tmp_path / "mounted.py").write_text(APP)
    with uvicorn(tidegate, tmp_path, "mounted:app") as client:
        assert [post(client, "/m/api/features/search", "mounted").status_code for _ in range(101)] == [200] * 100 + [
            402
        ]
    eventually(lambda: used(tidegate, "mounted") == 100, 20)
    for _ in range(3):
        with uvicorn(tidegate, tmp_path, "mounted:app") as client:
            assert post(client, "/m/api/features/search", "mounted").status_code == 402


def mounted(gate, **options):
    app, sub = FastAPI(), FastAPI()
    gate.install(sub, customer=customer_of, **options)
    app.mount("/m", sub)
    sub.post("/api/features/x")(lambda: {})
    return app


async def at_once(app, n=8):
    """Statuses of concurrent requests, and how long they took."""
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://app", headers={"x-customer": "acme"}
    )
    began = time.monotonic()
    async with client:
        answers = await asyncio.gather(*[client.post("/m/api/features/x") for _ in range(n)])
    return [answer.status_code for answer in answers], time.monotonic() - began


def test_all_of_the_first_requests_wait(make):
    with Server(API) as server:
        server.say("decision", blocked())
        assert asyncio.run(at_once(mounted(make(server.url))))[0] == [402] * 8


@pytest.mark.parametrize("fail, want", [("open", 200), ("closed", 503)])
def test_they_do_not_wait_for_a_tidegate_that_is_away(make, fail, want):
    statuses, took = asyncio.run(at_once(mounted(make("http://127.0.0.1:9", fail=fail), wait=60)))
    assert statuses == [want] * 8 and took < 30


def test_they_wait_no_longer_than_told_and_only_once(make):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which accepts, and never answers
        app = mounted(make(f"http://127.0.0.1:{silent.getsockname()[1]}"), wait=1)
        statuses, took = asyncio.run(at_once(app))
        assert statuses == [200] * 8 and 0.9 < took < 5
        assert asyncio.run(at_once(app))[1] < 0.9
