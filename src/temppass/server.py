"""
Listening: sockets, TLS, the ready line, and the bounds on what a stranger can make a connection hold.

uvicorn runs the application; its parser is told here how large a head may be and how long one may take.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
import threading
from asyncio import TimerHandle, Transport
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from temppass import wire
from temppass.store import StoreUnavailable

#: request line and headers together
HEAD_BYTES_MAX = 32_768
#: a head that is not complete by then ends the connection, in seconds
HEAD_WAIT_S = 10
KEEP_ALIVE_S = 60
#: how often recurring resets that nobody asks about are fired, and dead rows swept
TICK_S = 30.0
#: before upkeep that found the store away is taken up again, in seconds
RETRY_S = 1.0
CONNECTIONS_MAX = 10_000

_log = structlog.get_logger("temppass.server")


class _HeadTooLarge(ValueError):
    """The parser turns it into its own error, and uvicorn that into a 400, which becomes a 431."""


class _Parser:
    """
    httptools' parser, to which `Upgrade` means nothing: RFC 9110 §7.8 lets a server ignore it.

    httptools itself drops the body of such a request, and would read it as the next one. Java's HttpClient sends them.
    """

    def __init__(self, protocol: "BoundedProtocol") -> None:
        self._protocol = protocol
        self._renew()

    def feed_data(self, data: bytes) -> None:
        while True:
            try:
                self._feed(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self.is_upgrade():
                    raise
                data = self._protocol.head_without_upgrade() + data[upgrade.args[0] :]
                self._renew()
            else:
                return

    def is_upgrade(self) -> bool:
        return bool(self.should_upgrade()) and self.get_method() != b"CONNECT"

    def _renew(self) -> None:
        parser = httptools.HttpRequestParser(self._protocol)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed = parser.feed_data
        # what uvicorn asks of a parser, several times a request: its own methods, not ours around them
        self.get_http_version, self.get_method = parser.get_http_version, parser.get_method
        self.should_keep_alive, self.should_upgrade = parser.should_keep_alive, parser.should_upgrade


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on the bytes and the time of a head, and without upgrades."""

    #: of a head that was counted, which only one that may be too large is
    _head_bytes = 0
    #: of the chunks that did not complete a head, and of the one that is read now
    _unfinished_bytes = _chunk_bytes = 0
    _head_open = True
    #: the request that is read now asks for an upgrade, so the parser will read its head once more, without that
    _upgrading = False
    _head_timer: TimerHandle | None = None

    parser: _Parser  # type: ignore[assignment]  # it has what uvicorn uses of one

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = _Parser(self)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._chunk_bytes = len(data)
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

    def on_headers_complete(self) -> None:
        if self._unfinished_bytes + self._chunk_bytes > HEAD_BYTES_MAX:
            self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if self._head_bytes > HEAD_BYTES_MAX:
                raise _HeadTooLarge
        self._upgrading = self.parser.is_upgrade()
        if self._upgrading:
            return
        self._head_open, self._unfinished_bytes = False, 0
        self._stop_timer()
        if self.url[:1] != b"/" or b"#" in self.url:  # what ASGI tells only a part of: the edge judges it
            self.scope["target"] = self.url  # type: ignore[typeddict-unknown-key]  # a key of our own
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._upgrading:
            super().on_message_complete()

    def head_without_upgrade(self) -> bytes:
        """Write down the head that was read last."""
        request_line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([request_line, *headers, b"\r\n"])

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


def check_tls(tls: Tls) -> None:
    """Load certificate and key, so that a mistake shows before anything listens. Raises OSError."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind; port 0 picks one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


async def serve(
    app: Any,
    listener: socket.socket,
    tls: Tls | None,
    ready: Callable[[], None],
    tick: Callable[[], Awaitable[None]],
) -> None:
    """
    Answer requests until SIGINT or SIGTERM, then finish those under way.

    `ready` is called once requests are taken; `tick` is called every TICK_S.
    """
    # what start-up made stays: without it in view, collections are short, and 14 % of the time became 2 %
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    server = build(app, tls=tls, ready=ready)
    ticking = asyncio.create_task(_every(TICK_S, tick))
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
        log_level="error",  # what strangers send must not fill the log
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


async def _every(
    interval_s: float,
    tick: Callable[[], Awaitable[None]],
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Call `tick` again and again, sooner while the store is away, which is said once."""
    put_off = False
    while True:
        await pause(RETRY_S if put_off else interval_s)
        try:
            await tick()
            put_off = False
        except StoreUnavailable as error:
            if not put_off:
                _log.warning("upkeep put off until the store answers", reason=str(error))
            put_off = True
        except Exception as error:  # noqa: BLE001 - upkeep that fails must not end what it keeps up
            _log.error("upkeep failed", exc_info=error)
            put_off = False


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Answer uvloop's event loop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
