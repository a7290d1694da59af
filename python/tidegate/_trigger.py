"""Finds the gate of a request by its triggers: the one rule of all clients and gateways.

Of the triggers that fit, the most specific decides alone: an exact path before a
prefix, the longer prefix before the shorter, a literal segment before one that stands
for any, a named method before any. Of two that are equal in all of this, the earlier
gate decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, Iterable, List, NamedTuple, Optional, Tuple
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from ._gate import Gate


@dataclass(frozen=True)
class Trigger:
    """Which requests are uses of a gate's feature.

    `endpoint` is a path: `{name}` and `*` stand for one segment, `*` at the end for the
    rest. A trigger without `method` takes any. `ignore_case` is about the path.
    """

    endpoint: str
    method: str = ""
    ignore_case: bool = False


class Routes:
    """The triggers of all gates. A trigger that cannot be read, such as a newer server's, is left out."""

    def __init__(self, gates: Iterable[Gate]) -> None:
        found = [(route, gate) for gate in gates for route in map(_route, gate.triggers) if route is not None]
        found.sort(key=lambda each: each[0].rank)
        self._of_any = [each for each in found if not each[0].method]
        self._of: Dict[str, List[Tuple[_Route, Gate]]] = {
            method: [each for each in found if each[0].method in ("", method)]
            for method in {route.method for route, _ in found if route.method}
        }

    def match(self, method: str, *targets: str) -> Optional[Gate]:
        """Return the gate that a request meets, or None.

        `targets` are the ways to write the request's target, such as with and without the
        prefix under which the app is mounted: if one of them is gated in one of its
        `spellings`, the request is. HEAD counts as GET, and OPTIONS is never gated.
        """
        method = _method(method)
        routes = self._of.get(method, self._of_any)
        if not routes or method == "OPTIONS":
            return None
        paths = [_segments(spelling) for spelling in spellings(*targets)]
        for route, gate in routes:
            for path in paths:
                if route.fits(path):
                    return gate
        return None


def spellings(*targets: str) -> List[str]:
    """Return the ways to read paths: as sent, decoded, and both with dots and double slashes resolved, each once.

    A target is a path or a whole URL, with or without a query.
    """
    found: Dict[str, None] = {}
    for target in targets:
        if not _ODD.search(target):  # as almost always: all four are the same
            found[target] = None
            continue
        sent = _path_of(target)
        decoded = _decoded(sent)
        for spelling in (sent, decoded, _resolved(sent), _resolved(decoded)):
            found[spelling] = None
    return list(found)


_ODD = re.compile(r"[%?#]|//|/\.|\A(?!/)")
_URL = re.compile(r"https?://[^/]*", re.IGNORECASE)
_WRONG_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _path_of(target: str) -> str:
    path = re.split("[?#]", target, maxsplit=1)[0]
    host = _URL.match(path)
    return path if host is None else path[host.end() :] or "/"


def _decoded(path: str) -> str:
    if _WRONG_ESCAPE.search(path):
        return path
    return unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _resolved(path: str) -> str:
    # Not os.path.normpath, which in some versions of Python ends at a zero byte.
    kept: List[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept)


def _segments(path: str) -> List[str]:
    """Split a path. A slash at the end makes no difference."""
    inner = path[1:] if path.startswith("/") else path
    inner = inner[:-1] if inner.endswith("/") else inner
    return inner.split("/") if inner else []


def _method(method: str) -> str:
    method = method.upper()
    return "GET" if method == "HEAD" else method


class _Route(NamedTuple):
    """A trigger, read."""

    segments: Tuple[Optional[str], ...]  # None: any one segment, which is not empty
    prefix: bool  # more may follow the segments
    begin: str  # prefix: how the next segment begins, if there must be one
    ignore_case: bool  # all is lower-case here
    method: str  # upper-case; "": any
    rank: Tuple[object, ...]  # the most specific first

    def fits(self, path: List[str]) -> bool:
        """Report whether the trigger fits a path in segments."""
        n = len(self.segments)
        if len(path) != n and (len(path) < n or not self.prefix):
            return False
        if self.ignore_case:
            path = [_lower(segment) for segment in path]
        for want, segment in zip(self.segments, path):
            if want != segment and (want is not None or not segment):
                return False
        return not self.begin or len(path) > n and path[n].startswith(self.begin)


def _route(trigger: Trigger) -> Optional[_Route]:
    """Read a trigger. Return None for one that cannot be read."""
    endpoint = _lower(trigger.endpoint) if trigger.ignore_case else trigger.endpoint
    if not endpoint.startswith("/") or any(c <= " " or c in "?#\x7f" for c in endpoint):
        return None
    rest, begin, prefix = endpoint, "", endpoint.endswith("*")
    if prefix:
        begin = endpoint[endpoint.rindex("/") + 1 : -1]
        rest = endpoint[: endpoint.rindex("/") + 1]
    if any(c in "*{}" for c in begin):
        return None
    segments: List[Optional[str]] = []
    for segment in _segments(rest):
        if segment == "*" or _PARAMETER.fullmatch(segment):
            segments.append(None)
        elif segment in ("", ".", "..") or any(c in "*{}" for c in segment):
            return None
        else:
            segments.append(segment)
    method = _method(trigger.method)
    anys = tuple(segment is None for segment in segments)
    rank = (prefix, -len(segments), -len(begin.encode()), anys, not method)
    return _Route(tuple(segments), prefix, begin, trigger.ignore_case, method, rank)


_PARAMETER = re.compile(r"\{[^{}:*]+\}")


def _lower(text: str) -> str:
    # Character by character, as elsewhere: str.lower turns some into two, or looks at neighbours.
    return text.lower() if text.isascii() else "".join(c.lower()[0] for c in text)
