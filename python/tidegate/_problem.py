"""The answer to a user who is blocked: RFC 9457, as Tidegate's own gateways give it."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

from ._decision import Decision, Reason, plain

CONTENT_TYPE = "application/problem+json"


def status_of(d: Decision) -> int:
    """402 for a limit, 403 for what is not in the plan, 503 while nothing is known and `fail` is closed."""
    return {Reason.NOT_IN_PLAN: 403, Reason.NO_DECISION: 503}.get(d.reason, 402)


def headers_of(d: Decision) -> Dict[str, str]:
    """The headers besides the content type."""
    headers = {"Cache-Control": "no-store"}
    if d.reason == Reason.NO_DECISION:
        headers["Retry-After"] = "1"
    return headers


def problem_of(d: Decision) -> Dict[str, Any]:
    """The document."""
    title = {Reason.NOT_IN_PLAN: "Not in your plan", Reason.NO_DECISION: "Try again shortly"}.get(
        d.reason, "Limit reached"
    )
    return {
        "type": f"urn:tidegate:{d.reason}",
        "title": title,
        "status": status_of(d),
        "detail": d.message or title,
        "feature": d.feature,
        "reason": d.reason,
        "limit": plain(d.limit),
        "used": plain(d.used),
        "unblocks_at": plain(d.unblocks_at),
        "upgrade_url": d.upgrade_url,
    }


def plain_problem(status: int, title: str, detail: str) -> Dict[str, Any]:
    """A problem that is not about a limit."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def encode(document: Dict[str, Any], headers: Dict[str, str]) -> Tuple[List[Tuple[bytes, bytes]], bytes]:
    """ASGI headers and body."""
    body = json.dumps(document, ensure_ascii=False).encode()
    every = {**headers, "Content-Type": CONTENT_TYPE, "Content-Length": str(len(body))}
    return [(name.lower().encode(), value.encode()) for name, value in every.items()], body
