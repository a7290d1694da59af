"""The parts that need FastAPI or Starlette; `Tidegate.install` and `.require` import them."""

# No `from __future__ import annotations`: FastAPI reads the annotations of dependencies,
# and could not find names that are local to a function.
import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Dict, Optional

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from ._answer import CONTENT_TYPE, Answer, blocked, no_customer, not_an_id
from ._decision import Decision
from ._later import no_decision
from ._middleware import SCOPE_KEY, Passage, TidegateMiddleware

if TYPE_CHECKING:
    from ._client import Tidegate


class Blocked(HTTPException):
    """Raised by `Tidegate.require`: `problem` is the document of the answer, `decision` says why.

    `decision` is None when the request names no customer (401) or an impossible one (400).

    In an app with `install` the answer is application/problem+json; an app that wants
    another one registers a handler of its own for this class. In a mounted app without
    `install` it is FastAPI's usual one, with the same status and headers.
    """

    def __init__(
        self, problem: Dict[str, Any], headers: Optional[Dict[str, str]] = None, decision: Optional[Decision] = None
    ) -> None:
        headers = headers or {"Cache-Control": "no-store"}
        super().__init__(status_code=problem["status"], detail=problem["detail"], headers=headers)
        self.decision, self.problem = decision, problem


async def answer(request: Request, error: Blocked) -> Response:
    """The exception handler that `install` registers."""
    headers, body = Answer(error.problem, dict(error.headers or {})).encode()
    response = Response(body, status_code=error.status_code, media_type=CONTENT_TYPE)
    response.raw_headers = headers
    return response


def install(
    gate: "Tidegate", app: Any, customer: Optional[Callable[[Any], Any]], allow_anonymous: bool, wait: float
) -> None:
    """See `Tidegate.install`."""
    if getattr(app, "middleware_stack", None) is not None:
        raise RuntimeError("install must come before the app's first request")
    # At the end, which is the innermost: add_middleware puts later ones outside.
    app.user_middleware.append(
        Middleware(TidegateMiddleware, gate=gate, customer=customer, allow_anonymous=allow_anonymous, wait=wait)
    )
    app.exception_handlers.setdefault(Blocked, answer)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(owner: Any) -> AsyncIterator[Any]:
        await asyncio.to_thread(gate.wait_synced, wait)
        try:
            # FastAPI before 0.93 ignores lifespan=, but its router has always had this context,
            # and on_event handlers run inside it.
            async with inner(owner) as state:
                yield state
        finally:
            await gate.close()

    app.router.lifespan_context = lifespan


def requirement(gate: "Tidegate", feature: str, customer: Optional[Callable[..., Any]]) -> Callable[..., Any]:
    """See `Tidegate.require`."""
    if customer is None:

        async def asked(request: Request) -> Decision:
            passage = _passage(gate, request)
            return _enter(passage, feature, await passage.customer_of(request.scope) if passage else None)

        return asked

    from fastapi import Depends

    async def given(request: Request, who: Any = Depends(customer)) -> Decision:
        return _enter(_passage(gate, request), feature, who)

    return given


def _passage(gate: "Tidegate", request: Request) -> Optional[Passage]:
    """None where nothing is gated: in a disabled app, and for OPTIONS."""
    if gate.disabled or request.method == "OPTIONS":
        return None
    passage: Optional[Passage] = request.scope.get(SCOPE_KEY)
    if passage is None:
        raise RuntimeError("require needs the middleware: call gate.install(app, customer=...) first")
    return passage


def _enter(passage: Optional[Passage], feature: str, who: Any) -> Decision:
    if passage is None:
        return no_decision("" if who is None else str(who), feature, allowed=True)
    if who is None or who == "":
        raise Blocked(*no_customer(feature))
    try:
        d = passage.enter(who, feature)
    except ValueError as error:
        raise Blocked(*not_an_id(error)) from error
    if not d.allowed:
        raise Blocked(*blocked(d), decision=d)
    return d
