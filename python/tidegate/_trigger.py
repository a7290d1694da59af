"""Finds the gates of a request by their triggers: the one rule of all clients and gateways.

Of the triggers that fit, the most specific decides alone: an exact path before a
prefix, the longer prefix before the shorter, a literal segment before one that stands
for any, a named method before any. Of two that are equal in all of this, the earlier
gate decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ._target import Names, Unreadable, folded, readings, unescaped

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

    def match(self, method: str, targets: Sequence[Names]) -> List[Gate]:
        """Return the gates that a request meets, the most specific first.

        The request's path is judged in every way in which an app may read it (`readings`), and
        each reading meets at most one gate. So an ordinary request meets at most one; one whose
        readings differ must be let through by all. HEAD counts as GET, and OPTIONS is never
        gated. A target is the request's, under each of its names. Raises `Unreadable`.
        """
        if method == "OPTIONS":
            return []
        method = _method(method)
        routes = self._of.get(method, self._of_any)
        if not routes:
            return []
        left = [[_segments(path) for path in names] for names in readings(targets)]
        if len(left) == 1 and len(left[0]) == 1:
            path = left[0][0]
            return next(([gate] for route, gate in routes if route.fits(path)), [])
        met: List[Gate] = []
        for route, gate in routes:
            unmet = [paths for paths in left if not any(map(route.fits, paths))]
            if len(unmet) < len(left) and gate not in met:
                met.append(gate)
            left = unmet
            if not left:
                break
        return met


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
    ignore_case: bool  # all is folded here
    method: str  # upper-case; "": any
    rank: Tuple[object, ...]  # the most specific first

    def fits(self, path: List[str]) -> bool:
        """Report whether the trigger fits a path in segments."""
        n = len(self.segments)
        if len(path) != n and (len(path) < n or not self.prefix):
            return False
        if self.ignore_case:
            path = [folded(segment) for segment in path]
        for want, segment in zip(self.segments, path):
            if want != segment and (want is not None or not segment):
                return False
        return not self.begin or len(path) > n and path[n].startswith(self.begin)


def _route(trigger: Trigger) -> Optional[_Route]:
    """Read a trigger. Return None for one that cannot be read."""
    endpoint = trigger.endpoint
    if not endpoint.startswith("/") or any(c <= " " or c in "?#\x7f" for c in endpoint):
        return None
    try:
        readings([(endpoint,)])
    except Unreadable:
        return None
    rest, begin, prefix = endpoint, "", endpoint.endswith("*")
    if prefix:
        begin = endpoint[endpoint.rindex("/") + 1 : -1]
        rest = endpoint[: endpoint.rindex("/") + 1]
    if any(c in "*{}" for c in begin):
        return None
    plain = _plain(trigger)
    segments: List[Optional[str]] = []
    for segment in _segments(rest):
        if segment == "*" or _PARAMETER.fullmatch(segment):
            segments.append(None)
        elif unescaped(segment) in ("", ".", "..") or any(c in "*{}" for c in segment):
            return None
        else:
            segments.append(plain(segment))
    begin = plain(begin)
    method = _method(trigger.method)
    anys = tuple(segment is None for segment in segments)
    rank = (prefix, -len(segments), -len(begin.encode()), anys, not method)
    return _Route(tuple(segments), prefix, begin, trigger.ignore_case, method, rank)


def _plain(trigger: Trigger) -> Callable[[str], str]:
    return (lambda text: folded(unescaped(text))) if trigger.ignore_case else unescaped


_PARAMETER = re.compile(r"\{[^{}:*]+\}")
