"""What runs behind a `Tidegate` in one process: memory and two threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Dict, List, Optional

import httpx

from ._cache import Cache
from ._decision import Decision, Gate, Gates, Number
from ._judge import judge, no_decision, standing
from ._ledger import Claim, Ledger
from ._outbox import Outbox, Use
from ._stream import Follower
from ._usage import Draft, amount


@dataclass(frozen=True)
class Status:
    """How a `Tidegate` is doing.

    `age` is how many seconds ago Tidegate was last heard of (None: never; while all
    is well at most 15). Every recorded use is in one of `waiting`, `delivered`,
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
        self.outbox = Outbox(url, headers, self.ledger, self._learn, self._tidy, queue)
        self._url, self._headers, self._fail_closed = url, headers, fail_closed

    def start(self) -> None:
        """Begin to follow and to deliver."""
        self.follower.start()
        self.outbox.start()

    def stop(self, timeout: float) -> None:
        """Deliver what is queued and end both threads."""
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
            return no_decision(customer, feature, not closed, gate, now)
        known = standing(self.cache.decisions.get((customer, feature)), now)
        used = self._used(gate, customer, known, now)
        return judge(gate, known, used, customer, gates.default_plan, now)

    def record(self, draft: Draft, plain: bytes) -> None:
        """Count a use here and queue it; `plain` is how it looks without knowing the gates."""
        claims, body = self._count(draft), plain if draft.value is None else self._encode(draft)
        self.outbox.add(Use(draft.id, lambda: self._encode(draft), claims, body))

    def _count(self, draft: Draft) -> List[Claim]:
        gates, now = self.cache.gates, datetime.now(timezone.utc)
        claims: List[Claim] = []
        for gate in gates.metering(draft.event) if gates is not None else ():
            added = amount(gate, draft)
            if added and draft.time >= gate.window_floor(now):
                known = standing(self.cache.decisions.get((draft.customer, gate.feature)), now)
                base = self._used(gate, draft.customer, known, now)
                claims.append(self.ledger.spend(draft.customer, gate.feature, added, base, now))
        return claims

    def status(self) -> Status:
        """The figures of the moment."""
        counts, heard = self.outbox.counts, self.cache.heard
        return Status(
            synced=self.cache.synced.is_set(),
            live=self.cache.live,
            age=None if heard is None else time.monotonic() - heard,
            waiting=self.outbox.waiting(),
            delivered=counts.delivered,
            rejected=counts.rejected,
            dropped=counts.dropped,
        )

    def _used(self, gate: Gate, customer: str, known: Optional[Decision], now: datetime) -> Number:
        base: Number = known.used if known is not None and known.used is not None else 0
        settled = self.cache.settled(time.monotonic())
        return self.ledger.estimate(customer, gate.feature, base, gate.window_floor(now), settled)

    def _encode(self, draft: Draft) -> Optional[bytes]:
        gates = self.cache.gates
        return None if gates is None else draft.encode(gates)

    def _learn(self, client: httpx.Client) -> None:
        """Fetch the gates, in case the stream has not announced them."""
        response = client.get(self._url + "/v1/gates", headers=self._headers)
        response.raise_for_status()
        gates = Gates.from_json(response.json())
        if self.cache.gates is None:
            self.cache.gates = gates

    def _tidy(self) -> None:
        self.ledger.sweep(self.cache.settled(time.monotonic()))
