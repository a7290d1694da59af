"""What Tidegate says: decisions and gates, as they come over the wire."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Dict, Mapping, Optional, Tuple, Union

#: A total or a limit: whole numbers are int, others exact decimals.
Number = Union[int, Decimal]


class Reason:
    """The values of `Decision.reason`."""

    WITHIN_LIMIT = "within_limit"
    NEAR_LIMIT = "near_limit"
    LIMIT_REACHED = "limit_reached"
    UNLIMITED = "unlimited"
    OVERRIDE = "override"
    SHADOW = "shadow"
    NOT_IN_PLAN = "not_in_plan"
    GATE_OFF = "gate_off"
    NO_DECISION = "no_decision"


@dataclass(frozen=True)
class Decision:
    """Whether a customer may use a feature now, and why.

    `limit` is None when unlimited; `used` and `remaining` are None when they are
    not known here, which far from the limit is the usual case. With reason
    `shadow`, `would_block` says what enforcement would do.
    """

    customer: str
    feature: str
    allowed: bool
    reason: str
    plan: str = ""
    limit: Optional[Number] = None
    used: Optional[Number] = None
    remaining: Optional[Number] = None
    window_start: Optional[datetime] = None
    window_end: Optional[datetime] = None
    unblocks_at: Optional[datetime] = None
    message: str = ""
    upgrade_url: str = ""
    would_block: bool = False
    decided_at: Optional[datetime] = None
    as_of: Optional[datetime] = None
    position: int = 0

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Decision:
        """Read the JSON object that Tidegate sends; KeyError or ValueError if it is none."""
        return cls(
            customer=raw["customer"],
            feature=raw["feature"],
            allowed=bool(raw["allowed"]),
            reason=raw["reason"],
            plan=raw.get("plan", ""),
            limit=parse_number(raw.get("limit")),
            used=parse_number(raw.get("used")),
            remaining=parse_number(raw.get("remaining")),
            window_start=parse_time(raw.get("window_start")),
            window_end=parse_time(raw.get("window_end")),
            unblocks_at=parse_time(raw.get("unblocks_at")),
            message=raw.get("message", ""),
            upgrade_url=raw.get("upgrade_url", ""),
            would_block=bool(raw.get("would_block", False)),
            decided_at=parse_time(raw.get("decided_at")),
            as_of=parse_time(raw.get("as_of")),
            position=raw.get("position", 0),
        )

    def to_json(self) -> Dict[str, Any]:
        """The decision in types that `json.dumps` takes, named as Tidegate names them."""
        return {name: plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Gate:
    """A gate as apps see it: its trigger, what it meters, the default plan's limit."""

    feature: str
    event: str
    aggregate: str = "count"
    value_key: str = ""
    endpoint: str = ""
    method: str = ""
    limit: Optional[Number] = None
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
            endpoint=raw.get("endpoint", ""),
            method=raw.get("method", ""),
            limit=parse_number(raw.get("limit")),
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

    def triggered_by(self, method: str, path: str) -> bool:
        """Whether a request is a use of the feature: a final `*` stands for the rest of the path."""
        if not self.endpoint or self.method not in ("", "*") and self.method.upper() != method.upper():
            return False
        if self.endpoint.endswith("*"):
            return path.startswith(self.endpoint[:-1])
        return _without_slash(path) == _without_slash(self.endpoint)

    def shadows(self, now: datetime) -> bool:
        """Whether the gate only records at `now` what it would do."""
        return self.shadow or self.enforce_from is not None and now < self.enforce_from

    def window_floor(self, now: datetime) -> datetime:
        """The earliest moment at which the window that contains `now` can have begun."""
        today = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.period == "day":
            return today
        if self.period == "month":
            return today.replace(day=1)
        days = int(self.period[:-1]) if re.fullmatch(r"[0-9]{1,4}d", self.period) else 30
        return now - timedelta(days=days)


@dataclass(frozen=True)
class Gates:
    """All gates and the plan of customers of whom nothing else is known."""

    default_plan: str
    by_feature: Mapping[str, Gate]
    triggers: Tuple[Gate, ...]

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Gates:
        """Read the announcement of the gates."""
        gates = [Gate.from_json(g) for g in raw.get("gates") or []]
        return cls(
            default_plan=raw.get("default_plan", ""),
            by_feature={g.feature: g for g in gates},
            triggers=tuple(g for g in gates if g.endpoint),
        )

    def metering(self, event: str) -> Tuple[Gate, ...]:
        """The gates that count events of this type."""
        return tuple(g for g in self.by_feature.values() if g.event == event)


def _without_slash(path: str) -> str:
    return path[:-1] if path.endswith("/") else path


def parse_number(raw: Any) -> Optional[Number]:
    """A whole number, a decimal in a string (so that nobody rounds it), or None."""
    if raw is None:
        return None
    if isinstance(raw, int):
        return raw
    value = Decimal(str(raw))
    return int(value) if value == value.to_integral_value() else value


_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")


def parse_time(raw: Optional[str]) -> Optional[datetime]:
    """RFC 3339 with up to nanoseconds, of which microseconds are kept; Go's zero time is None."""
    if not raw:
        return None
    match = _TIME.fullmatch(raw)
    if match is None:
        raise ValueError(f"{raw!r} is not RFC 3339")
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in "Zz" else zone
    parsed = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{zone}")
    return None if parsed.year == 1 else parsed


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """A member of a decision in a type that JSON has; decimals as strings, as Tidegate sends them."""
    if isinstance(value, datetime):
        return format_time(value)
    return format(value, "f") if isinstance(value, Decimal) else value
