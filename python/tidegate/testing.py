"""For the tests of apps: gates without a server.

::

    from tidegate import Gate
    from tidegate.testing import in_memory

    def test_the_fourth_report_is_blocked():
        with in_memory(app_module.gate, Gate("reports", event="reports", limit=3)) as tidegate:
            with TestClient(app_module.app) as client:
                assert [client.post("/reports").status_code for _ in range(4)] == [200, 200, 200, 402]
            assert len(tidegate.recorded) == 3
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set, Tuple
from urllib.parse import unquote

from ._client import Tidegate
from ._decision import Decision, Number, Reason
from ._gate import Gate, Gates
from ._runtime import Runtime
from ._usage import Draft, Value, customer_id

__all__ = ["Memory", "Recorded", "in_memory"]


@dataclass(frozen=True)
class Recorded:
    """One use that the app recorded."""

    customer: str
    event: str
    value: Optional[Value]
    id: str
    time: datetime
    properties: Optional[Mapping[str, Any]]


class Memory(Runtime):
    """Takes the place of the server and the network behind an app's `Tidegate`.

    It counts the uses that the app records, as each process of an app does, and blocks at
    the limits of the gates. `recorded` has the uses in order, one for each id;
    `identified` has by customer the fields that the app gave to `identify`.
    """

    def __init__(self, gates: Tuple[Gate, ...], default_plan: str) -> None:
        super().__init__("http://tidegate.invalid", {}, False, 1)
        self.cache.gates = Gates(default_plan, gates)
        self.cache.synced.set()
        self.follower.tried.set()
        self.recorded: List[Recorded] = []
        self.identified: Dict[str, Dict[str, Any]] = {}
        self._ids: Set[Tuple[str, str, str]] = set()

    def start(self) -> None:
        """Nothing runs in the background."""

    def stop(self, timeout: float) -> None:
        """`recorded` and `identified` stay as they are."""

    def record(self, draft: Draft, plain: bytes) -> None:
        """Count a use, each id once."""
        identity = (draft.customer, draft.source, draft.id)
        if identity in self._ids:
            return
        self._ids.add(identity)
        self._count(draft)
        self.recorded.append(Recorded(draft.customer, draft.event, draft.value, draft.id, draft.time, draft.properties))

    def block(self, customer: Any, feature: str, **changes: Any) -> Decision:
        """Block a customer as Tidegate would; `changes` replace fields of the `Decision`."""
        gate, now = self._gate(feature), datetime.now(timezone.utc)
        end = now + timedelta(days=30)
        limit: Number = gate.limit if gate.limit is not None else 0
        return self._put(
            Decision(
                customer=customer_id(customer), feature=feature, allowed=False, reason=Reason.LIMIT_REACHED,
                plan=self._plan, limit=limit, used=limit, remaining=0, window_start=now, window_end=end,
                unblocks_at=end, message=gate.message or "The limit is reached.", upgrade_url=gate.upgrade_url,
                decided_at=now, as_of=now,
            ),
            changes,
        )  # fmt: skip

    def upgrade(self, customer: Any, feature: str, plan: str = "paid", limit: Optional[Number] = None) -> Decision:
        """Give a customer a plan; without a limit it is unlimited. Lifts a block."""
        reason = Reason.UNLIMITED if limit is None else Reason.WITHIN_LIMIT
        allowed = Decision(customer_id(customer), feature, True, reason, plan=plan, limit=limit)
        return self._put(allowed, {})

    @property
    def _plan(self) -> str:
        return self.cache.gates.default_plan if self.cache.gates is not None else ""

    def _gate(self, feature: str) -> Gate:
        gates = self.cache.gates.by_feature if self.cache.gates is not None else {}
        if feature not in gates:
            raise KeyError(f"no gate {feature!r}: give it to in_memory")
        return gates[feature]

    def _put(self, decision: Decision, changes: Dict[str, Any]) -> Decision:
        decision = replace(decision, **changes)
        key = (decision.customer, decision.feature)
        self.ledger.observe(key, self.cache.decisions.get(key), decision)
        self.cache.decisions[key] = decision
        return decision

    def _identify(self, path: str, body: Mapping[str, Any], timeout: float) -> None:
        self.identified.setdefault(unquote(path.rsplit("/", 1)[1]), {}).update(body)


@contextmanager
def in_memory(gate: Tidegate, *gates: Gate, default_plan: str = "free") -> Iterator[Memory]:
    """Let `gate`, which the app has made, work without a server and without the network.

    `gates` are those that Tidegate would announce. At the end `gate` is as it was before.
    """
    memory = Memory(gates, default_plan)
    before = gate._running, gate.disabled
    gate._runtime, gate._put = (lambda: memory), memory._identify  # type: ignore[method-assign]
    gate._running, gate.disabled = memory, False
    try:
        yield memory
    finally:
        gate._running, gate.disabled = before
        del gate._runtime, gate._put
