"""The pages that watch: events go to each of them, and one that reads slowly misses frames, never holds up training."""

import json
import threading
from collections.abc import Mapping
from typing import Any

__all__ = ["Client", "Hub"]

MOST_CLIENTS = 8
MOST_WAITING = 64  # events of a page that does not read


class Client:
    """One page.

    An event replaces an earlier one of its kind that was not read yet.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, kind: str, event: bytes) -> None:
        """Adds an event."""
        with self._changed:
            self._waiting.pop(kind, None)
            if len(self._waiting) < MOST_WAITING:
                self._waiting[kind] = event
            self._changed.notify()

    def take(self, timeout: float) -> list[bytes] | None:
        """The events that wait, perhaps none after so many seconds; None once the page is to be closed."""
        with self._changed:
            if not self._waiting and not self._is_closed:
                self._changed.wait(timeout)
            events = list(self._waiting.values())
            self._waiting.clear()
            return None if self._is_closed and not events else events

    def close(self) -> None:
        """Ends it, once it has read what waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()


class Hub:
    """All pages."""

    def __init__(self) -> None:
        self._clients: tuple[Client, ...] = ()
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def is_watched(self) -> bool:
        """Whether there is any page."""
        return bool(self._clients)

    def join(self) -> Client | None:
        """A new page; None if there are too many, or the training has ended."""
        with self._lock:
            if len(self._clients) >= MOST_CLIENTS or self._is_closed:
                return None
            client = Client()
            self._clients = (*self._clients, client)
            return client

    def leave(self, client: Client) -> None:
        """A page that was closed."""
        with self._lock:
            self._clients = tuple(other for other in self._clients if other is not client)

    def send(self, kind: str, data: Mapping[str, Any], *, to: Client | None = None) -> None:
        """Sends an event to all pages, or to one."""
        clients = self._clients if to is None else (to,)
        if clients:
            event = f"event: {kind}\ndata: {json.dumps(data, allow_nan=False, separators=(',', ':'))}\n\n".encode()
            for client in clients:
                client.put(kind, event)

    def close(self) -> None:
        """Ends all of them."""
        with self._lock:
            self._is_closed = True
            for client in self._clients:
                client.close()
