"""The pure parts: what follows from what is known."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from fake import API, blocked, decision
from tidegate import Decision, Gate
from tidegate._decision import Gates, parse_number, parse_time
from tidegate._judge import judge, standing
from tidegate._ledger import Ledger
from tidegate._usage import customer_id, number

NOW = datetime(2026, 1, 15, tzinfo=timezone.utc)
GATE = Gate.from_json(API)
SOON = NOW + timedelta(hours=1)
PAST = "2026-01-14T00:00:00Z"


def decide(known=None, used=0, **changes):
    known = standing(Decision.from_json(known), NOW) if known else None
    return judge(replace(GATE, **changes), known, used, "acme", "free", NOW)


@pytest.mark.parametrize(
    "known, used, changes, allowed, reason",
    [
        (None, 0, {}, True, "within_limit"),
        (None, 99, {}, True, "within_limit"),
        (None, 100, {}, False, "limit_reached"),
        (None, 100, {"off": True}, True, "gate_off"),
        (None, 100, {"limit": None}, True, "unlimited"),
        (None, 0, {"limit": 0}, False, "limit_reached"),
        (None, 0, {"limit": 0, "in_plan": False}, False, "not_in_plan"),
        (None, 100, {"shadow": True}, True, "shadow"),
        (None, 100, {"enforce_from": SOON}, True, "shadow"),
        (None, 100, {"enforce_from": NOW}, False, "limit_reached"),
        (blocked(), 0, {}, False, "limit_reached"),
        (blocked(), 0, {"off": True}, True, "gate_off"),
        (blocked(unblocks_at=PAST), 0, {}, True, "within_limit"),
        (blocked(unblocks_at=PAST), 100, {}, False, "limit_reached"),
        (blocked(window_end=PAST), 0, {}, True, "within_limit"),
        (blocked(reason="not_in_plan", unblocks_at=None, limit=0), 0, {}, False, "not_in_plan"),
        (blocked(reason="not_in_plan", unblocks_at=None, limit=0, window_end=PAST), 0, {}, False, "not_in_plan"),
        (blocked(limit=0, unblocks_at=None, window_end=PAST), 0, {}, False, "limit_reached"),
        (decision(used=99, reason="near_limit"), 99, {}, True, "near_limit"),
        (decision(used=99, reason="near_limit"), 100, {}, False, "limit_reached"),
        (decision(used=500, limit=None, reason="unlimited"), 500, {}, True, "unlimited"),
        (decision(used=500, limit=None, reason="override"), 500, {}, True, "override"),
        (decision(used=120, reason="shadow", would_block=True), 120, {"shadow": True}, True, "shadow"),
        (decision(used=120, reason="shadow", would_block=True), 120, {}, False, "limit_reached"),
        (decision(used=120, reason="gate_off"), 120, {}, False, "limit_reached"),
        (decision(used=3, reason="gate_off"), 3, {}, True, "within_limit"),
    ],
)
def test_judge(known, used, changes, allowed, reason):
    d = decide(known, used, **changes)
    assert (d.allowed, d.reason) == (allowed, reason)
    assert d.would_block == (reason == "shadow")


def test_a_local_block_says_all_that_a_user_needs():
    d = decide(decision(used=99), 101)
    assert d.message == API["message"]
    assert d.upgrade_url == "https://gate.example/u/token"
    assert (d.limit, d.used, d.remaining) == (100, 101, 0)
    assert d.unblocks_at == datetime(2099, 1, 31, tzinfo=timezone.utc)
    assert decide(decision(used=99), 101, window="rolling").unblocks_at is None


def test_remaining_counts_down_and_stays_unknown_far_from_the_limit():
    assert decide(decision(used=80), 85).remaining == 15
    d = decide(None, 40)
    assert (d.limit, d.used, d.remaining) == (100, None, None)


def test_wire_forms():
    d = Decision.from_json(decision(used="0.25", limit="1.5"))
    assert (d.used, d.limit) == (Decimal("0.25"), Decimal("1.5"))
    assert d.decided_at == datetime(2026, 1, 2, 0, 0, 0, 123456, tzinfo=timezone.utc)
    assert d.to_json()["used"] == "0.25" and d.to_json()["decided_at"] == "2026-01-02T00:00:00.123456Z"
    assert parse_time("2026-01-01T01:00:00+01:00") == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert parse_time("0001-01-01T00:00:00Z") is None and parse_time(None) is None
    assert parse_number(3.0) == 3 and isinstance(parse_number("3.0"), int)
    with pytest.raises(ValueError):
        parse_time("yesterday")


@pytest.mark.parametrize(
    "endpoint, method, request_, fits",
    [
        ("/a/*", "POST", "POST /a/b", True),
        ("/a/*", "POST", "POST /a/b/c", True),
        ("/a/*", "POST", "GET /a/b", False),
        ("/a/*", "POST", "POST /ab", False),
        ("/a/*", "", "GET /a/b", True),
        ("/a/*", "*", "GET /a/b", True),
        ("/a", "GET", "GET /a", True),
        ("/a", "GET", "GET /a/", True),
        ("/a", "get", "GET /a", True),
        ("/a", "GET", "GET /a/b", False),
        ("", "", "GET /", False),
        ("/*", "", "GET /", True),
    ],
)
def test_triggers(endpoint, method, request_, fits):
    gate = replace(GATE, endpoint=endpoint, method=method)
    assert gate.triggered_by(*request_.split(" ")) == fits


def test_window_floors():
    noon = NOW.replace(hour=12)
    assert replace(GATE, period="day").window_floor(noon) == NOW
    assert replace(GATE, period="month").window_floor(noon) == NOW.replace(day=1)
    assert replace(GATE, period="7d").window_floor(noon) == noon - timedelta(days=7)


def test_customer_ids_and_numbers():
    assert customer_id(7) == "7" and customer_id("a b@c") == "a b@c"
    for wrong in ("", "x" * 257, "é" * 129, "a\nb", "a\x7f"):
        with pytest.raises(ValueError):
            customer_id(wrong)
    assert number(0.1 + 0.2) == Decimal("0.3")
    assert isinstance(number(2.0), int) and number("eu") is None
    for wrong in (-1, float("nan"), float("inf"), 1e19):
        with pytest.raises(ValueError):
            number(wrong)


class TestLedger:
    FLOOR = NOW - timedelta(days=30)

    def spend(self, ledger, times, base=0, now=NOW):
        return [ledger.spend("acme", "api", 1, base, now) for _ in range(times)]

    def estimate(self, ledger, base=0, floor=FLOOR, settled=float("-inf")):
        return ledger.estimate("acme", "api", base, floor, settled)

    def test_counts_down_from_the_first_use(self):
        ledger = Ledger()
        ledger.acknowledge(self.spend(ledger, 60), 1.0)
        self.spend(ledger, 30)
        assert self.estimate(ledger) == 90

    def test_does_not_count_twice_what_a_decision_knows(self):
        ledger = Ledger()
        self.spend(ledger, 90)
        assert self.estimate(ledger, base=85) == 90  # 85 of these 90
        assert self.estimate(ledger, base=95) == 95  # others used some, too
        self.spend(ledger, 1, base=95)
        assert self.estimate(ledger, base=95) == 96

    def test_settles_what_was_acknowledged_long_ago(self):
        ledger = Ledger()
        for second in range(1000):
            ledger.acknowledge(self.spend(ledger, 1), second)
            assert self.estimate(ledger, settled=second - 10) <= 11
        assert self.estimate(ledger, settled=float("-inf")) == 10  # nothing settles while the stream is away
        ledger.sweep(1000)
        assert ledger.keys() == []

    def test_settles_under_steady_load(self):
        ledger = Ledger()
        for tick in range(2000):
            ledger.acknowledge(self.spend(ledger, 1), tick / 100)
        assert self.estimate(ledger, settled=10) <= 1050

    def test_takes_back_what_never_counts(self):
        ledger = Ledger()
        claims = self.spend(ledger, 5)
        ledger.take_back(claims[:2])
        assert self.estimate(ledger) == 3

    def test_forgets_an_earlier_window(self):
        ledger = Ledger()
        self.spend(ledger, 5, now=NOW - timedelta(days=1))
        assert self.estimate(ledger, floor=NOW) == 0

    def test_begins_anew_with_an_unblock_and_a_new_window(self):
        before, after = Decision.from_json(blocked()), Decision.from_json(decision(used=50))
        ledger = Ledger()
        self.spend(ledger, 100)
        ledger.observe(("acme", "api"), None, before)
        assert self.estimate(ledger) == 100
        ledger.observe(("acme", "api"), before, after)
        assert self.estimate(ledger, base=50) == 50
        self.spend(ledger, 10)
        ledger.observe(("acme", "api"), after, replace(after, window_start=NOW))
        assert self.estimate(ledger, base=1) == 1


def test_gates_by_event():
    gates = Gates.from_json({"default_plan": "free", "gates": [API, {"feature": "b", "event": "api"}]})
    assert [g.feature for g in gates.metering("api")] == ["api", "b"]
    assert [g.feature for g in gates.triggers] == ["api"]
