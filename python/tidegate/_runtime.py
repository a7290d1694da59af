"""The memory and the two threads behind a `Tidegate` in one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Dict, List, Optional

import httpx

from ._cache import Cache
from ._decision import Decision, Number
from ._gate import Gate, Gates
from ._later import later, no_decision, renewed
from ._ledger import Entry, Ledger
from ._outbox import Outbox, Use
from ._stream import Follower
from ._usage import Draft, amount


@dataclass(frozen=True)
class Status:
    """How a `Tidegate` is doing.

    `age` is how many seconds ago Tidegate last sent something (None: never); it sends
    something every 15 seconds. Every recorded use is in one of `waiting`, `delivered`,
    `rejected` (it can never count; the log says why) and `dropped` (lost).
    """

    synced: bool = False
    live: bool = False
    age: Optional[float] = None
    waiting: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0


class Runtime:
    """All methods but `start` and `stop` answer from memory, from any thread."""

    def __init__(self, url: str, headers: Dict[str, str], fail_closed: bool, queue: int) -> None:
        self.ledger = Ledger()
        self.cache = Cache(self.ledger)
        self.follower = Follower(url, headers, self.cache)
        self.outbox = Outbox(url, headers, self.ledger, self._fetch_gates, self._expire, queue)
        self._url, self._headers, self._fail_closed = url, headers, fail_closed
        self._began = time.monotonic()

    def patience(self, wait: float) -> float:
        """How long a request still waits for the first decisions: none later than `wait` seconds from the start."""
        return 0.0 if self.follower.tried.is_set() else max(self._began + wait - time.monotonic(), 0.0)

    def start(self) -> None:
        """Begin to follow and to deliver."""
        self.follower.start()
        self.outbox.start()

    def stop(self, timeout: float) -> None:
        """Deliver the queued uses and end both threads."""
        self.outbox.stop(timeout)
        self.follower.stop(1.0)

    def check(self, customer: str, feature: str) -> Decision:
        """The decision that holds now."""
        now = datetime.now(timezone.utc)
        gates = self.cache.gates
        gate = gates.by_feature.get(feature) if gates is not None else None
        if gates is None or gate is None or not self.cache.synced.is_set():
            closed = self._fail_closed or gate is not None and gate.fail_closed
            if gate is not None and gate.off:
                closed = False
            return no_decision(customer, feature, not closed)
        decision = self.cache.decisions.get((customer, feature))
        used = self._used(gates, gate, customer, decision, now)
        return later(gate, gates.default_plan, customer, decision, used, now)

    def record(self, draft: Draft, plain: bytes) -> None:
        """Count a use here and queue it; `plain` is the event as it is encoded without the gates."""
        entries, body = self._count(draft), plain if draft.value is None else self._encode(draft)
        self.outbox.add(Use(draft.id, lambda: self._encode(draft), entries, body))

    def _count(self, draft: Draft) -> List[Entry]:
        gates, now = self.cache.gates, datetime.now(timezone.utc)
        entries: List[Entry] = []
        for gate in gates.metering(draft.event) if gates is not None else ():
            decision = self.cache.decisions.get((draft.customer, gate.feature))
            added, floor = amount(gate, draft), _floor(gate, decision, now)
            if gates is not None and added and floor is not None and draft.time >= floor:
                used = self._used(gates, gate, draft.customer, decision, now)
                base = used if used is not None else _base(gates, gate, decision, now)
                entries.append(self.ledger.spend(draft.customer, gate.feature, added, base, now))
        return entries

    def status(self) -> Status:
        """The figures of the moment."""
        counts, heard = self.outbox.counts, self.cache.last_heard
        return Status(
            synced=self.cache.synced.is_set(),
            live=self.cache.live,
            age=None if heard is None else time.monotonic() - heard,
            waiting=self.outbox.waiting(),
            delivered=counts.delivered,
            rejected=counts.rejected,
            dropped=counts.dropped,
        )

    def _used(
        self, gates: Gates, gate: Gate, customer: str, decision: Optional[Decision], now: datetime
    ) -> Optional[Number]:
        """The usage in the window that contains `now`, where this process has counted some of it itself."""
        if not self.ledger.counts(customer, gate.feature):
            return None
        floor = _floor(gate, decision, now)
        if floor is None:
            return None
        confirmed = self.cache.confirmed(time.monotonic())
        return self.ledger.estimate(customer, gate.feature, _base(gates, gate, decision, now), floor, confirmed)

    def _encode(self, draft: Draft) -> Optional[bytes]:
        gates = self.cache.gates
        return None if gates is None else draft.encode(gates)

    def _fetch_gates(self, client: httpx.Client) -> None:
        """Fetch the gates, in case the stream has not announced them."""
        response = client.get(self._url + "/v1/gates", headers=self._headers)
        response.raise_for_status()
        gates = Gates.from_json(response.json())
        if self.cache.gates is None:
            self.cache.gates = gates

    def _expire(self) -> None:
        self.ledger.expire(self.cache.confirmed(time.monotonic()))


def _base(gates: Gates, gate: Gate, decision: Optional[Decision], now: datetime) -> Number:
    """The usage that Tidegate's decision includes."""
    used = renewed(gate, gates.default_plan, decision, now).used if decision is not None else None
    return used if used is not None else 0


def _floor(gate: Gate, decision: Optional[Decision], now: datetime) -> Optional[datetime]:
    """`Gate.window_floor`, or the end of the customer's last known window if that is over."""
    floor, end = gate.window_floor(now), decision.window_end if decision is not None else None
    if floor is None or end is None or end > now or gate.window == "rolling":
        return floor
    return max(floor, end)
