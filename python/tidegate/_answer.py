"""Answers to visitors who may not pass: problem documents of RFC 9457, the same as Tidegate's gateways give."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Tuple

from ._decision import NOT_IN_PLAN_MESSAGE, Decision, Reason, message_of, plain

CONTENT_TYPE = "application/problem+json"

_BASE = "urn:tidegate:"
#: By reason: type, title, status, and the detail where the gate has no message.
_BLOCKED = {
    Reason.LIMIT_REACHED: ("limit-reached", "Limit reached", 402, "The limit of your plan is reached."),
    Reason.NOT_IN_PLAN: ("not-in-plan", "Not in your plan", 403, NOT_IN_PLAN_MESSAGE),
    # Nothing that paying would help.
    Reason.NO_DECISION: ("no-decision", "Usage cannot be checked now", 503, "Try again in a moment."),
}
_OTHER = ("blocked", "Blocked", 403, "This feature is blocked.")


class Answer(NamedTuple):
    """A problem document and the headers that go with it, besides the content type."""

    document: Dict[str, Any]
    headers: Dict[str, str]

    def encode(self) -> Tuple[List[Tuple[bytes, bytes]], bytes]:
        """Return the headers as ASGI has them, and the body."""
        body = json.dumps(self.document, ensure_ascii=False).encode()
        every = {**self.headers, "Content-Type": CONTENT_TYPE, "Content-Length": str(len(body))}
        return [(name.lower().encode(), value.encode()) for name, value in every.items()], body


def blocked(d: Decision) -> Answer:
    """The answer to a request whose customer `d` blocks."""
    kind, title, status, detail = _BLOCKED.get(d.reason, _OTHER)
    document = {
        "type": _BASE + kind,
        "title": title,
        "status": status,
        "detail": message_of(d.reason, d.message) or detail,
        "feature": d.feature,
        "limit": plain(d.limit),
        "used": plain(d.used),
        "unblocks_at": plain(d.unblocks_at),
        "upgrade_url": d.upgrade_url,
    }
    return _answer(document, {"Retry-After": "1"} if d.reason == Reason.NO_DECISION else {})


def no_customer(feature: str) -> Answer:
    """The answer to a request for a gated feature that names no customer."""
    detail = "This feature is metered, and the request names no customer."
    return _undecided("no-customer", "No customer", 401, detail, feature)


def unreadable() -> Answer:
    """The answer to a request whose path cannot be read, so that nobody knows what it is for."""
    detail = (
        "The address of this request cannot be read in one way. Send it as plain UTF-8, without control characters."
    )
    return _undecided("unreadable", "Unreadable address", 400, detail, "")


def _undecided(kind: str, title: str, status: int, detail: str, feature: str) -> Answer:
    return _answer(
        {
            "type": _BASE + kind,
            "title": title,
            "status": status,
            "detail": detail,
            "feature": feature,
            "limit": None,
            "used": None,
            "unblocks_at": None,
            "upgrade_url": "",
        }
    )


def not_an_id(error: ValueError) -> Answer:
    """The answer to a request whose customer's id can't be one."""
    return _answer({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": str(error)})


def _answer(document: Dict[str, Any], more: "Dict[str, str] | None" = None) -> Answer:
    return Answer(document, {"Cache-Control": "no-store", **(more or {})})
