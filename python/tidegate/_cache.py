"""Decisions and gates in memory: written by the stream's thread, read by every request."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from ._decision import Decision
from ._gate import Gates
from ._ledger import CONFIRMED_AFTER, Key, Ledger

log = logging.getLogger("tidegate")


class Cache:
    """Decisions and gates. Readers need no lock: every change is one assignment.

    Nothing of a new connection shows before its `synced`, because only that says
    whether it adds to what is known or replaces it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.gates: Optional[Gates] = None
        self.decisions: Dict[Key, Decision] = {}
        self.synced = threading.Event()  # stays set: last known decisions are kept
        self.last_id = ""  # of the newest event that has taken effect
        self.last_heard: Optional[float] = None  # monotonic second of the last sign of life
        self._live_since: Optional[float] = None
        self._ledger = ledger
        self._initial: Optional[List[Tuple[Key, Optional[Decision]]]] = None
        self._initial_id = ""

    def connected(self) -> None:
        """A connection begins: it sends every current decision first."""
        self._initial, self._initial_id = [], self.last_id

    def disconnected(self) -> None:
        """The connection has ended. Decisions stay, and no use is confirmed from now on."""
        self._initial, self._live_since = None, None

    @property
    def live(self) -> bool:
        """Whether changes arrive."""
        return self._live_since is not None

    def confirmed(self, now: float) -> float:
        """The monotonic second before which an acknowledged use is in the decisions."""
        since, before = self._live_since, now - CONFIRMED_AFTER
        return before if since is not None and since <= before else float("-inf")

    def apply(self, name: str, data: str, event_id: str) -> None:
        """Take over one server-sent event. One that cannot be read is logged and left out."""
        try:
            raw = json.loads(data)
            if name == "gates":
                self.gates = Gates.from_json(raw)
            elif name == "decision":
                decision = Decision.from_json(raw)
                self._put((decision.customer, decision.feature), decision)
            elif name == "removed":
                self._put((raw["customer"], raw["feature"]), None)
            elif name == "synced":
                self._sync(bool(raw.get("resumed")))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("tidegate: event %r was not understood: %r", name, error)
        if self._initial is None:
            self.last_id = event_id or self.last_id
        else:
            self._initial_id = event_id or self._initial_id

    def _put(self, key: Key, decision: Optional[Decision]) -> None:
        if self._initial is not None:
            self._initial.append((key, decision))
            return
        before = self.decisions.get(key)
        if decision is None:
            self.decisions.pop(key, None)
        else:
            self.decisions[key] = decision
        self._ledger.observe(key, before, decision)

    def _sync(self, resumed: bool) -> None:
        if self._initial is None:
            return
        known: Dict[Key, Any] = dict(self.decisions) if resumed else {}
        known.update(self._initial)
        before, self.decisions = self.decisions, {k: d for k, d in known.items() if d is not None}
        for key in self._ledger.keys():
            self._ledger.observe(key, before.get(key), self.decisions.get(key))
        self.last_id, self._initial = self._initial_id, None
        self._live_since = time.monotonic()
        self.synced.set()
