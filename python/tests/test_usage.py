"""Recording: the form of events, delivery exactly once, refusals and a Tidegate that is away."""

import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from fake import API, Server, blocked, decision
from real import eventually
from tidegate import Tidegate, TidegateError

TOKENS = {**API, "feature": "tokens", "event": "tokens", "aggregate": "sum", "value": "usage.tokens", "limit": 1000}


def test_what_is_sent(server, gate):
    at = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=timezone.utc)
    assert gate.record_nowait("acme", "api", id="order-1", time=at, properties={"path": "/é"}) == "order-1"
    own = gate.record_nowait(7, "api")
    assert gate.flush_sync(5)
    first, second = server.events
    assert first == {
        "specversion": "1.0", "id": "order-1", "source": "python", "type": "api", "subject": "acme",
        "time": "2026-01-02T03:04:05.678900Z", "data": {"path": "/é"},
    }  # fmt: skip
    assert second["id"] == own and second["subject"] == "7" and "data" not in second
    assert gate.status().delivered == 2


def test_a_value_goes_where_the_gate_looks(make):
    with Server(API, TOKENS) as server:
        gate = make(server.url, source="writer")
        assert gate.wait_synced(5)
        gate.record_nowait("acme", "tokens", value=812, properties={"usage": {"model": "s"}})
        gate.record_nowait("acme", "tokens", value=Decimal("0.25"))
        gate.record_nowait("acme", "api", value=0.5)
        assert gate.flush_sync(5)
        data = [e["data"] for e in server.events]
        assert data == [{"usage": {"model": "s", "tokens": 812}}, {"usage": {"tokens": "0.25"}}, {"value": "0.5"}]
        assert {e["source"] for e in server.events} == {"writer"}
        assert gate.check("acme", "tokens").allowed
        gate.record_nowait("acme", "tokens", value=187.75)
        assert not gate.check("acme", "tokens").allowed


def test_a_value_recorded_before_the_gates_are_known_waits_for_them(make):
    with Server(TOKENS) as server:
        server.sync = False
        gate = make(server.url)
        gate.record_nowait("acme", "tokens", value=3)
        assert gate.flush_sync(5)
        assert server.events[0]["data"] == {"usage": {"tokens": 3}}


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"customer": ""}, ValueError),
        ({"event": ""}, ValueError),
        ({"event": "tidegate.void"}, ValueError),
        ({"value": -1}, ValueError),
        ({"value": float("nan")}, ValueError),
        ({"time": datetime(2026, 1, 1)}, ValueError),
        ({"properties": {"x": object()}}, TypeError),
        ({"properties": {"x": float("inf")}}, ValueError),
        ({"properties": {"x": "y" * 70_000}}, ValueError),
        ({"id": "x" * 513}, ValueError),
    ],
)
def test_what_can_never_count_is_refused_at_once(gate, arguments, error):
    arguments = {"customer": "acme", "event": "api", **arguments}
    with pytest.raises(error):
        gate.record_nowait(arguments.pop("customer"), arguments.pop("event"), **arguments)
    assert gate.status().waiting == 0


def test_retries_send_the_same_events(server, gate):
    server.refusals += [
        (503, {"Retry-After": "0"}, {"detail": "later"}),
        (500, {}, {}),
        (429, {"Retry-After": "0"}, {}),
    ]
    gate.record_nowait("acme", "api")
    assert gate.flush_sync(10)
    assert len(server.bodies) == 4 and all(b == server.bodies[0] for b in server.bodies)
    assert len(server.events) == 1 and gate.status().delivered == 1


def test_goes_on_after_tidegate_was_away(make, caplog):
    gate = make("http://127.0.0.1:1")
    for _ in range(3):
        gate.record_nowait("acme", "api")
    eventually(lambda: "usage is not delivered for now" in caplog.text)
    assert not gate.flush_sync(0)
    with Server() as server:
        gate._running.outbox._url = server.url + "/v1/events"
        assert gate.flush_sync(10)
        assert len(server.events) == 3
    assert caplog.text.count("usage is not delivered for now") == 1


