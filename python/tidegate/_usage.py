"""Usage events as they go over the wire (CloudEvents 1.0), checked before they are queued."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Dict, Mapping, Optional, Union

from ._decision import Number, as_number, format_time
from ._gate import Gate, Gates

#: The types of `value`: numbers for sum and max; unique takes text too.
Value = Union[int, float, Decimal, str]

MAX_EVENT_BYTES = 64 << 10
_NANO = Decimal("1e-9")
#: Characters that change the direction of text: with one, an id looks like another one.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def customer_id(raw: Any) -> str:
    """The id of a customer as a string (numbers and UUIDs too); ValueError if it can't be one."""
    text = raw if isinstance(raw, str) else str(raw)
    if not 1 <= len(text.encode("utf-8", "replace")) <= 256:
        raise ValueError("a customer's id has 1 to 256 bytes of UTF-8")
    if text in (".", ".."):
        raise ValueError(f"{text!r} can't be a customer's id: an address with it means another one")
    if not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") or c in _DIRECTION for c in text):
        raise ValueError("a customer's id has no control characters, nor such as change the direction of text")
    return text


def number(value: Value) -> Optional[Number]:
    """A value as an exact number with at most 9 decimal places, None if it is no number."""
    if isinstance(value, (str, bool)):
        return None
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or not 0 <= exact < Decimal("9.2e18"):
        raise ValueError(f"value {value} is not between 0 and 9.2e18")
    return as_number(exact.quantize(_NANO) if exact.as_tuple().exponent < -9 else exact)  # type: ignore[operator]


@dataclass(frozen=True)
class Draft:
    """An event of which only the place of its value in `data` may still be open."""

    id: str
    source: str
    event: str
    customer: str
    time: datetime
    value: Optional[Value]
    properties: Optional[Mapping[str, Any]]

    def check(self) -> bytes:
        """Raise ValueError or TypeError for an event that Tidegate would refuse, else return `encode(None)`."""
        if not self.event or self.event.startswith("tidegate."):
            raise ValueError("an event is named by what was used, such as 'api'; 'tidegate.' is Tidegate's own")
        if self.time.tzinfo is None:
            raise ValueError("time needs a time zone, such as datetime.now(timezone.utc)")
        if any(len(text.encode()) > 512 for text in (self.id, self.source, self.event)):
            raise ValueError("id, source and event have at most 512 bytes each")
        if any(c in _DIRECTION for text in (self.id, self.source, self.event) for c in text):
            raise ValueError("id, source and event have no characters that change the direction of text")
        if self.value is not None:
            number(self.value)
        body = self.encode(None)
        if len(body) > MAX_EVENT_BYTES:
            raise ValueError("an event has at most 64 KiB")
        return body

    def encode(self, gates: Optional[Gates]) -> bytes:
        """The event as JSON; its value is where the gates look for it, else in `value`."""
        event: Dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.event,
            "subject": self.customer,
            "time": format_time(self.time),
        }
        data = dict(self.properties or {})
        if self.value is not None:
            exact = number(self.value)
            metering = gates.metering(self.event) if gates is not None else ()
            for path in {g.value_key for g in metering if g.value_key} or {"value"}:
                _put(data, path.split("."), self.value if exact is None else _json_number(exact))
        if data:
            event["data"] = data
        return json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def amount(gate: Gate, draft: Draft) -> Optional[Number]:
    """How much an event adds to a gate's total, None where this process cannot know it."""
    if gate.aggregate == "count":
        return 1
    if gate.aggregate == "sum" and draft.value is not None:
        return number(draft.value)
    return None


def _put(data: Dict[str, Any], path: "list[str]", value: Any) -> None:
    for name in path[:-1]:
        inner = data.get(name)
        data[name] = dict(inner) if isinstance(inner, Mapping) else {}
        data = data[name]
    data[path[-1]] = value


def _json_number(exact: Number) -> Any:
    # Tidegate takes a number in a string too, so that no float rounds it.
    return exact if isinstance(exact, int) else format(exact, "f")
