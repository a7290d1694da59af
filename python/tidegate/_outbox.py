"""Delivers usage in a thread of its own: a bounded queue, batches, retries with the same ids."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Dict, List, Optional, Set

import httpx

from ._ledger import Entry, Ledger

log = logging.getLogger("tidegate")

#: Tidegate's own bounds are 10,000 events and 8 MiB a request.
BATCH_EVENTS = 1000
BATCH_BYTES = 4 << 20
#: Seconds that a first event waits for others.
LINGER = 0.005
_LONGEST_PAUSE = 5.0
_LONGEST_RETRY_AFTER = 30.0  # the longest Retry-After that is obeyed
_EXPIRE = 2.0


@dataclass
class Use:
    """One event on its way."""

    id: str
    encode: Callable[[], Optional[bytes]]  # None: it cannot be encoded before the gates are known
    entries: List[Entry] = field(default_factory=list)
    body: Optional[bytes] = None


@dataclass
class Counts:
    """How many events ended in which way; every event ends in exactly one."""

    delivered: int = 0
    rejected: int = 0
    dropped: int = 0


class Outbox:
    """Takes events without waiting and delivers them in the order in which they came."""

    def __init__(
        self,
        url: str,
        headers: Dict[str, str],
        ledger: Ledger,
        fetch_gates: Callable[[httpx.Client], None],
        expire: Callable[[], None],
        size: int,
    ) -> None:
        """Call `fetch_gates` where an event needs them, and `expire` every few seconds; both in the thread."""
        self.counts = Counts()
        self._url = url + "/v1/events"
        self._headers = {**headers, "Content-Type": "application/json"}
        self._ledger, self._fetch_gates, self._expire, self._size = ledger, fetch_gates, expire, size
        self._expired = time.monotonic()
        self._changed = threading.Condition()
        self._queue: Deque[Use] = deque()
        self._in_flight: List[Use] = []
        self._deadline: Optional[float] = None  # set by stop
        self._abandoned = False
        self._overflowing = False
        self._warned = False
        self._named: Set[str] = set()  # event types without a gate that were logged
        self._thread = threading.Thread(target=self._run, name="tidegate-usage", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def add(self, use: Use) -> None:
        """Queue an event. When the queue is full the oldest one is dropped, counted and logged."""
        lost: Optional[Use] = None
        with self._changed:
            if self._queue and len(self._queue) + len(self._in_flight) >= self._size:
                lost = self._queue.popleft()
                self.counts.dropped += 1
            self._queue.append(use)
            first = lost is not None and not self._overflowing
            self._overflowing = self._overflowing or first
            self._changed.notify_all()
        if lost is not None:
            self._ledger.take_back(lost.entries)
        if first:
            log.error("tidegate: %d uses wait, the oldest are dropped from now on: see status().dropped", self._size)

    def waiting(self) -> int:
        """How many events have not been acknowledged."""
        with self._changed:
            return len(self._queue) + len(self._in_flight)

    def flush(self, timeout: float) -> bool:
        """Wait until everything is acknowledged; False when time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._in_flight, timeout)

    def stop(self, timeout: float) -> None:
        """Deliver the queued events and end. After `timeout` seconds the rest is dropped."""
        with self._changed:
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout + 0.2)
        with self._changed:
            self._abandoned = True
            left = len(self._in_flight) + len(self._queue)
            self._queue.clear()
            self.counts.dropped += left
        if left:
            log.error("tidegate: %d uses could not be delivered before closing and are lost", left)

    def _run(self) -> None:
        hooks = {"response": [_no_delay]}
        with httpx.Client(timeout=httpx.Timeout(5.0, read=20.0), event_hooks=hooks) as client:
            while self._take():
                pause = 0.1
                while self._in_flight and not self._over():
                    wait = self._attempt(client)
                    if wait is not None:
                        self._rest(max(wait, pause * random.uniform(0.5, 1.0)))
                        pause = min(pause * 2, _LONGEST_PAUSE)

    def _take(self) -> bool:
        """Wait for events and make them the batch in flight; False when it is time to end."""
        with self._changed:
            while not self._queue and self._deadline is None:
                self._changed.wait(_EXPIRE)
                self._expire_now_and_then()
            if self._deadline is None:
                self._changed.wait_for(lambda: self._deadline is not None or len(self._queue) >= BATCH_EVENTS, LINGER)
            if not self._queue or self._over():
                return False
            while self._queue and len(self._in_flight) < BATCH_EVENTS:
                self._in_flight.append(self._queue.popleft())
        self._expire_now_and_then()
        return True

    def _expire_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._expired >= _EXPIRE:
            self._expired = now
            self._expire()

    def _over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _rest(self, seconds: float) -> None:
        with self._changed:
            if self._deadline is None:
                self._changed.wait_for(lambda: self._deadline is not None, seconds)
            else:
                self._changed.wait_for(self._over, min(seconds, 0.2))

    def _attempt(self, client: httpx.Client) -> Optional[float]:
        """Deliver the batch in flight once. Return how many seconds to wait before the rest is tried again, or None."""
        try:
            if not all(self._encoded(use) for use in self._in_flight):
                self._fetch_gates(client)
                return None if all(self._encoded(use) for use in self._in_flight) else 1.0
            while self._in_flight:
                self._post(client, self._part())
        except _Refused as refused:
            self._warn(str(refused))
            return min(refused.wait, _LONGEST_RETRY_AFTER)
        except Exception as error:  # the network, most often; usage is kept whatever it is
            self._warn(str(error) or repr(error))
            return 0.0
        if self._warned:
            log.info("tidegate: usage is delivered again")
        self._warned = self._overflowing = False
        return None

    @staticmethod
    def _encoded(use: Use) -> bool:
        if use.body is None:
            use.body = use.encode()
        return use.body is not None

    def _part(self) -> List[Use]:
        """As much of the batch as one request may hold."""
        size = 0
        part: List[Use] = []
        for use in self._in_flight:
            size += len(use.body or b"") + 1
            if part and size > BATCH_BYTES:
                break
            part.append(use)
        return part

    def _post(self, client: httpx.Client, part: List[Use]) -> None:
        body = b"[" + b",".join(use.body or b"" for use in part) + b"]"
        response = client.post(self._url, content=body, headers=self._headers)
        answer = _object(response)
        if response.status_code == 202 or response.status_code == 400 and answer.get("rejected"):
            self._finish(part, answer)
        elif response.status_code in (400, 413) and len(part) > 1:
            self._post(client, part[: len(part) // 2])
            self._post(client, part[len(part) // 2 :])
        elif response.status_code in (400, 413):
            self._finish(part, {"rejected": [{"index": 0, "error": answer.get("detail", response.text[:200])}]})
        else:
            raise _Refused(response, answer)

    def _finish(self, part: List[Use], answer: Dict[str, Any]) -> None:
        refused = {r["index"]: r.get("error", "") for r in answer.get("rejected") or []}
        bad = [use for i, use in enumerate(part) if i in refused]
        good = [use for i, use in enumerate(part) if i not in refused]
        self._ledger.acknowledge([e for use in good for e in use.entries], time.monotonic())
        self._ledger.take_back([e for use in bad for e in use.entries])
        if bad:
            why = next(iter(refused.values()))
            log.error("tidegate: %d of %d events can't count, the first is %s: %s", len(bad), len(part), bad[0].id, why)
        for name in answer.get("unmetered") or []:
            if name not in self._named:
                self._named.add(name)
                log.warning("tidegate: no gate meters the event %r", name)
        with self._changed:
            if self._abandoned:
                return  # stop has counted these as dropped
            del self._in_flight[: len(part)]
            self.counts.delivered += len(good)
            self.counts.rejected += len(bad)
            self._changed.notify_all()

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("tidegate: usage is not delivered for now and will be tried again: %s", why)


def _no_delay(response: httpx.Response) -> None:
    """Send the following requests on this connection at once.

    httpx before 0.25 leaves Nagle's algorithm on and writes headers and body apart, so
    that the body waits 40 ms for the headers' acknowledgement.
    """
    wire = response.extensions.get("network_stream")
    connection = wire.get_extra_info("socket") if wire is not None else None
    if connection is not None:
        with contextlib.suppress(OSError, AttributeError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Refused(Exception):
    """Tidegate cannot take a batch now; the same events will be sent again."""

    def __init__(self, response: httpx.Response, answer: Dict[str, Any]) -> None:
        super().__init__(f"{response.request.url} answered {response.status_code}: {answer.get('detail', '')}")
        after = response.headers.get("Retry-After", "")
        # A wrong key or address needs a person: there is no hurry.
        self.wait = float(after) if after.isdigit() else 5.0 if response.status_code < 500 else 0.0


def _object(response: httpx.Response) -> Dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
