"""
Listening: sockets, TLS, the ready line, and the bounds on what a stranger can make a connection hold.

uvicorn runs the application; its parser is told here how large a head may be and how long one may take.
"""

import asyncio
import contextlib
import signal
import socket
import threading
from asyncio import TimerHandle, Transport
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from temppass import wire

#: request line and headers together
HEAD_BYTES_MAX = 32_768
#: a head that is not complete by then ends the connection, in seconds
HEAD_WAIT_S = 10
KEEP_ALIVE_S = 60
CONNECTIONS_MAX = 10_000


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on the bytes and the time of a head."""

    #: of the lines that the parser has seen whole
    _head_bytes = 0
    #: of the chunks that did not complete a head
    _unfinished_bytes = 0
    _head_open = True
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._head_open or self.transport.is_closing():
            return
        self._unfinished_bytes += len(data)
        if self._unfinished_bytes > HEAD_BYTES_MAX:  # one endless line, of which the parser says nothing yet
            self._head_bytes = self._unfinished_bytes
            self.send_400_response("")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._give_up)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes, self._head_open = 0, True

    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open, self._unfinished_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes <= HEAD_BYTES_MAX:
            super().send_400_response(msg)
            return
        body = wire.encode(
            wire.PlainError(
                "header_fields_too_large", f"Request line and headers have at most {HEAD_BYTES_MAX} bytes.", 431
            )
        )
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json;charset=UTF-8\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        self.transport.close()

    def _grow(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError("head too large")  # the parser turns it into its own error, and that into a 431

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Tls(NamedTuple):
    certificate: Path
    key: Path


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind; port 0 picks one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


async def serve(
    app: Any,
    listener: socket.socket,
    *,
    tls: Tls | None,
    ready: Callable[[], None],
    tick: Callable[[], Awaitable[None]],
    tick_s: float,
) -> None:
    """
    Answer requests until SIGINT or SIGTERM, then finish those under way.

    `ready` is called once requests are taken; `tick` is called every `tick_s` seconds.
    """
    server = build(app, tls=tls, ready=ready)
    ticking = asyncio.create_task(_every(tick_s, tick))
    try:
        await server.serve(sockets=[listener])
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


def build(app: Any, *, tls: Tls | None, ready: Callable[[], None]) -> "uvicorn.Server":
    """Answer a server that takes requests once its `serve` runs, and stops when its `should_exit` is set."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # uvicorn's would write query strings, which name viewers
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=10,
        limit_concurrency=CONNECTIONS_MAX,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    return _Server(config, ready)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Stop on SIGINT and SIGTERM; unlike uvicorn, end quietly after that instead of raising them once more."""
        if threading.current_thread() is not threading.main_thread():
            yield  # somebody else's program: its signals are its own
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def _every(interval_s: float, tick: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(interval_s)
        await tick()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Answer uvloop's event loop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
