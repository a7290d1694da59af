"""The one class that apps use."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import uuid
import weakref
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence
from urllib.parse import quote

import httpx

from ._decision import Decision
from ._errors import TidegateError
from ._gate import Gate
from ._later import no_decision
from ._runtime import Runtime, Status
from ._target import Names
from ._usage import Draft, Value, customer_id

if TYPE_CHECKING:
    from typing import Literal

log = logging.getLogger("tidegate")

_all: "weakref.WeakSet[Tidegate]" = weakref.WeakSet()


class Tidegate:
    """Connects an app to a running Tidegate.

    Decisions are followed and usage is delivered by two background threads, which
    begin with the first use (or the app's start, see `install`) in every process, also
    after a fork; so each worker of uvicorn or gunicorn has its own. `check`,
    `record_nowait` and the middleware work on memory alone and never wait for the
    network. Everything may be called from any thread and any event loop.

    `url` and `api_key` default to the environment's `TIDEGATE_URL` (else
    http://127.0.0.1:8080) and `TIDEGATE_API_KEY`; the key needs the scopes `events`
    and `read`. `fail` decides before the first sync, and for features that no gate has;
    a gate's own `fail: closed` counts as well once it is known. `source` names this
    service: customer, source and id identify an event. `queue` bounds how many uses
    wait for delivery.

    With `TIDEGATE_DISABLED=1` everything is allowed and nothing recorded.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        api_key: Optional[str] = None,
        *,
        fail: Literal["open", "closed"] = "open",
        source: str = "python",
        queue: int = 10_000,
    ) -> None:
        if fail not in ("open", "closed"):
            raise ValueError(f"fail is 'open' or 'closed', not {fail!r}")
        if queue < 1:
            raise ValueError("queue is at least 1")
        self.url = (url or os.environ.get("TIDEGATE_URL") or "http://127.0.0.1:8080").rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url {self.url!r} must begin with http:// or https://")
        self.disabled = os.environ.get("TIDEGATE_DISABLED", "").lower() in ("1", "true", "yes", "on")
        self.source = source
        self._closed_by_default = fail == "closed"
        self._queue = queue
        key = api_key or os.environ.get("TIDEGATE_API_KEY")
        self._headers: Dict[str, str] = {"Authorization": f"Bearer {key}"} if key else {}
        self._running: Optional[Runtime] = None
        self._lock = threading.Lock()
        _all.add(self)

    # Life

    def start(self) -> None:
        """Begin to follow decisions and to deliver usage, if that has not begun."""
        if not self.disabled:
            self._runtime()

    def wait_synced(self, timeout: float = 2.0) -> bool:
        """Wait for the first decisions, or until the first attempt to reach Tidegate fails; True if they are here."""
        if self.disabled:
            return True
        runtime = self._runtime()
        runtime.follower.tried.wait(timeout)
        return runtime.cache.synced.is_set()

    async def _synced(self, wait: float) -> None:
        """Let a request wait for the first decisions, where no start of the app has done so."""
        patience = 0.0 if self.disabled else self._runtime().patience(wait)
        if patience:
            await asyncio.to_thread(self.wait_synced, patience)

    def flush_sync(self, timeout: float = 5.0) -> bool:
        """Wait until all recorded uses are stored; False if they aren't after `timeout` seconds."""
        running = self._running
        return running is None or running.outbox.flush(timeout)

    async def flush(self, timeout: float = 5.0) -> bool:
        """`flush_sync` without blocking the event loop."""
        return await asyncio.to_thread(self.flush_sync, timeout)

    def close_sync(self, timeout: float = 5.0) -> None:
        """Deliver the queued uses and end the threads. Any later call begins anew."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.stop(timeout)

    async def close(self, timeout: float = 5.0) -> None:
        """`close_sync` without blocking the event loop."""
        await asyncio.to_thread(self.close_sync, timeout)

    def status(self) -> Status:
        """Whether decisions arrive, how old they are, and how many uses were delivered, wait or were lost."""
        running = self._running
        return running.status() if running is not None else Status()

    def _runtime(self) -> Runtime:
        running = self._running
        if running is not None:
            return running
        with self._lock:
            if self._running is None:
                running = Runtime(self.url, self._headers, self._closed_by_default, self._queue)
                running.start()
                self._running = running
            return self._running

    def _forked(self) -> None:
        # The threads stay in the parent, which also delivers the uses that it has queued.
        self._lock, self._running = threading.Lock(), None

    # Questions

    def check(self, customer: Any, feature: str) -> Decision:
        """Whether the customer may use the feature now: a read of memory.

        Counts nothing. `customer` is the app's own id (made a string); ValueError if
        it can't be one.
        """
        who = customer_id(customer)
        if self.disabled:
            return no_decision(who, feature, allowed=True)
        return self._runtime().check(who, feature)

    def triggered(self, method: str, *targets: str) -> List[Gate]:
        """The gates that a request meets by its triggers.

        A target is the request's path as it was sent; give several if the request has
        several, such as with and without the prefix under which the app is mounted.
        Almost always there is at most one gate. A path that can be read in several ways may
        meet several, the most specific first: each must let the request through. Raises
        ValueError for a path that cannot be read: refuse the request.
        """
        return self._meets(method, [targets])

    def _meets(self, method: str, targets: Sequence[Names]) -> List[Gate]:
        if self.disabled:
            return []
        gates = self._runtime().cache.gates
        return gates.routes.match(method, targets) if gates is not None else []

    def gate(self, feature: str) -> Optional[Gate]:
        """The gate of a feature, None when there is none or the gates are not known yet."""
        if self.disabled:
            return None
        gates = self._runtime().cache.gates
        return gates.by_feature.get(feature) if gates is not None else None

    @property
    def refuses_all(self) -> bool:
        """Whether the triggers are not known yet and `fail` is closed."""
        return not self.disabled and self._closed_by_default and self._runtime().cache.gates is None

    # Reports

    def record_nowait(
        self,
        customer: Any,
        event: str,
        *,
        value: Optional[Value] = None,
        id: Optional[str] = None,
        time: Optional[datetime] = None,
        properties: Optional[Mapping[str, Any]] = None,
    ) -> str:
        """Record one use and return its id; it is delivered in the background.

        `event` is the type of event that the gate meters. `value` is the number of sum
        and max meters (not negative, at most 9 decimal places, floats are rounded) or the
        value that unique meters compare; it goes where the gate looks for it in the
        event's data.
        With an `id` of the app's own, such as an order's number, the same use counts
        once however often it is recorded. `time` defaults to now. `properties` is
        further data, a mapping that JSON can hold. ValueError or TypeError when
        Tidegate could never take it.
        """
        draft = Draft(
            id=id if id is not None else uuid.uuid4().hex,
            source=self.source,
            event=event,
            customer=customer_id(customer),
            time=time if time is not None else datetime.now(timezone.utc),
            value=value,
            properties=properties,
        )
        body = draft.check()
        if not self.disabled:
            self._runtime().record(draft, body)
        return draft.id

    async def record(
        self,
        customer: Any,
        event: str,
        *,
        value: Optional[Value] = None,
        id: Optional[str] = None,
        time: Optional[datetime] = None,
        properties: Optional[Mapping[str, Any]] = None,
    ) -> str:
        """`record_nowait`, to be awaited like the rest; it does not wait for delivery (see `flush`)."""
        return self.record_nowait(customer, event, value=value, id=id, time=time, properties=properties)

    def identify_sync(
        self,
        customer: Any,
        *,
        email: Optional[str] = None,
        locale: Optional[str] = None,
        anchor: Optional[datetime] = None,
        stripe_customer: Optional[str] = None,
        timeout: float = 10.0,
    ) -> None:
        """Tell Tidegate a customer's mail address, language, start of windows or id at Stripe.

        `anchor` and `stripe_customer` need a key with the scope `admin`. Waits for the
        answer, and tries again for `timeout` seconds while Tidegate can't be reached.
        Raises TidegateError when Tidegate refused it or the time is over.
        """
        who = customer_id(customer)
        known = {
            "email": email,
            "locale": locale,
            "anchor": anchor.isoformat() if anchor is not None else None,
            "stripe_customer": stripe_customer,
        }
        body = {name: value for name, value in known.items() if value is not None}
        if self.disabled or not body:
            return
        self._put(f"/v1/customers/{quote(who, safe='')}", body, timeout)

    async def identify(
        self,
        customer: Any,
        *,
        email: Optional[str] = None,
        locale: Optional[str] = None,
        anchor: Optional[datetime] = None,
        stripe_customer: Optional[str] = None,
        timeout: float = 10.0,
    ) -> None:
        """`identify_sync` without blocking the event loop."""
        await asyncio.to_thread(
            self.identify_sync,
            customer,
            email=email,
            locale=locale,
            anchor=anchor,
            stripe_customer=stripe_customer,
            timeout=timeout,
        )

    def _put(self, path: str, body: Mapping[str, Any], timeout: float) -> None:
        deadline, pause = time.monotonic() + timeout, 0.1
        with httpx.Client(timeout=timeout) as client:
            while True:
                status: Optional[int] = None
                try:
                    response = client.put(self.url + path, json=body, headers=self._headers)
                    status = response.status_code
                    if status < 300:
                        return
                    why = response.text[:500]
                    if status < 500 and status != 429:
                        raise TidegateError(f"{self.url}{path} answered {status}: {why}", status)
                except httpx.HTTPError as error:
                    why = str(error) or repr(error)
                if time.monotonic() + pause > deadline:
                    raise TidegateError(f"{self.url}{path} gave no good answer in {timeout:g} s: {why}", status)
                time.sleep(pause)
                pause = min(pause * 2, 2.0)

    # Frameworks

    def install(
        self,
        app: Any,
        customer: Optional[Callable[[Any], Any]] = None,
        *,
        allow_anonymous: bool = False,
        wait: float = 2.0,
    ) -> None:
        """Put the middleware into a FastAPI or Starlette app and hook into its start and end.

        `customer` takes the request and returns (or awaits) the customer's id, None for
        a visitor without one: gated requests are then answered with 401 or, with
        `allow_anonymous`, left to the app, unlimited and uncounted. It runs inside all
        middlewares that the app adds, in whatever order, so it sees `request.state` as
        they leave it, but nothing that dependencies find out (for these see `require`).
        At its start the app waits up to `wait` seconds for the first decisions, and
        starts without them when Tidegate can't be reached. A mounted app has no start of
        its own: there the first requests wait so long.
        """
        from .fastapi import install

        install(self, app, customer, allow_anonymous, wait)

    def require(self, feature: str, customer: Optional[Callable[..., Any]] = None) -> Callable[..., Any]:
        """A FastAPI dependency: `Depends(gate.require("reports"))` gives the `Decision`.

        Blocked raises `tidegate.fastapi.Blocked`, which answers 402 (403 when the feature
        is not in the plan). Allowed, one use is recorded if the answer is a success (2xx
        or 3xx) and the gate counts uses; for other meters the app records the value. The
        middleware sees the answer, so `install` is needed. `customer` is a dependency of
        the app that returns the customer's id, such as `current_user_id`; without it the
        one given to `install` is asked.
        """
        from .fastapi import requirement

        return requirement(self, feature, customer)


def _after_fork_in_child() -> None:
    for each in list(_all):
        each._forked()


def _at_exit() -> None:
    for each in list(_all):
        each.close_sync()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
