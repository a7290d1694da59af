"""The ASGI middleware: finds the gates of a request, blocks or records."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, MutableMapping, Optional, Set, Tuple

from ._decision import Decision, Gate
from ._problem import encode, headers_of, nobody, not_an_id, problem_of

if TYPE_CHECKING:
    from ._client import Tidegate

log = logging.getLogger("tidegate")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where a request's `Passage` stands in its scope.
SCOPE_KEY = "tidegate"
_NO_STORE = {"Cache-Control": "no-store"}


class Passage:
    """One request on its way through the gates; what is to be recorded when it succeeds."""

    def __init__(self, gate: Tidegate, customer: Optional[Callable[[Any], Any]]) -> None:
        self._gate, self._customer = gate, customer
        self._uses: Set[Tuple[str, str]] = set()  # customer, event: two gates of one event are one use

    async def customer_of(self, scope: Scope) -> Optional[Any]:
        """The customer whom the app names, None for a visitor without one."""
        if self._customer is None:
            return None
        from starlette.requests import Request

        who = self._customer(Request(scope))
        if inspect.isawaitable(who):
            who = await who
        return None if who is None or who == "" else who

    def enter(self, customer: Any, feature: str, gate: Optional[Gate]) -> Decision:
        """Check, and note the use. Only counts can be noted: other values are the app's to know."""
        d = self._gate.check(customer, feature)
        if d.allowed and (gate is None or gate.aggregate == "count"):
            self._uses.add((d.customer, gate.event if gate is not None else feature))
        return d

    def succeeded(self) -> None:
        """Record what was noted."""
        uses, self._uses = self._uses, set()
        for customer, event in uses:
            try:
                self._gate.record_nowait(customer, event)
            except Exception:  # the user has been served: nothing of ours may spoil the answer
                log.exception("tidegate: a use of %r was not recorded", event)


class TidegateMiddleware:
    """Pure ASGI; `Tidegate.install` adds it to an app, others wrap theirs with it.

    A request that fits triggers is blocked if one of their gates blocks its customer;
    otherwise one use of each is recorded as its answer begins, if that is 2xx or 3xx.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Tidegate,
        customer: Optional[Callable[[Any], Any]] = None,
        allow_anonymous: bool = False,
    ) -> None:
        self.app, self.gate, self.customer = app, gate, customer
        self.allow_anonymous = allow_anonymous
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; what is not HTTP passes."""
        if scope["type"] != "http" or self.gate.disabled:
            await self.app(scope, receive, send)
            return
        passage = Passage(self.gate, self.customer)
        scope[SCOPE_KEY] = passage
        refusal = await self._refusal(scope, passage)
        if refusal is not None:
            await _answer(send, *refusal)
            return

        async def watching(message: Message) -> None:
            # Before the answer goes out: a next request must already find the use counted.
            if message["type"] == "http.response.start" and 200 <= message["status"] < 400:
                passage.succeeded()
            await send(message)

        await self.app(scope, receive, watching)

    async def _refusal(self, scope: Scope, passage: Passage) -> Optional[Tuple[Dict[str, Any], Dict[str, str]]]:
        if self.gate.refuses_all and self.customer is not None:
            return await self._closed(scope, passage)
        gates = _gates_of(self.gate, scope)
        if not gates:
            return None
        if self.customer is None:
            if not self._warned:
                self._warned = True
                log.warning("tidegate: install has no customer=, so the triggers limit nobody")
            return None
        customer = await passage.customer_of(scope)
        if customer is None:
            return None if self.allow_anonymous else (nobody(), _NO_STORE)
        for gate in gates:
            try:
                d = passage.enter(customer, gate.feature, gate)
            except ValueError as error:
                return not_an_id(error), _NO_STORE
            if not d.allowed:
                return problem_of(d), headers_of(d)
        return None

    async def _closed(self, scope: Scope, passage: Passage) -> Optional[Tuple[Dict[str, Any], Dict[str, str]]]:
        """With fail="closed" and unknown triggers every request of a customer might be gated."""
        try:
            if await passage.customer_of(scope) is None:
                return None
        except Exception:
            log.debug("tidegate: the customer of a request is not known", exc_info=True)
        d = self.gate.check("-", "-")
        return {**problem_of(d), "feature": None}, headers_of(d)


def _gates_of(gate: Tidegate, scope: Scope) -> Tuple[Gate, ...]:
    """The gates of a request, by its path with and without the mount that a server may put before it."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    found = gate.triggered(scope["method"], path)
    if root and path.startswith(root + "/"):
        found += tuple(g for g in gate.triggered(scope["method"], path[len(root) :]) if g not in found)
    return found


async def _answer(send: Send, document: Dict[str, Any], more: Dict[str, str]) -> None:
    headers, body = encode(document, more)
    await send({"type": "http.response.start", "status": document["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
