"""
The conversations, played by script: what is sent, in which order, after which answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from temppass.client import exchange, flow
from temppass.client.errors import (
    AccessDenied,
    CredentialsRefused,
    InvalidTarget,
    NotPermitted,
    RequestRefused,
    ServerFault,
    TempPassError,
    Throttled,
    Unreachable,
    Unreadable,
)
from temppass.client.exchange import Answer, Lost
from temppass.client.flow import ALL_DEVICES, ALL_KEYS, Deny, Party, Permit, ResetDone, Viewer
from temppass.client.place import place_at
from temppass.client.vault import Held

NOW = 1_767_261_600_000
PARTY = Party(place_at("https://pass.example/"), "statement")
CREDENTIALS = Held("id", "secret")
GOOD = Held("id", "secret", "good", NOW + 3_600_000)
REGISTERED = Answer(201, {}, b'{"client_id":"new","client_secret":"fresh"}')
NO_CONTENT = Answer(204, {}, b"")
HTML = Answer(429, {"content-type": "text/html"}, b"<html><h1>429 Too Many Requests</h1></html>")


def issued(token: str, **more: Any) -> Answer:
    return Answer(201, {}, json.dumps({"access_token": token, "expires_in": 21600, **more}).encode())


def error(status: int, code: str = "", **headers: str) -> Answer:
    return Answer(status, headers, json.dumps({"error": code}).encode() if code else b"<html>no</html>")


class Played:
    """Plays a flow: answers each Send from the script, and keeps what was sent, waited for and remembered."""

    def __init__(self, *script: Answer | Lost, held: Held | None = None) -> None:
        self.script = list(script)
        self.held = held
        self.sent: list[str] = []
        self.tokens: list[str] = []
        self.waits: list[float] = []
        self.holds = 0

    def play(self, conversation: exchange.Flow[Any]) -> Any:
        came: Any = None
        while True:
            try:
                effect = conversation.send(came)
            except StopIteration as end:
                return end.value
            came = self.do(effect)

    def do(self, effect: exchange.Effect) -> Any:
        match effect:
            case exchange.Send(method, url, headers):
                self.sent.append(f"{method} {url.removeprefix('https://pass.example')}")
                self.tokens.append(headers.get("Authorization", ""))
                return self.script.pop(0)
            case exchange.Wait(seconds):
                self.waits.append(seconds)
            case exchange.Recall():
                return self.held
            case exchange.Remember(held):
                self.held = held
            case exchange.Tell():
                return NOW
            case exchange.Hold():
                self.holds += 1
            case exchange.Release():
                self.holds -= 1
        return None


REGISTER, TOKEN = "POST /o/client/register", "POST /o/client/token"
RESET = "DELETE /reset-tempass/v3/reset?device_id=tv&requestor_id=REF&mvpd_id=TempPassREF"


def reset(**_: Any) -> exchange.Flow[ResetDone]:
    return flow.reset_device(PARTY, "REF", "TempPassREF", "tv")


def test_a_first_call_registers_asks_for_a_token_and_keeps_both() -> None:
    played = Played(REGISTERED, issued("t"), NO_CONTENT)
    assert played.play(reset()) == ResetDone("", None)
    assert (played.sent, played.holds) == ([REGISTER, TOKEN, RESET], 0)
    assert played.held == Held("new", "fresh", "t", NOW + 21_600_000)


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        (GOOD, [RESET]),
        (Held("id", "secret", "old", NOW + 60_000), [TOKEN, RESET]),
        (Held("id", "secret", "old", NOW + 60_001), [RESET]),
        (CREDENTIALS, [TOKEN, RESET]),
    ],
)
def test_a_token_is_kept_until_a_minute_before_its_end(held: Held, sent: list[str]) -> None:
    script = [issued("t"), NO_CONTENT] if TOKEN in sent else [NO_CONTENT]
    played = Played(*script, held=held)
    played.play(reset())
    assert played.sent == sent


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        ([error(401), issued("t"), NO_CONTENT], [RESET, TOKEN, RESET]),
        ([error(401), issued("t"), error(401), REGISTERED, issued("u"), NO_CONTENT],
         [RESET, TOKEN, RESET, REGISTER, TOKEN, RESET]),
        ([error(403, "invalid_client"), REGISTERED, issued("t"), NO_CONTENT], [RESET, REGISTER, TOKEN, RESET]),
        ([error(401), error(400, "invalid_client"), REGISTERED, issued("t"), NO_CONTENT],
         [RESET, TOKEN, REGISTER, TOKEN, RESET]),
    ],
)  # fmt: skip
def test_what_is_refused_is_renewed_once_and_asked_again(script: list[Answer | Lost], sent: list[str]) -> None:
    played = Played(*script, held=GOOD)
    assert (played.play(reset()), played.sent) == (ResetDone(), sent)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([error(401), issued("t"), error(401), REGISTERED, issued("u"), error(401)], AccessDenied),
        ([error(403), REGISTERED, issued("t"), error(403)], NotPermitted),
        ([error(403, "insufficient_scope")], NotPermitted),
        ([error(400, "invalid_request")], RequestRefused),
        ([error(410, "gone")], RequestRefused),
        ([error(500)], ServerFault),
        ([error(401), error(400, "invalid_client"), error(400, "unapproved_software_statement")], CredentialsRefused),
        ([error(401), Answer(201, {}, b'{"token_type":"bearer"}')], Unreadable),
        ([error(401), Answer(201, {}, b"[[[")], Unreadable),
        ([HTML] * exchange.TRIES_MAX, Throttled),
    ],
)
def test_a_refusal_ends_in_one_error_that_says_what_it_is(script: list[Answer | Lost], kind: type[Exception]) -> None:
    played = Played(*script, held=GOOD)
    with pytest.raises(TempPassError) as caught:
        played.play(reset())
    assert (caught.type, played.script) == (kind, [])


@pytest.mark.parametrize("sent", [True, False])
def test_without_an_answer_it_is_told_whether_the_request_may_have_been_applied(sent: bool) -> None:  # noqa: FBT001
    with pytest.raises(Unreachable) as caught:
        Played(Lost("cut", sent), held=GOOD).play(reset())
    assert caught.value.maybe_applied is sent


@pytest.mark.parametrize(
    ("asked", "least"), [({}, [1, 2]), ({"retry-after": "3"}, [3, 3]), ({"retry-after": "x"}, [1, 2])]
)
def test_429_is_waited_out_with_growing_pauses_or_as_long_as_the_server_asks(
    asked: dict[str, str], least: list[float]
) -> None:
    busy = Answer(429, asked, b"<html>")
    played = Played(busy, busy, NO_CONTENT, held=GOOD)
    played.play(reset())
    assert [low <= wait <= 1.25 * low for low, wait in zip(least, played.waits, strict=True)] == [True, True]


@pytest.mark.parametrize("patience", ["31", "999999999999"])
def test_a_server_that_wants_more_patience_than_that_is_not_waited_for(patience: str) -> None:
    played = Played(Answer(429, {"retry-after": patience}, b""), held=GOOD)
    with pytest.raises(Throttled):
        played.play(reset())
    assert played.waits == []


@pytest.mark.parametrize(
    "asks",
    [
        lambda: flow.reset_device(PARTY, "REF", "P", ""),
        lambda: flow.reset_device(PARTY, "REF", "P", None),  # type: ignore[arg-type]
        lambda: flow.reset_device(PARTY, "REF", "P", "all"),
        lambda: flow.reset_device(PARTY, "REF", "P", ALL_KEYS),
        lambda: flow.reset_key(PARTY, "REF", "P", ""),
        lambda: flow.reset_key(PARTY, "REF", "P", ALL_DEVICES),
        lambda: flow.reset_device(PARTY, "", "P", "tv"),
        lambda: flow.reset_key(PARTY, "REF", "", "k"),
        lambda: flow.authorize(PARTY, "REF", "P", Viewer(""), ["R"]),
        lambda: flow.authorize(PARTY, "REF", "P", Viewer("tv", ""), ["R"]),
        lambda: flow.authorize(PARTY, "REF", "P", Viewer("tv"), []),
        lambda: flow.authorize(PARTY, "REF", "P", Viewer("tv"), "R"),
    ],
)
def test_what_names_nobody_or_everybody_by_mistake_is_never_sent(asks: Callable[[], exchange.Flow[Any]]) -> None:
    played = Played(held=GOOD)
    with pytest.raises(InvalidTarget):
        played.play(asks())
    assert played.sent == []


@pytest.mark.parametrize(
    ("asks", "query"),
    [
        (lambda: flow.reset_device(PARTY, "R F", "P", "a+b&c"), "?device_id=a%2Bb%26c&requestor_id=R%20F&mvpd_id=P"),
        (lambda: flow.reset_device(PARTY, "R", "P", b"\xff"), "?device_id=%FF&requestor_id=R&mvpd_id=P"),
        (lambda: flow.reset_device(PARTY, "R", "P", ALL_DEVICES), "?device_id=all&requestor_id=R&mvpd_id=P"),
        (lambda: flow.reset_key(PARTY, "R", "P", ALL_KEYS), "/generic?key=all&requestor_id=R&mvpd_id=P"),
        (
            lambda: flow.reset_key(PARTY, "R", "P", "user@domain.com"),
            "/generic?key=f7ee5ec7312165148b69fcca1d29075b14b8aef0b5048a332b18b88d09069fb7&requestor_id=R&mvpd_id=P",
        ),
    ],
)
def test_a_reset_names_its_target_as_the_wire_does(asks: Callable[[], exchange.Flow[Any]], query: str) -> None:
    played = Played(NO_CONTENT, held=GOOD)
    played.play(asks())
    assert played.sent == [f"DELETE /reset-tempass/v3/reset{query}"]


def test_moments_are_read_in_seconds_and_milliseconds_as_numbers_and_texts() -> None:
    decision = {"resource": "R", "authorized": True, "notBefore": "1767261600", "notAfter": 1767261600000}
    body = json.dumps({"decisions": [decision]}).encode()
    asked = flow.authorize(PARTY, "REF", "P", Viewer("tv"), ["R"])
    assert Played(Answer(200, {}, body), held=GOOD).play(asked) == [Permit("R", NOW, NOW)]


def test_a_denied_title_is_an_answer() -> None:
    refused = {"action": "authentication", "status": 403, "code": "c", "message": "m", "helpUrl": "h", "trace": "t"}
    body = json.dumps({"decisions": [{"resource": "R", "authorized": False, "error": refused}]}).encode()
    asked = flow.authorize(PARTY, "REF", "P", Viewer("tv"), ["R"])
    assert Played(Answer(200, {}, body), held=GOOD).play(asked) == [Deny("R", "c", 403, "authentication", "m")]
