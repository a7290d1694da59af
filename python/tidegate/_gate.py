"""The gates, as Tidegate announces them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from ._decision import Number, check_format, parse_number, parse_time
from ._trigger import Routes, Trigger


@dataclass(frozen=True)
class Gate:
    """A gate as apps see it: its triggers, its meter, the default plan's limit.

    `near` is the percentage of a limit from which the reason is `near_limit`; 0: not known.
    """

    feature: str
    event: str
    aggregate: str = "count"
    value_key: str = ""
    triggers: Sequence[Trigger] = ()
    limit: Optional[Number] = None
    near: int = 0
    in_plan: bool = True
    period: str = "30d"
    window: str = "anniversary"
    shadow: bool = False
    enforce_from: Optional[datetime] = None
    off: bool = False
    fail_closed: bool = False
    message: str = ""
    upgrade_url: str = ""

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Gate:
        """Read one element of the `gates` that Tidegate announces."""
        return cls(
            feature=raw["feature"],
            event=raw.get("event") or raw["feature"],
            aggregate=raw.get("aggregate") or "count",
            value_key=raw.get("value", ""),
            triggers=tuple(
                Trigger(t.get("endpoint", ""), t.get("method", ""), bool(t.get("ignore_case", False)))
                for t in raw.get("triggers") or ()
            ),
            limit=parse_number(raw.get("limit")),
            near=raw.get("near", 0),
            in_plan=bool(raw.get("in_plan", True)),
            period=raw.get("period", ""),
            window=raw.get("window", ""),
            shadow=bool(raw.get("shadow", False)),
            enforce_from=parse_time(raw.get("enforce_from")),
            off=bool(raw.get("off", False)),
            fail_closed=bool(raw.get("fail_closed", False)),
            message=raw.get("message", ""),
            upgrade_url=raw.get("upgrade_url", ""),
        )

    def window_floor(self, now: datetime) -> Optional[datetime]:
        """The earliest moment at which the window that contains `now` can have begun.

        None for a period or window that this version does not know.
        """
        if self._length is not None:
            return now - self._length
        if self.period not in ("day", "month") or self.window not in ("", "calendar"):
            return None
        today = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        return today if self.period == "day" else today.replace(day=1)

    @cached_property
    def _length(self) -> Optional[timedelta]:
        """The length of windows that are a number of days."""
        days = self.window in ("", "anniversary", "rolling") and _DAYS.fullmatch(self.period)
        return timedelta(days=int(self.period[:-1])) if days else None


_DAYS = re.compile(r"[1-9][0-9]{0,3}d")


class Gates:
    """All gates, and the plan of customers without a decision. Never changes: a new announcement replaces it."""

    def __init__(self, default_plan: str, gates: Iterable[Gate]) -> None:
        listed = list(gates)
        self.default_plan = default_plan
        self.by_feature = {g.feature: g for g in listed}
        self.routes = Routes(listed)
        self._by_event: Dict[str, List[Gate]] = {}
        for gate in listed:
            self._by_event.setdefault(gate.event, []).append(gate)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Gates:
        """Read the announcement of the gates; ValueError for one of a newer format."""
        check_format("the list of gates", raw)
        return cls(raw.get("default_plan", ""), [Gate.from_json(g) for g in raw.get("gates") or []])

    def metering(self, event: str) -> Sequence[Gate]:
        """The gates that count events of this type."""
        return self._by_event.get(event, ())
