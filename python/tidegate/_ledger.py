"""Counts this process's uses that Tidegate's decisions cannot know of yet.

A use is *unsettled* from the moment it is recorded until it has been
acknowledged and the stream of decisions has been alive for `SETTLE` seconds
after that: whatever decision it leads to is then here. So what a customer has
used lies between what Tidegate said and that plus the unsettled uses. The
ledger keeps an estimate within these bounds: a new customer is counted down
from the first use, a block never rests on uses that Tidegate has long judged.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from typing import Any, Deque, Dict, List, Optional, Tuple

from ._decision import Decision, Number

#: Seconds from an acknowledgement until the decision that follows from it must
#: have arrived, a partition's move to another owner included.
SETTLE = 10.0

Key = Tuple[str, str]  # customer, feature


class _Account:
    """The unsettled uses of one customer and feature."""

    __slots__ = ("acked", "estimate", "opened", "pending")

    def __init__(self, opened: datetime) -> None:
        self.opened = opened
        self.estimate: Number = 0
        self.pending: Number = 0
        self.acked: Deque[List[Any]] = deque()  # [monotonic second, amount]

    def unsettled(self, before: float) -> Number:
        while self.acked and self.acked[0][0] <= before:
            self.acked.popleft()
        total = self.pending
        for _, amount in self.acked:
            total += amount
        return total


#: What a use has added where, to be acknowledged or taken back.
Claim = Tuple[_Account, Number]


class Ledger:
    """All methods are safe to call from any thread and never wait for the network."""

    def __init__(self) -> None:
        self._accounts: Dict[Key, _Account] = {}
        self._lock = threading.Lock()

    def spend(self, customer: str, feature: str, amount: Number, base: Number, now: datetime) -> Claim:
        """Count a use; `base` is what Tidegate says was used before."""
        with self._lock:
            account = self._accounts.get((customer, feature))
            if account is None:
                account = self._accounts[customer, feature] = _Account(now)
            account.estimate = max(account.estimate, base) + amount
            account.pending += amount
        return account, amount

    def acknowledge(self, claims: List[Claim], at: float) -> None:
        """Tidegate has stored these uses, at monotonic second `at`."""
        with self._lock:
            for account, amount in claims:
                account.pending -= amount
                if account.acked and at - account.acked[-1][0] < 0.5:
                    account.acked[-1][1] += amount  # few entries a second, however many uses
                else:
                    account.acked.append([at, amount])

    def take_back(self, claims: List[Claim]) -> None:
        """These uses will never count: refused, or dropped."""
        with self._lock:
            for account, amount in claims:
                account.pending -= amount
                account.estimate -= amount

    def estimate(self, customer: str, feature: str, base: Number, floor: datetime, settled: float) -> Number:
        """What has been used, given that Tidegate says `base`.

        Uses counted since before `floor` belong to an earlier window. `settled` is
        the monotonic second before which acknowledged uses are settled.
        """
        key = (customer, feature)
        if key not in self._accounts:
            return base
        with self._lock:
            account = self._accounts.get(key)
            if account is None:
                return base
            if account.opened < floor:
                del self._accounts[key]
                return base
            unsettled = account.unsettled(settled)
            if not unsettled:
                del self._accounts[key]
                return base
            account.estimate = min(max(account.estimate, base), base + unsettled)
            return account.estimate

    def observe(self, key: Key, before: Optional[Decision], after: Optional[Decision]) -> None:
        """A decision was replaced: where the new one begins afresh, so does the count."""
        if before is None or after is None or key not in self._accounts:
            return
        moved = before.window_start and after.window_start and before.window_start != after.window_start
        if moved or after.allowed and not before.allowed:
            with self._lock:
                self._accounts.pop(key, None)

    def keys(self) -> List[Key]:
        """The customers and features that have unsettled uses."""
        with self._lock:
            return list(self._accounts)

    def sweep(self, settled: float) -> None:
        """Forget what is settled, so that memory holds only the busy customers."""
        for key in self.keys():
            with self._lock:
                account = self._accounts.get(key)
                if account is not None and not account.unsettled(settled):
                    del self._accounts[key]
