"""Follows GET /v1/decisions in a thread of its own, until `stop`."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from typing import Dict, Iterator, Optional, Tuple

import httpx

from ._cache import Cache

log = logging.getLogger("tidegate")

#: Seconds without any sign of life (Tidegate sends one every 15) after which a
#: connection counts as dead.
SILENCE = 45.0
_LONGEST_PAUSE = 5.0


class EventParser:
    """Takes server-sent events out of a stream of bytes, however it is cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._name, self._id, self._data = "", "", ""
        self._more = False

    def feed(self, chunk: bytes) -> Iterator[Tuple[str, str, str]]:
        """Yield (name, data, id) of every event that ends in `chunk`."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", "replace")
            if not text:
                if self._more:
                    yield self._name or "message", self._data, self._id
                self._name, self._id, self._data, self._more = "", "", "", False
                continue
            field, _, value = text.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "data":
                self._data = f"{self._data}\n{value}" if self._more else value
                self._more = True
            elif field == "event":
                self._name = value
            elif field == "id":
                self._id = value


class Follower:
    """Keeps the cache current; connects again whenever the connection ends."""

    def __init__(self, url: str, headers: Dict[str, str], cache: Cache) -> None:
        self.tried = threading.Event()  # the first attempt is over, however it ended
        self._url, self._headers, self._cache = url + "/v1/decisions", headers, cache
        self._stopped = threading.Event()
        self._socket: Optional[socket.socket] = None
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="tidegate-decisions", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the connection and wait for the thread."""
        self._stopped.set()
        wire = self._socket
        if wire is not None:
            try:
                wire.shutdown(socket.SHUT_RDWR)  # wakes the thread, which reads from it
            except (OSError, ValueError):
                pass  # it is closed already
        self._thread.join(timeout)

    def _run(self) -> None:
        pause = 0.1
        with httpx.Client(timeout=httpx.Timeout(5.0, read=SILENCE)) as client:
            while not self._stopped.is_set():
                began = time.monotonic()
                try:
                    self._follow(client)
                except Exception as error:  # whatever it is, connect again
                    self._warn(error)
                finally:
                    self._socket = None
                    self._cache.disconnected()
                    self.tried.set()
                pause = 0.1 if time.monotonic() - began > 2 * _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
                self._stopped.wait(pause * random.uniform(0.5, 1.0))

    def _follow(self, client: httpx.Client) -> None:
        headers = {**self._headers, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if self._cache.last_id:
            headers["Last-Event-ID"] = self._cache.last_id
        with client.stream("GET", self._url, headers=headers) as response:
            if response.status_code != 200:
                raise httpx.HTTPError(f"{self._url} answered {response.status_code}")
            wire = response.extensions.get("network_stream")
            self._socket = wire.get_extra_info("socket") if wire is not None else None
            self._cache.connected()
            parser = EventParser()
            for chunk in response.iter_raw():
                if self._stopped.is_set():
                    return
                self._cache.last_heard = time.monotonic()
                for name, data, event_id in parser.feed(chunk):
                    self._cache.apply(name, data, event_id)
                    if name == "synced":
                        self._recovered()

    def _recovered(self) -> None:
        if self._warned:
            log.info("tidegate: decisions arrive again")
        self._warned = False
        self.tried.set()

    def _warn(self, error: Exception) -> None:
        if self._stopped.is_set() or self._warned:
            return
        self._warned = True
        log.warning(
            "tidegate: no decisions from %s, the last known ones hold: %s", self._url, str(error) or repr(error)
        )
