"""The server of the page: on this machine alone, and for those alone who know the token in its address.

A request must name this server as its host, so that no name of a stranger's can stand for it; it must not come from
another page; and its path must begin with the token. Everything else is refused before it is read.
"""

import contextlib
import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from minigan.errors import MiniganError, OutputError
from minigan.live.commands import LARGEST, read_command
from minigan.live.session import Session
from minigan.support.threads import start_thread

__all__ = ["LiveServer"]

ADDRESS = "127.0.0.1"
BEAT = 5.0  # seconds after which a page that was closed is noticed
PATIENCE = 10.0  # seconds for a request, or for a page to read
MOST_CONNECTIONS = 32
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RefusedError(Exception):
    """A request that is refused."""

    def __init__(self, status: HTTPStatus, text: str, allow: str = "") -> None:
        super().__init__(text)
        self.status, self.text, self.allow = status, text, allow


class LiveServer(ThreadingHTTPServer):
    """Serves the page of a session, in threads of its own. The port is taken at once, and free after `close`.

    Args:
        page: HTML.
        port: 0 takes a free one.
    Attributes:
        session: is given the commands; sends the events.
        token: the secret of the address.
    Raises:
        OutputError: the port is taken, or may not be used.
    """

    daemon_threads = True
    request_queue_size = 16

    session: Session

    def __init__(self, page: str, *, port: int = 0) -> None:
        self.page = page.encode()
        self.token = secrets.token_urlsafe(24)
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        try:
            super().__init__((ADDRESS, port), partial(Handler, live=self))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"port {port}: {reason}. Choose another `port`, or 0 for a free one.") from None

    @property
    def address(self) -> str:
        """The page's address, with the token."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which requests may call this server."""
        return f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}"

    @contextlib.contextmanager
    def serving(self, session: Session) -> Iterator[None]:
        """A context in which the page shows and steers a session."""
        self.session = session
        start_thread(threading.Thread(target=self.serve_forever, name="minigan-live", daemon=True))
        try:
            yield
        finally:
            session.hub.close()
            self.shutdown()

    def close(self) -> None:
        """Frees the port."""
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread, unless there are too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a page that was closed in the middle of an answer is no error."""


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of a connection.

    Args:
        live: the server.
    """

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "minigan", ""
    timeout = PATIENCE

    def __init__(self, request: socket.socket, client_address: Any, server: Any, *, live: LiveServer) -> None:
        self.live = live
        super().__init__(request, client_address, server)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Writes nothing: the terminal is the training's."""

    def do_GET(self) -> None:
        """The page, or its events."""
        with self._refusals():
            match self._place():
                case "":
                    self._answer(HTTPStatus.OK, self.live.page, kind="text/html; charset=utf-8")
                case "events":
                    self._events()
                case "do":
                    raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "POST a command.", "POST")
                case _:
                    raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page.")

    def do_POST(self) -> None:
        """A command."""
        with self._refusals():
            if self._place() != "do":
                raise RefusedError(HTTPStatus.NOT_FOUND, "commands go to `do`.")
            self.live.session.submit(read_command(self._body()))
            self._answer(HTTPStatus.NO_CONTENT)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """All other methods of HTTP are refused."""
        if name.startswith("do_"):
            return lambda: self._refuse(RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "GET or POST.", "GET, POST"))
        raise AttributeError(name)

    # ------------------------------------------------------------------------------------------ who may enter

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """A context in which a request is refused by raising an error."""
        try:
            yield
        except RefusedError as refused:
            self._refuse(refused)
        except MiniganError as error:
            self._refuse(RefusedError(HTTPStatus.BAD_REQUEST, str(error)))

    def _place(self) -> str:
        """The part of the path behind the token.

        Raises:
            RefusedError: somebody may not enter.
        """
        if self.headers.get_all("Host") not in [[host] for host in self.live.hosts]:
            raise RefusedError(HTTPStatus.FORBIDDEN, "this server is called by its own address only.")
        origins = [f"http://{host}" for host in self.live.hosts]
        if any(origin not in origins for origin in self.headers.get_all("Origin", [])):
            raise RefusedError(HTTPStatus.FORBIDDEN, "no other page may call this server.")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "no other page may call this server.")
        _, _, rest = self.path.partition("/")
        token, slash, place = rest.partition("/")
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self.live.token.encode())
        if not (known and slash):
            raise RefusedError(HTTPStatus.FORBIDDEN, "the address needs its token: copy it from the terminal.")
        return place

    def _body(self) -> bytes:
        """The request's content.

        Raises:
            RefusedError: it is too long, of another type, or not all there.
        """
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json.")
        if self.headers.get("Transfer-Encoding") is not None:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length.")
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()) or len(lengths[0]) > 9:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "send one Content-Length.")
        if int(lengths[0]) > LARGEST:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a command has at most {LARGEST} bytes.")
        text = self.rfile.read(int(lengths[0]))
        if len(text) < int(lengths[0]):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the command is cut off.")
        return text

    # ------------------------------------------------------------------------------------------ answers

    def _events(self) -> None:
        """Events, until the page is closed or the training ends."""
        client = self.live.session.hub.join()
        if client is None:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too many pages are open. Close one.")
        self.close_connection = True
        try:
            self.send_response(HTTPStatus.OK)
            self._send_headers({"Content-Type": "text/event-stream; charset=utf-8", "Connection": "close"})
            self.live.session.welcome(client)
            while (events := client.take(BEAT)) is not None:
                self.wfile.write(b"".join(events) or b":\n\n")
                self.wfile.flush()
        except OSError:  # the page was closed
            pass
        finally:
            self.live.session.hub.leave(client)

    def _refuse(self, refused: RefusedError) -> None:
        """Says no, and reads nothing more from the connection."""
        self.close_connection = True
        more = {"Connection": "close", **({"Allow": refused.allow} if refused.allow else {})}
        self._answer(refused.status, json.dumps({"error": refused.text}).encode(), kind="application/json", more=more)

    def _answer(self, status: HTTPStatus, content: bytes = b"", *, kind: str = "", more: Any = None) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            typed = {"Content-Type": kind} if kind else {}
            sized = {} if status == HTTPStatus.NO_CONTENT else {"Content-Length": str(len(content))}
            self._send_headers({**typed, **sized, **(more or {})})
            if self.command != "HEAD":
                self.wfile.write(content)

    def _send_headers(self, headers: dict[str, str]) -> None:
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuses a request that is no HTTP: all of them are the caller's fault."""
        self.command = getattr(self, "command", None) or ""
        status = HTTPStatus(code) if 400 <= code < 500 else HTTPStatus.BAD_REQUEST
        self._refuse(RefusedError(status, message or explain or "this is no request of HTTP."))
