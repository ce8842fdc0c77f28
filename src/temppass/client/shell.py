"""
Two thin shells that play conversations: one waits with the thread, one with the event loop. Nothing else differs.

No request takes longer than its shell's `timeout_s`, however its answer comes. httpx2 bounds each read, and a server
that sends a byte a second never lets one of them end: so the event loop has a timeout, and the thread puts the time
that is left into each wait for the network.
"""

import asyncio
import contextlib
import math
import ssl
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from temppass.client.exchange import Answer, Effect, Flow, Lost, Send, Wait

T = TypeVar("T")

#: seconds to connect, and to wait for each piece of an answer
CONNECT_WAIT_S = 5
PIECE_WAIT_S = 10
#: seconds for one request in all, from connecting to the last byte of its answer, unless the caller says otherwise
ANSWER_WAIT_S = 60
#: bodies beyond this are cut off, in bytes
BODY_BYTES_MAX = 4_194_304
#: a body that is packed is not read: unpacked it has no bound (RFC 9110 §12.5.3)
_HEADERS = {"Accept-Encoding": "identity"}

_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.InvalidURL,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
)


class _Shell:
    """What both shells are made of."""

    def __init__(self, timeout_s: float) -> None:
        if not 0 < timeout_s < math.inf:
            raise ValueError(f"timeout_s is a number of seconds above 0, not {timeout_s}")
        self._timeout_s = timeout_s

    def _at_once(self, effect: Effect, ending: contextlib.ExitStack) -> object:  # noqa: ARG002 - for who holds something
        """Do what takes no waiting; `ending` ends with the flow, however that ends."""
        raise AssertionError(effect)


class Shell(_Shell):
    """Plays conversations and waits with the thread; safe to share between threads."""

    def __init__(
        self, *, transport: httpx2.BaseTransport | None, verify: ssl.SSLContext | str | bool, timeout_s: float
    ) -> None:
        super().__init__(timeout_s)
        self._http = httpx2.Client(
            transport=transport,
            timeout=_patience(timeout_s),
            verify=verify,
            trust_env=transport is None,
            headers=_HEADERS,
        )

    def close(self) -> None:
        """Close the connections; what the vault keeps stays. A closed client sends nothing more."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def play(self, conversation: Flow[T]) -> T:
        """Play a flow of this library, or one of your own; answer what it answers, raise what it raises."""
        with contextlib.ExitStack() as ending:
            came: object = None
            while True:
                try:
                    effect = conversation.send(came)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # a Flow[T] ends with a T
                match effect:
                    case Send():
                        came = self._send(effect)
                    case Wait(seconds):
                        time.sleep(seconds)
                        came = None
                    case _:
                        came = self._at_once(effect, ending)

    def _send(self, request: Send) -> Answer | Lost:
        extensions = {"trace": _bound_waits}
        try:
            method, url, headers, content = _parts(request)
            with (
                _within(self._timeout_s),
                self._http.stream(method, url, headers=headers, content=content, extensions=extensions) as answer,
            ):
                body = bytearray()
                for piece in answer.iter_bytes() if _is_plain(answer) else ():
                    body += piece
                    if len(body) > BODY_BYTES_MAX:
                        break
                    _left_s()
                return _answer(answer, body)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            return _lost(error, self._timeout_s)


class AsyncShell(_Shell):
    """The same for one event loop; safe to share between its tasks."""

    def __init__(
        self, *, transport: httpx2.AsyncBaseTransport | None, verify: ssl.SSLContext | str | bool, timeout_s: float
    ) -> None:
        super().__init__(timeout_s)
        self._http = httpx2.AsyncClient(
            transport=transport,
            timeout=_patience(timeout_s),
            verify=verify,
            trust_env=transport is None,
            headers=_HEADERS,
        )

    async def close(self) -> None:
        """As Shell.close."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def play(self, conversation: Flow[T]) -> T:
        """As Shell.play."""
        with contextlib.ExitStack() as ending:
            came: object = None
            while True:
                try:
                    effect = conversation.send(came)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # a Flow[T] ends with a T
                match effect:
                    case Send():
                        came = await self._send(effect)
                    case Wait(seconds):
                        await asyncio.sleep(seconds)
                        came = None
                    case _:
                        came = self._at_once(effect, ending)

    async def _send(self, request: Send) -> Answer | Lost:
        try:
            method, url, headers, content = _parts(request)
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(method, url, headers=headers, content=content) as answer,
            ):
                body = bytearray()
                if _is_plain(answer):
                    async for piece in answer.aiter_bytes():
                        body += piece
                        if len(body) > BODY_BYTES_MAX:
                            break
                return _answer(answer, body)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            return _lost(error, self._timeout_s)


def _patience(timeout_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(min(PIECE_WAIT_S, timeout_s), connect=min(CONNECT_WAIT_S, timeout_s))


#: when the request that this thread has under way has to be over, by the monotonic clock
_ENDS_AT: ContextVar[float] = ContextVar("_ENDS_AT", default=math.inf)


@contextlib.contextmanager
def _within(timeout_s: float) -> Iterator[None]:
    before = _ENDS_AT.set(time.monotonic() + timeout_s)
    try:
        yield
    finally:
        _ENDS_AT.reset(before)


def _left_s() -> float:
    """Answer how much time is left, in seconds. Raises TimeoutError where there is none."""
    left_s = _ENDS_AT.get() - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _bound_waits(event: str, info: dict[str, Any]) -> None:
    """Bound each wait on a connection by the time that is left, from when it is made (httpcore2, extension `trace`)."""
    if event.endswith(("connect_tcp.complete", "start_tls.complete")):
        stream = info["return_value"]
        stream.read, stream.write = _bounded(stream.read), _bounded(stream.write)


def _bounded(wait: Callable[..., Any]) -> Callable[..., Any]:
    def bounded(what: object, timeout: float | None = None) -> Any:
        left_s = _left_s()
        return wait(what, timeout=left_s if timeout is None else min(timeout, left_s))

    return bounded


def _parts(request: Send) -> tuple[str, httpx2.URL, dict[str, str], bytes | None]:
    """
    Answer method, URL, headers and body: names under `.localhost` are this machine (RFC 6761 §6.3), also where the
    system's resolver does not know that.
    """
    url, headers = httpx2.URL(request.url), request.headers
    if url.scheme == "http" and url.host.endswith(".localhost"):
        headers = {**headers, "Host": url.netloc.decode("ascii")}
        url = url.copy_with(host="127.0.0.1")
    return request.method, url, headers, request.body or None


def _is_plain(answer: httpx2.Response) -> bool:
    return answer.headers.get("content-encoding", "identity") == "identity"


def _answer(answer: httpx2.Response, body: bytearray) -> Answer:
    return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, bytes(body))


def _lost(error: TimeoutError | httpx2.HTTPError | httpx2.InvalidURL, timeout_s: float) -> Lost:
    match error:
        case TimeoutError():
            return Lost(f"the answer was not whole after {timeout_s:g} s", sent=True)
        case httpx2.LocalProtocolError():  # its text repeats the header that could not be sent
            return Lost("the request cannot be sent", sent=False)
    return Lost(str(error) or type(error).__name__, sent=not isinstance(error, _NOT_SENT))
