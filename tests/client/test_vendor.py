"""
The real clients against a vendor that is played by script, over sockets: whatever it answers, a call ends in a value
or in one of our errors, after few requests, and tells no secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import ssl
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.client.vendor import BEGAN, ENDS, HUSH, LATE_S, STATEMENT, STEPS, THROTTLES, Kind, Vendor, vendor

from temppass import (
    ALL_DEVICES,
    AsyncClient,
    Client,
    FileVault,
    MemoryVault,
    Permit,
    ProfileState,
    TempPassError,
    Unreachable,
    Viewer,
)
from temppass.client import exchange, flow
from temppass.client.shell import BODY_BYTES_MAX
from temppass.client.vault import Held

#: how long the tests' clients wait for a piece of an answer, in seconds
PATIENCE_S = 0.6
PASS = ("REF", "TempPassREF")
VIEWER = Viewer("living-room-tv", "viewer@example.net")

#: the public methods, with good arguments
CALLS: dict[str, tuple[Any, ...]] = {
    "register": (),
    "access_token": (),
    "reset_device": (*PASS, "tv"),
    "reset_key": (*PASS, "viewer@example.net"),
    "authorize": (*PASS, VIEWER, ["A", "B"]),
    "preauthorize": (*PASS, VIEWER, ["A"]),
    "profile": (*PASS, VIEWER),
    "configuration": ("REF",),
    "media_token_verifier": (),
}
#: the flows that are not called as the methods are
FLOWS: dict[str, Callable[..., exchange.Flow[Any]]] = {
    "register": flow.registered,
    "preauthorize": flow.authorize,
    "media_token_verifier": flow.key_set,
}


# --- shells with little patience

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the authorities takes longer than most of these tests


class Hasty(httpx2.HTTPTransport):
    def __init__(self) -> None:
        super().__init__(verify=_NO_TLS)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions["timeout"] = httpx2.Timeout(PATIENCE_S).as_dict()
        return super().handle_request(request)


class AsyncHasty(httpx2.AsyncHTTPTransport):
    def __init__(self) -> None:
        super().__init__(verify=_NO_TLS)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions["timeout"] = httpx2.Timeout(PATIENCE_S).as_dict()
        return await super().handle_async_request(request)


Ask = Callable[[Vendor, str], Any]


def ask_client(played: Vendor, call: str) -> Any:
    with Client(played.place, STATEMENT, vault=MemoryVault(), transport=Hasty()) as client:
        return getattr(client, call)(*CALLS[call])


def ask_async_client(played: Vendor, call: str) -> Any:
    async def work() -> Any:
        async with AsyncClient(played.place, STATEMENT, vault=MemoryVault(), transport=AsyncHasty()) as client:
            return await getattr(client, call)(*CALLS[call])

    return asyncio.run(work())


class Patient:
    """A shell over the same sockets that does not wait: it writes down for how long it was asked to."""

    def __init__(self, held: Held | None, patience_s: float) -> None:
        self.held = held
        self.waits: list[float] = []
        self._http = httpx2.Client(transport=httpx2.HTTPTransport(verify=_NO_TLS), timeout=patience_s)

    def play(self, conversation: exchange.Flow[Any]) -> Any:
        came: Any = None
        with self._http:
            while True:
                try:
                    effect = conversation.send(came)
                except StopIteration as end:
                    return end.value
                came = self._do(effect)

    def _do(self, effect: exchange.Effect) -> Any:
        match effect:
            case exchange.Send():
                return self._send(effect)
            case exchange.Wait(seconds):
                self.waits.append(seconds)
            case exchange.Recall():
                return self.held
            case exchange.Remember(held):
                self.held = held
            case exchange.Tell():
                return BEGAN
        return None

    def _send(self, sent: exchange.Send) -> exchange.Answer | exchange.Lost:
        try:
            with self._http.stream(sent.method, sent.url, headers=sent.headers, content=sent.body) as answer:
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > BODY_BYTES_MAX:
                        break
                return exchange.Answer(answer.status_code, dict(answer.headers), body)
        except httpx2.HTTPError as error:
            return exchange.Lost(type(error).__name__, sent=not isinstance(error, httpx2.ConnectError))


def conversation(played: Vendor, call: str) -> exchange.Flow[Any]:
    begin = FLOWS.get(call) or getattr(flow, call)
    more = {"only_ask": True} if call == "preauthorize" else {}
    made: exchange.Flow[Any] = begin(flow.Party(played.place, STATEMENT), *CALLS[call], **more)
    return made


# --- what came of it


def outcome(ask: Callable[[], Any]) -> str:
    """Answer the kind of the value or of the error, and whether it may have been applied."""
    try:
        return type(ask()).__name__
    except Unreachable as error:
        return f"Unreachable, {'maybe' if error.maybe_applied else 'not'} applied"
    except TempPassError as error:
        return type(error).__name__


async def async_outcome(asked: Awaitable[Any]) -> str:
    """The same of what is awaited."""
    try:
        came = await asked
    except TempPassError as error:
        raised = error
    else:
        return type(came).__name__
    return outcome(lambda: _raise(raised))


def _raise(error: TempPassError) -> None:
    raise error


def told(error: BaseException | None) -> Iterator[str]:
    """Answer all that an error and those behind it say."""
    if error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error))
        yield from told(error.__cause__)
        yield from told(error.__context__)


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.args!r} {record.exc_info!r}")


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """Keep what every library logs, down to DEBUG."""
    log, root = Log(), logging.getLogger()
    before = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        yield log.lines
    finally:
        root.setLevel(before)
        root.removeHandler(log)


# --- one script, one outcome

#: of each call: scripts, which go on with good answers, outcomes, and what was asked
TABLE: dict[str, list[tuple[list[str], str, str]]] = {
    "register": [
        ([], "str", "register"),
        (["400 statement"], "CredentialsRefused", "register"),
    ],
    "media_token_verifier": [
        ([], "RequestRefused", "keys"),
        (["array"], "Unreadable", "keys"),
    ],
    "access_token": [
        ([], "str", "register token"),
        (["good 200 s", "good 200 s"], "str", "register token"),
        (["good texts", "good texts"], "str", "register token"),
        (["good bare", "good bare"], "str", "register token"),
        (["good drip", "good drip"], "str", "register token"),
        (["good as html", "good as html"], "str", "register token"),
        (["good", "400 client"], "str", "register token register token"),
        (["good", "403 client"], "str", "register token register token"),
        (["good", "400 client", "good", "400 client"], "CredentialsRefused", "register token register token"),
        (["good", "400 request"], "CredentialsRefused", "register token"),
        (["400 statement"], "CredentialsRefused", "register"),
        (["401 v2"], "CredentialsRefused", "register"),
        (["302"], "CredentialsRefused", "register"),
        (["429 after an hour"], "Throttled", "register"),
        (["500 page"], "ServerFault", "register"),
        (["good", "503 json"], "ServerFault", "register token"),
        (["malformed"], "Unreadable", "register"),
        (["array"], "Unreadable", "register"),
        (["empty"], "Unreadable", "register"),
        (["good", "empty"], "Unreadable", "register token"),
        (["good", "oversized"], "Unreadable", "register token"),
    ],
    "reset_device": [
        (["good", "good", "good"], "ResetDone", "register token reset"),
        (["good", "good", "empty"], "Unreadable", "register token reset"),
        (["good", "good", "401 reset"], "ResetDone", "register token reset token reset"),
        (["good", "good", "401 v2", "good", "401 v2"], "ResetDone",
         "register token reset token reset register token reset"),
        (["good", "good", "401 reset", "400 client"], "ResetDone", "register token reset token register token reset"),
        (["good", "good", "403 client"], "ResetDone", "register token reset register token reset"),
        (["good", "good", "403 client", "good", "good", "403 client"], "NotPermitted",
         "register token reset register token reset"),
        (["good", "good", "403 scope"], "NotPermitted", "register token reset"),
        (["good", "good", "400 request"], "RequestRefused", "register token reset"),
        (["good", "good", "410"], "RequestRefused", "register token reset"),
        (["good", "good", "302"], "RequestRefused", "register token reset"),
        (["good", "good", "429 after an hour"], "Throttled", "register token reset"),
        (["good", "good", "500 page"], "ServerFault", "register token reset"),
        (["good", "good", "cut"], "Unreachable, maybe applied", "register token reset"),
        (["good", "good", "torn"], "Unreachable, maybe applied", "register token reset"),
        (["good", "good", "late"], "Unreachable, maybe applied", "register token reset"),
        (["good", "good", "not gzip"], "Unreadable", "register token reset"),
    ],
    "authorize": [
        (["good", "good", "good 200 s"], "list", "register token authorize"),
        (["good", "good", "good drip"], "list", "register token authorize"),
        (["good", "good", "good as html"], "list", "register token authorize"),
        (["good", "good", "401 v2"], "list", "register token authorize token authorize"),
        (["good", "good", "401 v2", "good", "401 v2"], "list",
         "register token authorize token authorize register token authorize"),
        (["good", "good", "401 v2", "good", "401 v2", "good", "good", "401 v2"], "AccessDenied",
         "register token authorize token authorize register token authorize"),
        (["good", "good", "403 client"], "NotPermitted", "register token authorize"),
        (["good", "good", "500 v2"], "ServerFault", "register token authorize"),
        (["good", "good", "malformed"], "Unreadable", "register token authorize"),
        (["good", "good", "array"], "Unreadable", "register token authorize"),
        (["good", "good", "empty"], "Unreadable", "register token authorize"),
        (["good", "good", "oversized"], "Unreadable", "register token authorize"),
        (["good", "good", "cut"], "Unreachable, maybe applied", "register token authorize"),
    ],
    "profile": [
        (["good", "good", "good texts s"], "ProfileState", "register token profile"),
        (["good", "good", "good bare"], "ProfileState", "register token profile"),
        (["good", "good", "403 time over"], "Deny", "register token profile"),
        (["good", "good", "403 used up"], "Deny", "register token profile"),
        (["good", "good", "403 scope"], "NotPermitted", "register token profile"),
        (["good", "good", "array"], "Unreadable", "register token profile"),
    ],
    "configuration": [
        (["good", "good", "good"], "dict", "register token configuration"),
        (["good", "good", "malformed"], "Unreadable", "register token configuration"),
    ],
}  # fmt: skip
ROWS = [(call, *row) for call, rows in TABLE.items() for row in rows]


@pytest.mark.parametrize("ask", [ask_client, ask_async_client])
@pytest.mark.parametrize(("call", "script", "came", "requests"), ROWS)
def test_each_script_has_one_outcome_after_so_many_requests(
    ask: Ask, call: str, script: list[str], came: str, requests: str
) -> None:
    with vendor(*script) as played:
        assert (outcome(lambda: ask(played, call)), " ".join(played.kinds)) == (came, requests)


def test_the_table_plays_every_step_after_which_nobody_waits_in_earnest() -> None:
    played = {step for _, script, _, _ in ROWS for step in script}
    assert played == STEPS.keys() - THROTTLES


def test_every_public_method_has_a_call() -> None:
    public = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert public - {"close", "play"} == CALLS.keys()


@pytest.mark.parametrize("ask", [ask_client, ask_async_client])
def test_a_host_that_does_not_listen_was_sent_nothing(ask: Ask) -> None:
    with vendor() as played:
        pass
    assert outcome(lambda: ask(played, "reset_device")) == "Unreachable, not applied"


def test_a_429_is_waited_out_for_a_second_and_more() -> None:
    with vendor("good", "good", "429") as played:
        assert (outcome(lambda: ask_client(played, "reset_device")), played.kinds) == (
            "ResetDone", ["register", "token", "reset", "reset"]
        )  # fmt: skip


# --- what goes over the wire


@pytest.mark.parametrize("ask", [ask_client, ask_async_client])
def test_a_reset_goes_to_the_management_host_with_a_token_of_the_service_host(ask: Ask) -> None:
    with vendor() as played:
        ask(played, "reset_device")
    assert [(seen.host, seen.method, seen.path, seen.headers.get("authorization")) for seen in played.seen] == [
        ("sp", "POST", "/o/client/register", None),
        ("sp", "POST", "/o/client/token", None),
        ("mgmt", "DELETE", "/reset-tempass/v3/reset", f"Bearer {HUSH}-token-2"),
    ]


@pytest.mark.parametrize("ask", [ask_client, ask_async_client])
def test_what_is_asked_again_carries_the_new_token(ask: Ask) -> None:
    with vendor("good", "good", "401 v2", "good", "401 v2") as played:
        ask(played, "authorize")
    assert [seen.headers["authorization"] for seen in played.seen if seen.kind == "authorize"] == [
        f"Bearer {HUSH}-token-{number}" for number in (2, 4, 7)
    ]


def test_everybody_is_spelled_out_on_the_wire() -> None:
    with (
        vendor() as played,
        Client(played.place, STATEMENT, vault=MemoryVault(), transport=Hasty()) as client,
    ):
        client.reset_device(*PASS, ALL_DEVICES)
    assert played.seen[-1].query == {"device_id": "all", "requestor_id": "REF", "mvpd_id": "TempPassREF"}


@pytest.mark.parametrize("words", ["good", "good 200 s", "good texts", "good texts s"])
def test_moments_are_the_same_in_whatever_words_they_come(words: str) -> None:
    with vendor("good", "good", words) as decided, vendor("good", "good", words) as shown:
        assert (ask_client(decided, "preauthorize"), ask_client(shown, "profile")) == (
            [Permit("A", BEGAN, ENDS)],
            ProfileState("TempPassREF", BEGAN, ENDS, "temppass_1", remaining=2),
        )


@pytest.mark.parametrize("call", ["reset_device", "authorize"])
def test_the_second_call_asks_for_no_token(call: str) -> None:
    with (
        vendor("good bare", "good bare") as played,
        Client(played.place, STATEMENT, vault=MemoryVault(), transport=Hasty()) as client,
    ):
        for _ in range(2):
            getattr(client, call)(*CALLS[call])
    assert [kind for kind in played.kinds if kind in {"register", "token"}] == ["register", "token"]


# --- any order of steps

#: of a call that finds an empty vault: what comes before it, one renewal, and one registration. In each of the three a
#: token may be refused with `invalid_client`, once, which registers; only a renewal begins with credentials.
REGISTRATIONS_MAX, TOKENS_MAX, ASKED_MAX = 2 + 1 + 2, 2 + 2 + 2, 3
#: each of them is sent so many times at most, where the answer is 429 (contract §11 #5)
TRIES_MAX = 4
REQUESTS_MAX = (REGISTRATIONS_MAX + TOKENS_MAX + ASKED_MAX) * TRIES_MAX


def is_bounded(kinds: list[Kind]) -> bool:
    in_a_row = [len(list(same)) for _, same in itertools.groupby(kinds)]
    return max(in_a_row, default=0) <= TRIES_MAX and len(kinds) <= REQUESTS_MAX


scripts = st.lists(st.sampled_from(sorted(STEPS.keys() - {"late"})), min_size=1, max_size=8)
vaults = st.sampled_from(
    [
        None,
        Held("client-0", f"{HUSH}-secret-0"),
        Held("client-0", f"{HUSH}-secret-0", f"{HUSH}-token-0", BEGAN + 3_600_000),
    ]
)


@settings(max_examples=150, deadline=None)
@given(scripts, st.sampled_from(sorted(CALLS)), vaults, st.booleans())
@example(["429"], "reset_device", None, True)
@example(["good", "good", "late"], "authorize", None, False)
@example(["good", "400 client", "good", "good", "401 v2"], "reset_key", None, True)
def test_any_order_of_answers_ends_in_a_value_or_one_of_our_errors_and_tells_no_secret(
    script: list[str],
    call: str,
    held: Held | None,
    forever: bool,  # noqa: FBT001
) -> None:
    with vendor(*script, forever=forever) as played, logged() as lines:
        shell = Patient(held, LATE_S / 4)
        said: list[str] = []
        try:
            shell.play(conversation(played, call))
        except TempPassError as error:
            said = list(told(error))
    leaks = [text for text in [*said, *lines] if HUSH in text]
    assert (leaks, is_bounded(played.kinds), min(shell.waits, default=1) >= 1) == ([], True, True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(STEPS.keys() - {"late", *THROTTLES})), max_size=8),
    st.sampled_from(sorted(CALLS)),
    st.sampled_from([ask_client, ask_async_client]),
)
def test_so_do_both_clients(script: list[str], call: str, ask: Ask) -> None:
    with vendor(*script) as played, logged() as lines:
        said: list[str] = []
        try:
            ask(played, call)
        except TempPassError as error:
            said = list(told(error))
    leaks = [text for text in [*said, *lines] if HUSH in text]
    assert (leaks, is_bounded(played.kinds)) == ([], True)


# --- secrets


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_shows_no_secret(kind: type[Client | AsyncClient]) -> None:
    vault = MemoryVault()
    with vendor() as played:
        with Client(played.place, STATEMENT, vault=vault, transport=Hasty()) as warm:
            warm.access_token()
        client = kind(played.place, STATEMENT, vault=vault)
        shown = [repr(client), str(client), repr(vault)]
        closed = client.close()
        if closed is not None:
            asyncio.run(closed)
    assert [text for text in shown if HUSH in text] == []


def test_a_vault_is_for_its_owner_only_and_its_names_tell_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    with (
        vendor("good", "400 client") as played,
        Client(played.place, STATEMENT, vault=FileVault(folder), transport=Hasty()) as client,
    ):
        client.access_token()
    modes = {path.suffix or path.name: oct(path.stat().st_mode & 0o777) for path in [folder, *folder.iterdir()]}
    names = [path.name for path in folder.iterdir() if HUSH in path.name]
    assert (modes, names) == ({"vault": "0o700", ".json": "0o600", ".lock": "0o600"}, [])
