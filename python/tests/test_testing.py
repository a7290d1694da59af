"""The helper for apps' tests."""

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from tidegate import Gate, Tidegate, Trigger
from tidegate.testing import in_memory

API = Gate(
    "api",
    event="api",
    triggers=[Trigger("/api/*", "POST")],
    limit=3,
    message="Enough.",
    upgrade_url="https://acme.example",
)
REPORTS = Gate("reports", event="reports", limit=1)


@pytest.fixture
def gate():
    return Tidegate("http://127.0.0.1:9")  # nobody there


def app_of(gate):
    app = FastAPI()
    gate.install(app, customer=lambda request: request.headers.get("x-customer"))
    app.post("/api/{name}")(lambda name: name)
    app.post("/reports", dependencies=[Depends(gate.require("reports"))])(lambda: "done")
    return app


def post(client, path, customer="acme"):
    return client.post(path, headers={"x-customer": customer}).status_code


def test_limits_hold_without_a_server(gate):
    app = app_of(gate)
    with in_memory(gate, API, REPORTS) as tidegate:
        with TestClient(app) as client:
            assert [post(client, "/api/x") for _ in range(5)] == [200, 200, 200, 402, 402]
            assert [post(client, "/reports") for _ in range(2)] == [200, 402]
            assert post(client, "/api/x", "other") == 200
            tidegate.upgrade("acme", "api", plan="pro")
            assert post(client, "/api/x") == 200
        assert [(r.customer, r.event) for r in tidegate.recorded].count(("acme", "api")) == 4
        assert gate.flush_sync(1)


def test_a_block_and_its_answer(gate):
    app = app_of(gate)
    with in_memory(gate, API) as tidegate, TestClient(app) as client:
        tidegate.block("acme", "api", upgrade_url="https://gate.example/u/x")
        answer = client.post("/api/x", headers={"x-customer": "acme"})
        assert (answer.status_code, answer.json()["detail"], answer.json()["upgrade_url"]) == (
            402,
            "Enough.",
            "https://gate.example/u/x",
        )
        assert tidegate.recorded == []
        with pytest.raises(KeyError, match="in_memory"):
            tidegate.block("acme", "none")


def test_records_each_id_once_with_all_that_was_said(gate):
    with in_memory(gate, Gate("tokens", event="tokens", aggregate="sum", value_key="tokens", limit=100)) as tidegate:
        for _ in range(2):
            gate.record_nowait("acme", "tokens", value=60, id="order-1", properties={"model": "small"})
        assert gate.check("acme", "tokens").allowed
        gate.record_nowait("acme", "tokens", value=60)
        assert not gate.check("acme", "tokens").allowed
        assert [(r.id == "order-1", r.value, r.properties) for r in tidegate.recorded] == [
            (True, 60, {"model": "small"}),
            (False, 60, None),
        ]


def test_identify_and_the_end(gate):
    with in_memory(gate) as tidegate:
        gate.identify_sync("a/b", email="ada@acme.example")
        assert tidegate.identified == {"a/b": {"email": "ada@acme.example"}}
    assert gate.status().delivered == 0 and gate.check("acme", "api").reason == "no_decision"
    gate.close_sync(0.1)


def test_disabled_apps_are_gated_in_a_test(monkeypatch):
    monkeypatch.setenv("TIDEGATE_DISABLED", "1")
    gate = Tidegate()
    with in_memory(gate, REPORTS) as tidegate:
        tidegate.block("acme", "reports")
        assert not gate.check("acme", "reports").allowed
    assert gate.check("acme", "reports").allowed
