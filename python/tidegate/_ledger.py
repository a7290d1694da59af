"""Counts this process's uses that Tidegate's decisions cannot know of yet.

A use is *unconfirmed* from the moment it is recorded until it has been
acknowledged and the stream of decisions has been alive for `CONFIRMED_AFTER`
seconds after that: whatever decision it leads to is then here. So the usage of a
customer lies between the usage in Tidegate's decision and that plus the unconfirmed
uses. The ledger keeps an estimate within these bounds: it counts a new customer down
from the first use, and a block never rests on uses that a decision has long included.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from typing import Any, Deque, Dict, List, Optional, Tuple

from ._decision import Decision, Number

#: Seconds from an acknowledgement until the decision that follows from it must
#: have arrived, a partition's move to another owner included.
CONFIRMED_AFTER = 10.0

Key = Tuple[str, str]  # customer, feature


class _Account:
    """The unconfirmed uses of one customer and feature."""

    __slots__ = ("acked", "estimate", "opened", "pending")

    def __init__(self, opened: datetime) -> None:
        self.opened = opened
        self.estimate: Number = 0
        self.pending: Number = 0  # not acknowledged
        self.acked: Deque[List[Any]] = deque()  # [monotonic second, amount]

    def unconfirmed(self, before: float) -> Number:
        while self.acked and self.acked[0][0] <= before:
            self.acked.popleft()
        total = self.pending
        for _, amount in self.acked:
            total += amount
        return total


#: An amount that a use has added to an account, to be acknowledged or taken back.
Entry = Tuple[_Account, Number]


class Ledger:
    """All methods are safe to call from any thread and never wait for the network."""

    def __init__(self) -> None:
        self._accounts: Dict[Key, _Account] = {}
        self._lock = threading.Lock()

    def spend(self, customer: str, feature: str, amount: Number, base: Number, now: datetime) -> Entry:
        """Count a use; `base` is the usage that is known before it."""
        with self._lock:
            account = self._accounts.get((customer, feature))
            if account is None:
                account = self._accounts[customer, feature] = _Account(now)
            account.estimate = max(account.estimate, base) + amount
            account.pending += amount
        return account, amount

    def acknowledge(self, entries: List[Entry], at: float) -> None:
        """Tidegate has stored these uses, at monotonic second `at`."""
        with self._lock:
            for account, amount in entries:
                account.pending -= amount
                if account.acked and at - account.acked[-1][0] < 0.5:
                    account.acked[-1][1] += amount  # few of them a second, however many uses
                else:
                    account.acked.append([at, amount])

    def take_back(self, entries: List[Entry]) -> None:
        """These uses will never count: refused, or dropped."""
        with self._lock:
            for account, amount in entries:
                account.pending -= amount
                account.estimate -= amount

    def counts(self, customer: str, feature: str) -> bool:
        """Whether there may be unconfirmed uses."""
        return (customer, feature) in self._accounts

    def estimate(
        self, customer: str, feature: str, base: Number, floor: datetime, confirmed: float
    ) -> Optional[Number]:
        """The usage, given that Tidegate's decision includes `base`; None without unconfirmed uses.

        Uses counted since before `floor` belong to an earlier window. `confirmed` is
        the monotonic second before which acknowledged uses are confirmed.
        """
        key = (customer, feature)
        with self._lock:
            account = self._accounts.get(key)
            if account is None:
                return None
            unconfirmed = account.unconfirmed(confirmed)
            if account.opened < floor or not unconfirmed:
                del self._accounts[key]
                return None
            account.estimate = min(max(account.estimate, base), base + unconfirmed)
            return account.estimate

    def observe(self, key: Key, before: Optional[Decision], after: Optional[Decision]) -> None:
        """Forget the count when a new decision begins another window or unblocks."""
        if before is None or after is None or key not in self._accounts:
            return
        moved = before.window_start and after.window_start and before.window_start != after.window_start
        if moved or after.allowed and not before.allowed:
            with self._lock:
                self._accounts.pop(key, None)

    def keys(self) -> List[Key]:
        """The customers and features that have unconfirmed uses."""
        with self._lock:
            return list(self._accounts)

    def expire(self, confirmed: float) -> None:
        """Forget confirmed uses, so that memory holds only the busy customers."""
        for key in self.keys():
            with self._lock:
                account = self._accounts.get(key)
                if account is not None and not account.unconfirmed(confirmed):
                    del self._accounts[key]