def test_rejected_events_are_counted_and_named(server, gate, caplog):
    gone = {"accepted": 1, "rejected": [{"index": 1, "error": "too old"}], "unmetered": ["api"]}
    server.refusals.append((202, {}, gone))
    with gate._running.outbox._changed:  # both in one batch
        gate.record_nowait("acme", "api", id="good")
        gate.record_nowait("acme", "api", id="bad")
    assert gate.flush_sync(5)
    status = gate.status()
    assert (status.delivered, status.rejected) == (1, 1)
    assert "bad: too old" in caplog.text and "no gate meters the event 'api'" in caplog.text
    server.refusals.append((400, {}, {"detail": "no", "rejected": [{"index": 0, "error": "no"}]}))
    gate.record_nowait("acme", "api")
    assert gate.flush_sync(5) and gate.status().rejected == 2


def test_a_batch_that_is_too_large_is_sent_in_parts(server, gate):
    server.refusals.append((413, {}, {"detail": "too large"}))
    with gate._running.outbox._changed:
        for i in range(4):
            gate.record_nowait("acme", "api", id=str(i))
    assert gate.flush_sync(5)
    assert [len(b) for b in server.bodies] == [4, 2, 2]
    assert [e["id"] for e in server.events] == ["0", "1", "2", "3"]


def test_the_oldest_is_dropped_never_silently(make, caplog):
    gate = make("http://127.0.0.1:1", queue=10)
    for _ in range(30):
        gate.record_nowait("acme", "api")
    status = gate.status()
    assert status.waiting <= 11 and status.waiting + status.dropped == 30
    assert caplog.text.count("the oldest are dropped") == 1
    gate.close_sync(0.1)
    assert "could not be delivered before closing" in caplog.text


def test_close_delivers_and_a_later_use_begins_anew(server, gate):
    for _ in range(50):
        gate.record_nowait("acme", "api")
    gate.close_sync(5)
    assert len(server.events) == 50
    gate.close_sync(5)
    gate.record_nowait("acme", "api")
    gate.close_sync(5)
    assert len(server.events) == 51


def test_many_threads(server, gate):
    def work(n):
        for i in range(200):
            gate.record_nowait(f"c{n}", "api", id=f"{n}-{i}")
            gate.check(f"c{n}", "api")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert gate.flush_sync(20)
    assert len({e["id"] for e in server.events}) == len(server.events) == 1600
    assert not gate.check("c0", "api").allowed


class TestCountDown:
    def test_a_new_customer(self, gate):
        for _ in range(100):
            assert gate.check("acme", "api").allowed
            gate.record_nowait("acme", "api")
        d = gate.check("acme", "api")
        assert (d.allowed, d.reason, d.used, d.message) == (False, "limit_reached", 100, API["message"])

    def test_from_a_decision(self, server, gate):
        server.say("decision", decision(used=97, remaining=3, reason="near_limit"))
        eventually(lambda: gate.check("acme", "api").remaining == 3)
        for remaining in (2, 1):
            gate.record_nowait("acme", "api")
            assert gate.check("acme", "api").remaining == remaining
        gate.record_nowait("acme", "api")
        assert not gate.check("acme", "api").allowed

    def test_a_decision_that_knows_of_them_does_not_count_them_twice(self, server, gate):
        for _ in range(90):
            gate.record_nowait("acme", "api")
        assert gate.flush_sync(5)
        server.say("decision", decision(used=90, remaining=10, reason="near_limit"))
        eventually(lambda: gate.check("acme", "api").remaining == 10)

    def test_an_upgrade_unblocks(self, server, gate):
        for _ in range(100):
            gate.record_nowait("acme", "api")
        server.say("decision", blocked())
        eventually(lambda: gate.check("acme", "api").message == "No more.")
        server.say("decision", decision(limit=None, reason="unlimited", used=100, plan="pro"))
        eventually(lambda: gate.check("acme", "api").allowed)

    def test_the_next_window_begins_at_zero(self, server, gate):
        ending = datetime.now(timezone.utc) + timedelta(seconds=0.5)
        server.say("decision", decision(used=90, remaining=10, window_end=ending.isoformat()))
        eventually(lambda: gate.check("acme", "api").used == 90)
        for _ in range(9):
            gate.record_nowait("acme", "api")
        assert gate.check("acme", "api").used == 99
        eventually(lambda: datetime.now(timezone.utc) > ending)
        assert gate.check("acme", "api").used is None
        gate.record_nowait("acme", "api")
        assert gate.check("acme", "api").used == 1

    @pytest.mark.parametrize(
        "strange", [{"aggregate": "median"}, {"period": "week"}, {"window": "tumbling"}, {"aggregate": "unique"}]
    )
    def test_a_gate_that_is_not_understood_is_not_counted_down(self, make, strange):
        with Server({**API, "limit": 1, **strange}) as server:
            gate = make(server.url)
            assert gate.wait_synced(5)
            for _ in range(3):
                gate.record_nowait("acme", "api")
            d = gate.check("acme", "api")
            assert (d.allowed, d.used, d.limit) == (True, None, 1)

    def test_a_reason_that_is_not_known_is_passed_on(self, server, gate):
        server.say("decision", decision(used=99, remaining=1, reason="fair_use"))
        eventually(lambda: gate.check("acme", "api").reason == "fair_use")
        for _ in range(3):
            gate.record_nowait("acme", "api")
        d = gate.check("acme", "api")
        assert (d.allowed, d.reason, d.used, d.remaining) == (True, "fair_use", 99, 1)

    def test_history_is_not_counted_down(self, gate):
        old = datetime.now(timezone.utc) - timedelta(days=31)
        for _ in range(100):
            gate.record_nowait("acme", "api", time=old)
        assert gate.check("acme", "api").allowed


