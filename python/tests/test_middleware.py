"""Every request meets exactly one gate, however its path is written."""

import asyncio
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from fake import Server
from test_fastapi import REPORTS, customer_of, statuses
from tidegate import TidegateMiddleware


def gate_of(feature, endpoint, method="", **more):
    triggers = [{"endpoint": endpoint, "method": method}]
    return {**REPORTS, "feature": feature, "event": feature, "triggers": triggers, **more}


def serve(make, *gates, requests, customer="acme"):
    """Statuses of requests, and the events that were recorded."""
    with Server(*gates) as server:
        gate = make(server.url)
        app = FastAPI()
        gate.install(app, customer=customer_of)
        for path in ("/api/export", "/slash", "/users/{id}/reports", "/read"):
            app.api_route(path, methods=["GET", "HEAD", "POST", "OPTIONS"])(lambda: {})
        return statuses(app, *requests, customer=customer), [e["type"] for e in server.events]


def test_the_most_specific_decides_alone(make):
    gates = [gate_of("all", "/api/*", "POST", limit=2), gate_of("export", "/api/export", "POST", limit=100)]
    got, events = serve(make, *gates, requests=["POST /api/export"] * 4)
    assert (got, events) == ([200] * 4, ["export"] * 4)


def test_a_slash_at_the_end_makes_no_difference(make):
    got, _ = serve(make, gate_of("slash", "/slash/", limit=1), requests=["GET /slash"] * 3)
    assert got == [200, 402, 402]


def test_a_parameter_is_a_segment(make):
    requests = ["GET /users/1/reports", "GET /users/2/reports", "POST /api/export"]
    got, events = serve(make, gate_of("reports", "/users/{id}/reports", limit=1), requests=requests)
    assert (got, events) == ([200, 402, 200], ["reports"])


def test_head_counts_as_get(make):
    requests = ["HEAD /read", "HEAD /read", "GET /read"]
    got, _ = serve(make, gate_of("read", "/read", "GET", limit=1), requests=requests)
    assert got == [200, 402, 402]


def test_options_is_never_gated(make):
    gates = [gate_of("all", "/*", limit=0)]
    for customer in (None, "acme"):
        got, events = serve(make, *gates, requests=["OPTIONS /read", "OPTIONS /inner/x"], customer=customer)
        assert (got, events) == ([200, 404], [])


def test_a_preflight_in_a_mounted_app(make):
    with Server(gate_of("all", "/*", limit=1)) as server:
        gate = make(server.url)
        app, inner = FastAPI(), FastAPI()
        inner.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
        inner.post("/x")(lambda: {})
        gate.install(app, customer=customer_of)
        app.mount("/inner", inner)
        headers = {"origin": "http://page", "access-control-request-method": "POST"}

        async def go():
            transport = httpx.ASGITransport(app=app)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://app") as client,
            ):
                return [(await client.options("/inner/x", headers=headers)).status_code for _ in range(3)]

        assert asyncio.run(go()) == [200] * 3
        assert server.events == []


@pytest.mark.parametrize("endpoint", ["/x", "/inner/x"])
def test_a_gate_inside_a_mounted_app(make, endpoint):
    """A trigger may name the path with or without the mount, in every version of Starlette."""
    with Server(gate_of("x", endpoint, limit=1)) as server:
        gate = make(server.url)
        assert gate.wait_synced(5)
        app, inner = FastAPI(), FastAPI()
        inner.post("/x")(lambda: {})
        gate.install(inner, customer=customer_of)
        app.mount("/inner", inner)
        assert statuses(app, "POST /inner/x", "POST /inner/x/", "POST /inner/x") == [200, 402, 402]


@pytest.mark.parametrize(
    "target", ["/x/../api/export", "//api//export", "/api/%65xport", "/api/%2e/export", "/API/export"]
)
def test_other_spellings_of_the_path(make, target):
    gates = [{**gate_of("export", "/api/export", limit=0)}]
    gates[0]["triggers"][0]["ignore_case"] = True
    with Server(*gates) as server:
        gate = make(server.url)
        assert gate.wait_synced(5)
        asgi = {
            "type": "http", "method": "POST", "headers": [(b"x-customer", b"acme")], "root_path": "",
            "path": unquote(target), "raw_path": target.encode(),
        }  # fmt: skip
        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(TidegateMiddleware(None, gate, customer_of)(asgi, None, send))
        assert sent[0]["status"] == 402
