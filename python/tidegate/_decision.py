"""Decisions as they come over the wire, with their numbers and times."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Dict, Mapping, Optional, Union

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


#: The newest format of decisions and gates that this version reads. Without a number they are of the first.
NEWEST_FORMAT = 1


def check_format(what: str, raw: Mapping[str, Any]) -> None:
    """Raise ValueError for what a newer Tidegate wrote in a form that this version does not know."""
    if raw.get("format", 1) > NEWEST_FORMAT:
        raise ValueError(
            f"{what} has format {raw['format']}, and this version reads up to {NEWEST_FORMAT}: upgrade tidegate here"
        )


NOT_IN_PLAN_MESSAGE = "Your plan does not include this feature."
_BUILT_IN = "You've reached the limit of your plan. Upgrade to continue."


def message_of(reason: str, message: str) -> str:
    """What a gate with this message says of a block.

    The built-in message speaks of a limit, and a feature outside of the plan has none.
    """
    return NOT_IN_PLAN_MESSAGE if reason == Reason.NOT_IN_PLAN and message == _BUILT_IN else message


@dataclass(frozen=True)
class Decision:
    """Whether a customer may use a feature now, and why.

    `reason` is one of `Reason`, or one that a newer Tidegate has. `limit` is None when
    unlimited; `used` and `remaining` are None when they are not known here, which far
    from the limit is the usual case. With reason `shadow`, `would_block` says what
    enforcement would do. `decided_at` is None when Tidegate has not decided yet.
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
        check_format("the decision", raw)
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


def changed(d: Decision, **fields: Any) -> Decision:
    """`dataclasses.replace` in a fifth of its time; every request needs it."""
    new = object.__new__(Decision)
    vars(new).update(vars(d), **fields)
    return new


def parse_number(raw: Any) -> Optional[Number]:
    """A whole number, a decimal in a string (so that no reader rounds it), or None."""
    if raw is None:
        return None
    if isinstance(raw, int):
        return raw
    return as_number(Decimal(str(raw)))


def as_number(value: Number) -> Number:
    """A number in the form that `Number` promises."""
    if isinstance(value, int):
        return value
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
    if not isinstance(value, Decimal):
        return value
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
