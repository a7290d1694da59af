"""The ASGI middleware: finds the gate of a request, blocks or records."""

from __future__ import annotations

import inspect
import logging
import re
from typing import TYPE_CHECKING, Any, Awaitable, Callable, List, MutableMapping, Optional, Set, Tuple
from urllib.parse import unquote

from ._answer import Answer, blocked, no_customer, not_an_id, unreadable
from ._decision import Decision
from ._later import no_decision
from ._target import Names, Unreadable

if TYPE_CHECKING:
    from ._client import Tidegate

log = logging.getLogger("tidegate")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where a request's `Passage` is in its scope.
SCOPE_KEY = "tidegate"


class Passage:
    """One request: its customer, and the uses to record when it succeeds."""

    def __init__(self, gate: Tidegate, customer: Optional[Callable[[Any], Any]]) -> None:
        self._gate, self._customer = gate, customer
        self._uses: Set[Tuple[str, str]] = set()  # customer, event: by trigger and by name is one use

    async def customer_of(self, scope: Scope) -> Optional[Any]:
        """The customer that the app names, None for a visitor without one."""
        if self._customer is None:
            return None
        from starlette.requests import Request

        who = self._customer(Request(scope))
        if inspect.isawaitable(who):
            who = await who
        return None if who == "" else who

    def enter(self, customer: Any, feature: str) -> Decision:
        """Check, and note the use. Only counts can be noted: the app knows other values."""
        d, gate = self._gate.check(customer, feature), self._gate.gate(feature)
        if d.allowed and (gate is None or gate.aggregate == "count"):
            self._uses.add((d.customer, gate.event if gate is not None else feature))
        return d

    def succeeded(self) -> None:
        """Record the uses."""
        uses, self._uses = self._uses, set()
        for customer, event in uses:
            try:
                self._gate.record_nowait(customer, event)
            except Exception:  # the user has been served: nothing of ours may spoil the answer
                log.exception("tidegate: a use of %r was not recorded", event)


class TidegateMiddleware:
    """Pure ASGI; `Tidegate.install` adds it to an app, others wrap theirs with it.

    A request that fits the trigger of a gate is blocked if the gate blocks its customer;
    otherwise one use is recorded as its answer begins, if that is 2xx or 3xx. Requests of
    the first `wait` seconds wait for the first decisions, unless the app's start has.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Tidegate,
        customer: Optional[Callable[[Any], Any]] = None,
        allow_anonymous: bool = False,
        wait: float = 2.0,
    ) -> None:
        self.app, self.gate, self.customer = app, gate, customer
        self.allow_anonymous, self.wait = allow_anonymous, wait
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. Anything but HTTP passes."""
        if scope["type"] != "http" or self.gate.disabled:
            await self.app(scope, receive, send)
            return
        if scope["method"] != "OPTIONS":
            await self.gate._synced(self.wait)
        passage = Passage(self.gate, self.customer)
        scope[SCOPE_KEY] = passage
        refusal = await self._refusal(scope, passage)
        if refusal is not None:
            headers, body = refusal.encode()
            await send({"type": "http.response.start", "status": refusal.document["status"], "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return

        async def watching(message: Message) -> None:
            # Before the answer goes out: a next request must already find the use counted.
            if message["type"] == "http.response.start" and 200 <= message["status"] < 400:
                passage.succeeded()
            await send(message)

        await self.app(scope, receive, watching)

    async def _refusal(self, scope: Scope, passage: Passage) -> Optional[Answer]:
        if self.gate.refuses_all and self.customer is not None:
            return await self._closed(scope, passage)
        try:
            gates = self.gate._meets(scope["method"], targets(scope))
        except Unreadable:
            return unreadable()
        if not gates:
            return None
        if self.customer is None:
            if not self._warned:
                self._warned = True
                log.warning("tidegate: install has no customer=, so the triggers limit nobody")
            return None
        customer = await passage.customer_of(scope)
        if customer is None:
            return None if self.allow_anonymous else no_customer(gates[0].feature)
        try:
            decisions = [passage.enter(customer, gate.feature) for gate in gates]
        except ValueError as error:
            return not_an_id(error)
        return next((blocked(d) for d in decisions if not d.allowed), None)

    async def _closed(self, scope: Scope, passage: Passage) -> Optional[Answer]:
        """With fail="closed" and unknown triggers every request of a customer might be gated."""
        if scope["method"] == "OPTIONS":
            return None
        try:
            if await passage.customer_of(scope) is None:
                return None
        except Exception:
            log.debug("tidegate: the customer of a request is not known", exc_info=True)
        return blocked(no_decision("", "", allowed=False))


def targets(scope: Scope) -> List[Names]:
    """A request's target as it was sent and as the app sees it, each with and without its mount.

    One that the server has decoded, and nobody has changed, is a reading of the one that was sent.
    """
    path, sent = scope["path"], (scope.get("raw_path") or b"").decode("utf-8", "surrogateescape")
    root = (scope.get("root_path") or "").rstrip("/")
    found = [sent] if sent else []
    if not sent or path not in _names(unquote(sent.split("?", 1)[0]), root):
        found.append(_MARKS.sub(_escaped, path))
    return [_names(target, root) for target in found]


def _names(target: str, root: str) -> Names:
    # Servers and versions of Starlette differ in whether the path still has the mount.
    if not root:
        return (target,)
    return (target, target[len(root) :] if target == root or target.startswith(root + "/") else root + target)


_MARKS = re.compile("[%?# ]")  # which mean nothing more in a decoded path


def _escaped(mark: "re.Match[str]") -> str:
    return f"%{ord(mark.group()):02X}"