def test_identify(server, gate):
    gate.identify_sync("a/b c", email="ada@acme.example", locale="de")
    assert server.customers == {"a/b c": {"email": "ada@acme.example", "locale": "de"}}
    server.refusals += [(503, {}, {})]
    gate.identify_sync("acme", stripe_customer="cus_1", anchor=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert server.customers["acme"] == {"stripe_customer": "cus_1", "anchor": "2026-01-01T00:00:00+00:00"}
    server.refusals += [(400, {}, {"detail": "no address"})]
    with pytest.raises(TidegateError, match="no address") as caught:
        gate.identify_sync("acme", email="?")
    assert caught.value.status == 400


def test_identify_gives_up(make):
    with pytest.raises(TidegateError):
        make("http://127.0.0.1:1").identify_sync("acme", email="a@b.example", timeout=0.3)


def test_disabled(server, make, monkeypatch):
    monkeypatch.setenv("TIDEGATE_DISABLED", "1")
    gate = make(server.url, fail="closed")
    assert gate.check("acme", "api").allowed and gate.wait_synced()
    for _ in range(101):
        gate.record_nowait("acme", "api")
    gate.identify_sync("acme", email="a@b.example")
    assert gate.check("acme", "api").allowed and gate.triggered("POST", "/api/features/x") == []
    assert gate.status().waiting == 0 and server.bodies == [] and server.streams == []


def test_settings_come_from_the_environment(server, monkeypatch, make):
    monkeypatch.setenv("TIDEGATE_URL", server.url + "/")
    monkeypatch.setenv("TIDEGATE_API_KEY", "right")
    server.key = "right"
    assert make(None).wait_synced(5)
    for wrong in ({"fail": "maybe"}, {"queue": 0}, {"url": "localhost:8080"}):
        with pytest.raises(ValueError):
            Tidegate(**wrong)


def test_survives_a_fork(server, gate):
    server.say("decision", blocked())
    eventually(lambda: not gate.check("acme", "api").allowed)
    gate.record_nowait("acme", "api", id="parent")
    child = os.fork()
    if child == 0:  # no pytest in here
        try:
            ok = gate.wait_synced(5) and not gate.check("acme", "api").allowed
            gate.record_nowait("acme", "api", id="child")
            ok = ok and gate.flush_sync(5)
            os._exit(0 if ok else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert gate.flush_sync(5)
    assert sorted(e["id"] for e in server.events) == ["child", "parent"]


def test_a_script_delivers_at_its_end(server):
    script = "import sys, tidegate\ng = tidegate.Tidegate(sys.argv[1])\ng.record_nowait('acme', 'api', id='last')"
    subprocess.run([sys.executable, "-c", script, server.url], check=True, cwd=Path(__file__).parent.parent, timeout=20)
    assert [e["id"] for e in server.events] == ["last"]


def test_imports_no_framework():
    script = "import sys, tidegate; assert not {'fastapi', 'starlette', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parent.parent, timeout=20)
