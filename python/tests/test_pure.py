"""The parts without a network: wire forms, windows, ids, the ledger."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from fake import API, blocked, decision
from tidegate import Decision, Gate, Trigger
from tidegate._decision import parse_number, parse_time
from tidegate._gate import Gates
from tidegate._ledger import Ledger
from tidegate._usage import customer_id, number

NOW = datetime(2026, 1, 15, tzinfo=timezone.utc)
NOON = NOW.replace(hour=12)
GATE = Gate.from_json(API)


def test_wire_forms():
    d = Decision.from_json(decision(used="0.25", limit="1.5"))
    assert (d.used, d.limit) == (Decimal("0.25"), Decimal("1.5"))
    assert d.decided_at == datetime(2026, 1, 2, 0, 0, 0, 123456, tzinfo=timezone.utc)
    assert replace(d, used=Decimal("0.50"), limit=Decimal("1E+1")).to_json()["used"] == "0.5"
    assert d.to_json()["used"] == "0.25" and d.to_json()["decided_at"] == "2026-01-02T00:00:00.123456Z"
    assert parse_time("2026-01-01T01:00:00+01:00") == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert parse_time("0001-01-01T00:00:00Z") is None and parse_time(None) is None
    assert parse_number(3.0) == 3 and isinstance(parse_number("3.0"), int)
    with pytest.raises(ValueError):
        parse_time("yesterday")


@pytest.mark.parametrize(
    "period, window, floor",
    [
        ("day", "", NOW),
        ("day", "calendar", NOW),
        ("month", "calendar", NOW.replace(day=1)),
        ("7d", "", NOON - timedelta(days=7)),
        ("7d", "anniversary", NOON - timedelta(days=7)),
        ("30d", "rolling", NOON - timedelta(days=30)),
        # Nothing is guessed of what a newer Tidegate may announce.
        ("", "", None),
        ("week", "calendar", None),
        ("6h", "", None),
        ("007d", "", None),
        ("month", "anniversary", None),
        ("30d", "calendar", None),
        ("30d", "tumbling", None),
    ],
)
def test_window_floors(period, window, floor):
    assert replace(GATE, period=period, window=window).window_floor(NOON) == floor


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

    def estimate(self, ledger, base=0, floor=FLOOR, confirmed=float("-inf")):
        return ledger.estimate("acme", "api", base, floor, confirmed)

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

    def test_uses_that_were_acknowledged_long_ago_are_confirmed(self):
        ledger = Ledger()
        for second in range(1000):
            ledger.acknowledge(self.spend(ledger, 1), second)
            assert self.estimate(ledger, confirmed=second - 10) <= 11
        assert self.estimate(ledger) == 10  # nothing is confirmed while the stream is away
        ledger.expire(1000)
        assert ledger.keys() == []

    def test_uses_are_confirmed_under_steady_load(self):
        ledger = Ledger()
        for tick in range(2000):
            ledger.acknowledge(self.spend(ledger, 1), tick / 100)
        assert self.estimate(ledger, confirmed=10) <= 1050

    def test_takes_back_what_never_counts(self):
        ledger = Ledger()
        entries = self.spend(ledger, 5)
        ledger.take_back(entries[:2])
        assert self.estimate(ledger) == 3

    def test_forgets_an_earlier_window(self):
        ledger = Ledger()
        self.spend(ledger, 5, now=NOW - timedelta(days=1))
        assert self.estimate(ledger, floor=NOW) is None and ledger.keys() == []

    def test_begins_anew_with_an_unblock_and_a_new_window(self):
        before, after = Decision.from_json(blocked()), Decision.from_json(decision(used=50))
        ledger = Ledger()
        self.spend(ledger, 100)
        ledger.observe(("acme", "api"), None, before)
        assert self.estimate(ledger) == 100
        ledger.observe(("acme", "api"), before, after)
        assert self.estimate(ledger, base=50) is None
        self.spend(ledger, 10)
        ledger.observe(("acme", "api"), after, replace(after, window_start=NOW))
        assert self.estimate(ledger, base=1) is None


def test_gates_by_event():
    gates = Gates.from_json({"default_plan": "free", "gates": [API, {"feature": "b", "event": "api"}]})
    assert [g.feature for g in gates.metering("api")] == ["api", "b"]
    assert gates.metering("other") == () and gates.by_feature["b"].triggers == ()
    assert GATE.triggers == (Trigger("/api/features/*", "POST"),) and GATE.near == 80
