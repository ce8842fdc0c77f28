"""
Two thin shells that play the flows: one waits with the thread, one with the event loop. Nothing else differs.

No request takes longer than its client's `timeout_s`, however its answer comes. httpx2 bounds each read, and a server
that sends a byte a second never lets one of them end: so the event loop has a timeout, and the thread puts the time
that is left into each wait for the network.
"""

import asyncio
import contextlib
import math
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx2
import platformdirs

from temppass.client import flow
from temppass.client.errors import InvalidTarget
from temppass.client.flow import (
    Answer,
    Deny,
    Effect,
    Everybody,
    Flow,
    Hold,
    Lost,
    Party,
    Permit,
    ProfileState,
    Recall,
    Release,
    Remember,
    ResetDone,
    Send,
    Tell,
    Viewer,
    Wait,
)
from temppass.client.place import Place
from temppass.client.vault import FileVault, Vault, vault_name

if TYPE_CHECKING:
    from temppass.core.tokens import MediaTokenVerifier

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


def default_vault() -> FileVault:
    """Answer the vault of this user, in the folder for state (XDG_STATE_HOME)."""
    return FileVault(Path(platformdirs.user_state_dir("temppass")))


class _Common:
    """What both shells are made of: whom they speak for, and the flows under their names."""

    def __init__(self, place: Place, software_statement: str, *, vault: Vault | None, timeout_s: float) -> None:
        statement = software_statement.strip()
        if not statement:
            raise InvalidTarget("the software statement is empty")
        if not 0 < timeout_s < math.inf:
            raise ValueError(f"timeout_s is a number of seconds above 0, not {timeout_s}")
        self._timeout_s = timeout_s
        self._party = Party(place, statement)
        self._vault = vault if vault is not None else default_vault()
        self._entry = vault_name(place.name, statement)

    def _at_once(self, effect: Effect, ending: contextlib.ExitStack) -> object:
        """Do what takes no waiting; `ending` lets the vault go when the flow ends, however it ends."""
        match effect:
            case Hold():
                let_go = self._vault.hold(self._entry)
                if let_go is not None:
                    ending.callback(let_go)
                return let_go is not None
            case Release():
                ending.close()
                return None
            case Recall():
                return self._vault.recall(self._entry)
            case Remember(held):
                self._vault.remember(self._entry, held)
                return None
            case Tell():
                return time.time_ns() // 1_000_000
            case _:
                raise AssertionError(effect)


class Client(_Common):
    """
    Speak with the service at `place` for the application of a software statement; safe to share between threads.

    `place` is one of ENVIRONMENTS, or `place_at(url)`. `vault` keeps credentials and token between runs: files of this
    user's unless given. `transport` stands in for the network (httpx2), in tests for instance; `verify` is as httpx2
    has it: a context of TLS, a file of authorities, or False for none. `timeout_s` bounds each request in seconds, from
    connecting to the last byte of its answer; one call makes several where it has to register or to renew a token,
    and waits between them where it is throttled. Close a client, or use it as a context manager.

    A channel is named by its `requestor` id, a pass by its `mvpd` id, as on the wire. Every call raises a TempPassError
    where there is no answer (client/errors.py draws the tree): InvalidTarget before anything is sent;
    CredentialsRefused, AccessDenied and NotPermitted where the application is not let in; RequestRefused, Throttled,
    ServerFault, Unreadable and Unreachable for the rest; VaultError where credentials cannot be kept.

    Source: contract §3, §5, §6, §11; RFC 6749 §4.4, RFC 7591 §3.
    """

    def __init__(
        self,
        place: Place,
        software_statement: str,
        *,
        vault: Vault | None = None,
        transport: httpx2.BaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        timeout_s: float = ANSWER_WAIT_S,
    ) -> None:
        super().__init__(place, software_statement, vault=vault, timeout_s=timeout_s)
        self._http = httpx2.Client(
            transport=transport,
            timeout=_patience(timeout_s),
            verify=verify,
            trust_env=transport is None,
            headers=_HEADERS,
        )

    def register(self) -> str:
        """
        Register anew, keep the credentials in place of the old ones, answer the client id. Other calls register by
        themselves, once.

        Source: RFC 7591 §3.
        """
        return self.play(flow.registered(self._party))

    def media_token_verifier(self) -> "MediaTokenVerifier":
        """
        Fetch the service's public keys, and answer what checks media tokens with them, offline. Keep it, and fetch it
        anew where a token answers INVALID_SIGNATURE. The vendor publishes no keys: RequestRefused.

        Source: RFC 7517 §5.
        """
        return _verifier(self.play(flow.key_set(self._party)))

    def access_token(self) -> str:
        """
        Answer an access token that is good for a minute at least: the one that is kept, or a new one. It is a secret.

        Source: RFC 6749 §4.4.
        """
        return self.play(flow.access_token(self._party))

    def reset_device(self, requestor: str, mvpd: str, device_id: str | bytes | Everybody) -> ResetDone:
        """
        Make one device, or ALL_DEVICES, new to a pass; idempotent.

        `device_id` is the decoded id, text or bytes, at most 1,024 bytes. Raises InvalidTarget, with nothing sent, for
        an empty one and for "all", which the wire reads as everybody. A promotional viewer is new only after
        `reset_key` too.

        Source: contract §5.1.
        """
        return self.play(flow.reset_device(self._party, requestor, mvpd, device_id))

    def reset_key(self, requestor: str, mvpd: str, user_key: str | Everybody) -> ResetDone:
        """
        Make one user key, or ALL_KEYS, new to a promotional pass; idempotent.

        `user_key` is a SHA-2 digest in hex, or the text that it is the SHA-256 of, exactly as the application hashes
        it: what is sent is always a digest. Raises InvalidTarget, with nothing sent, for an empty one.

        Source: contract §5.2.
        """
        return self.play(flow.reset_key(self._party, requestor, mvpd, user_key))

    def authorize(self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]) -> list[Permit | Deny]:
        """
        Decide titles; the first permit begins the trial.

        Answers one Permit, with a media token, or Deny for each of `resources`, in their order: a denial is an answer
        and raises nothing. Raises InvalidTarget for a viewer or a list that is empty.

        Source: contract §6.2.
        """
        return self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources))

    def preauthorize(self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]) -> list[Permit | Deny]:
        """
        Judge titles for a catalogue page; begin and consume nothing. Arguments and answers are those of `authorize`,
        without media tokens; each title is judged alone.

        Source: contract §6.3.
        """
        return self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources, only_ask=True))

    def profile(self, requestor: str, mvpd: str, viewer: Viewer) -> ProfileState | Deny:
        """
        Answer the state of a trial, or a Deny with the limit that it has reached; begin nothing. Moments are in Unix
        milliseconds.

        Source: contract §6.4.
        """
        return self.play(flow.profile(self._party, requestor, mvpd, viewer))

    def configuration(self, requestor: str) -> dict[str, Any]:
        """
        Answer the channel's configuration as the wire has it, JSON decoded: its passes are under `requestor.mvpds`.

        Source: contract §6.7.
        """
        return self.play(flow.configuration(self._party, requestor))

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
        """Play a flow of flow.py, or one of your own; answer what it answers, raise what it raises."""
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


