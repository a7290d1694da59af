"""The answer to a user who is blocked: RFC 9457, as Tidegate's own gateways give it."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

from ._decision import Decision, Reason, plain

CONTENT_TYPE = "application/problem+json"


_BASE = "urn:tidegate:"


def status_of(d: Decision) -> int:
    """402 for a limit, 403 for what is not in the plan, 503 when the fail policy refused."""
    return {Reason.NOT_IN_PLAN: 403, Reason.NO_DECISION: 503}.get(d.reason, 402)


def headers_of(d: Decision) -> Dict[str, str]:
    """The headers besides the content type."""
    headers = {"Cache-Control": "no-store"}
    if d.reason == Reason.NO_DECISION:
        headers["Retry-After"] = "1"
    return headers


def problem_of(d: Decision) -> Dict[str, Any]:
    """The document, with what an app's front end shows."""
    kind, title, detail = {
        Reason.NOT_IN_PLAN: ("not-in-plan", "Not in your plan", "Your plan does not include this feature."),
        Reason.NO_DECISION: ("no-decision", "Usage cannot be checked now", "Try again in a moment."),
    }.get(d.reason, ("limit-reached", "Limit reached", "The limit of your plan is reached."))
    return {
        "type": _BASE + kind,
        "title": title,
        "status": status_of(d),
        "detail": d.message or detail,
        "feature": d.feature,
        "limit": plain(d.limit),
        "used": plain(d.used),
        "unblocks_at": plain(d.unblocks_at),
        "upgrade_url": d.upgrade_url,
    }


def nobody() -> Dict[str, Any]:
    """The answer to a request for a metered feature that names no customer."""
    detail = "This feature is metered, and the request names no customer."
    return {"type": _BASE + "no-customer", "title": "Who is asking?", "status": 401, "detail": detail}


def not_an_id(error: ValueError) -> Dict[str, Any]:
    """The answer to a request whose customer's id can't be one."""
    return {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": str(error)}


def encode(document: Dict[str, Any], headers: Dict[str, str]) -> Tuple[List[Tuple[bytes, bytes]], bytes]:
    """ASGI headers and body."""
    body = json.dumps(document, ensure_ascii=False).encode()
    every = {**headers, "Content-Type": CONTENT_TYPE, "Content-Length": str(len(body))}
    return [(name.lower().encode(), value.encode()) for name, value in every.items()], body
