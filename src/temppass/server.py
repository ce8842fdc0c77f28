"""
Listening: sockets, handshakes, descriptors, the ready line. uvicorn runs the application.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import structlog
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from temppass.connection import HEAD_WAIT_S, KEEP_ALIVE_S, LINGER_S, BoundedProtocol
from temppass.crowd import Crowd
from temppass.store import StoreUnavailable

#: where nothing could be accepted, this long until the next try, in seconds
ACCEPT_AGAIN_S = 0.1
_ENDS = (signal.SIGINT, signal.SIGTERM)
#: how often it is told how many connections made room for others, in seconds
DROPS_TOLD_S = 30.0
#: before upkeep that found the store away is taken up again, in seconds
RETRY_S = 1.0
#: of one process
CONNECTIONS_MAX = 10_000
#: descriptors that are no connections: the store, the log, connections that are told that there is no room
DESCRIPTORS_SPARE = 256

_log = structlog.get_logger("temppass.server")


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


def behind(app: Any, proxies: Sequence[str]) -> Any:
    """
    Answer an application that is told by `proxies`, networks in CIDR notation, by which scheme a client came and from
    where: of `X-Forwarded-For`, from right to left, the first that is none of them.
    """
    return ProxyHeadersMiddleware(app, trusted_hosts=[*proxies]) if proxies else app


async def serve(
    app: Any,
    listeners: Sequence[socket.socket],
    tls: Tls | None,
    ready: Callable[[], None],
    upkeep: Sequence[tuple[float, Callable[[], Awaitable[None]]]],
) -> None:
    """
    Answer requests until SIGINT or SIGTERM, then finish those under way.

    `ready` is called once requests are taken; `upkeep` has what is to be done again and again, each with its pause in
    seconds.
    """
    connections_max = _connections_max()
    # what start-up made stays: without it in view, collections are short, and 14 % of the time became 2 %
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    server = build(app, tls=tls, ready=ready, connections_max=connections_max)

    async def tell_of_drops() -> None:
        crowd = server.server_state
        crowd.dropped, dropped = 0, crowd.dropped
        if dropped:
            _log.warning("connections made room", connections=dropped, connections_max=connections_max)

    kept_up = [asyncio.create_task(_every(pause_s, work)) for pause_s, work in [*upkeep, (DROPS_TOLD_S, tell_of_drops)]]
    try:
        await server.serve(sockets=[*listeners])
    finally:
        for task in kept_up:
            task.cancel()
        await asyncio.gather(*kept_up, return_exceptions=True)


def build(app: Any, *, tls: Tls | None, ready: Callable[[], None], connections_max: int = CONNECTIONS_MAX) -> "_Server":
    """Answer a server that takes requests once its `serve` runs, and stops when its `should_exit` is set."""
    logging.getLogger("uvicorn.error").addFilter(_untold)
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
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    return _Server(config, ready, connections_max)


def _untold(record: logging.LogRecord) -> bool:
    """Tell what uvicorn says of its own from what the application raised, which has told it with its trace."""
    return record.exc_info is None


def _connections_max() -> int:
    """Raise the limit of descriptors as far as it is needed and allowed; answer for how many connections it will do."""
    try:
        import resource  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return CONNECTIONS_MAX
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return min(CONNECTIONS_MAX, max(soft - DESCRIPTORS_SPARE, soft // 2))


class _Server(uvicorn.Server):
    server_state: Crowd

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], connections_max: int) -> None:
        super().__init__(config)
        self.server_state = Crowd(connections_max)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.is_ssl and sockets:
            doors = [_TlsListener(listener, self.config, self.server_state) for listener in sockets]
            self.servers = cast("list[asyncio.Server]", doors)  # of which uvicorn uses no more than they have
            self.started = True
        else:
            await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """
        Stop on SIGINT and SIGTERM; unlike uvicorn, end quietly after that instead of raising them once more. Those that
        come then are ignored: what is left to do is short, and would be cut off.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # somebody else's program: its signals are its own
            return
        for number in _ENDS:  # not by the loop, which would let them end the process for a moment in between
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number in _ENDS:
                signal.signal(number, signal.SIG_IGN)


class _TlsListener:
    """Accepts connections and waits for their handshakes, which uvicorn would neither bound nor count."""

    def __init__(self, listener: socket.socket, config: uvicorn.Config, crowd: Crowd) -> None:
        listener.setblocking(False)
        self._listener, self._config, self._crowd = listener, config, crowd
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._accept())

    def close(self) -> None:
        self._task.cancel()
        for handshake in tuple(self._crowd.handshakes):
            handshake.drop()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._task])

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # no descriptor is left, or who called has hung up
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            protocol = BoundedProtocol(self._config, self._crowd, {}, self._loop)
            protocol.crowded = not self._crowd.admit(self._loop.time())
            if self._crowd.overflows():
                connection.close()
            else:
                self._crowd.handshakes.add(_Handshake(connection, self._config.ssl, protocol))


class _Handshake:
    """A connection until TLS works; then it is `protocol` that counts."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None, protocol: BoundedProtocol) -> None:
        self._connection, self._context, self._protocol = connection, context, protocol
        self._since = protocol.loop.time()
        self._task = protocol.loop.create_task(self._open())
        self._task.add_done_callback(self._end)

    def waits_since(self) -> float | None:
        return self._since

    def drop(self) -> None:
        self._end(self._task)
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # uvloop does not close what is cancelled before its first byte

    async def _open(self) -> None:
        with contextlib.suppress(OSError):  # they do not speak TLS, do not finish, or have hung up
            await self._protocol.loop.connect_accepted_socket(
                lambda: self._protocol,
                self._connection,
                ssl=self._context,
                ssl_handshake_timeout=HEAD_WAIT_S,
                ssl_shutdown_timeout=LINGER_S,
            )

    def _end(self, _task: asyncio.Task[None]) -> None:
        self._protocol.server_state.handshakes.discard(self)


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