class AsyncClient(_Common):
    """The same as Client, for one event loop; safe to share between its tasks."""

    def __init__(
        self,
        place: Place,
        software_statement: str,
        *,
        vault: Vault | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        timeout_s: float = ANSWER_WAIT_S,
    ) -> None:
        super().__init__(place, software_statement, vault=vault, timeout_s=timeout_s)
        self._http = httpx2.AsyncClient(
            transport=transport,
            timeout=_patience(timeout_s),
            verify=verify,
            trust_env=transport is None,
            headers=_HEADERS,
        )

    async def register(self) -> str:
        """As Client.register."""
        return await self.play(flow.registered(self._party))

    async def media_token_verifier(self) -> "MediaTokenVerifier":
        """As Client.media_token_verifier."""
        return _verifier(await self.play(flow.key_set(self._party)))

    async def access_token(self) -> str:
        """As Client.access_token."""
        return await self.play(flow.access_token(self._party))

    async def reset_device(self, requestor: str, mvpd: str, device_id: str | bytes | Everybody) -> ResetDone:
        """As Client.reset_device."""
        return await self.play(flow.reset_device(self._party, requestor, mvpd, device_id))

    async def reset_key(self, requestor: str, mvpd: str, user_key: str | Everybody) -> ResetDone:
        """As Client.reset_key."""
        return await self.play(flow.reset_key(self._party, requestor, mvpd, user_key))

    async def authorize(
        self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]
    ) -> list[Permit | Deny]:
        """As Client.authorize."""
        return await self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources))

    async def preauthorize(
        self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]
    ) -> list[Permit | Deny]:
        """As Client.preauthorize."""
        return await self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources, only_ask=True))

    async def profile(self, requestor: str, mvpd: str, viewer: Viewer) -> ProfileState | Deny:
        """As Client.profile."""
        return await self.play(flow.profile(self._party, requestor, mvpd, viewer))

    async def configuration(self, requestor: str) -> dict[str, Any]:
        """As Client.configuration."""
        return await self.play(flow.configuration(self._party, requestor))

    async def close(self) -> None:
        """As Client.close."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def play(self, conversation: Flow[T]) -> T:
        """As Client.play."""
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


def _verifier(keys: dict[str, Any]) -> "MediaTokenVerifier":
    from temppass.core.tokens import MediaTokenVerifier  # noqa: PLC0415 - cryptography takes long to import

    return MediaTokenVerifier(keys)


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
