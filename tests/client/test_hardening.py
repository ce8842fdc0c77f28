"""
What a client meets at the edges of the wire: each of these was once a crash, a leak or a wrong answer.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.client.test_vendor import (
    PASS,
    Patient,
    ask_client,
    async_outcome,
    conversation,
    logged,
    outcome,
    told,
)
from tests.client.vendor import BEGAN, HUSH, STATEMENT, Manner, Reply, vendor

from temppass import (
    AsyncClient,
    Client,
    FileVault,
    InvalidTarget,
    MediaTokenVerifier,
    MemoryVault,
    Place,
    TempPassError,
    Unreadable,
    Viewer,
    place_at,
)
from temppass.client.vault import Held, vault_name


def j(fields: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(fields).encode(), headers=headers)


@pytest.mark.parametrize(
    ("call", "script"),
    [
        ("reset_device", ["good", "good", Reply(429, headers={"Retry-After": "9" * 400})]),
        ("profile", ["good", "good", j({"profiles": {PASS[1]: {"attributes": None}}})]),
        ("profile", ["good", "good", j({"profiles": {PASS[1]: {"attributes": []}}})]),
        ("profile", ["good", "good", j({"profiles": {PASS[1]: {"attributes": {"userID": "x"}}}})]),
        ("authorize", ["good", "good", j({"decisions": [{"resource": "A", "authorized": True, "token": "x"}]})]),
        ("authorize", ["good", "good", j({"decisions": [{"resource": "A", "error": "x"}]})]),
        ("media_token_verifier", [j({"keys": [{"kid": "a", "kty": [1]}]})]),
        # a token that no header can carry; words of the service that repeat a secret
        ("reset_device", ["good", j({"access_token": f"{HUSH}-t\u00f6k"})]),
        ("reset_device", ["good", j({"access_token": f"{HUSH}-token\n"})]),
        ("access_token", [j({"error": "invalid_request", "error_description": f"not good: {STATEMENT}"}, 400)]),
        ("reset_device", ["good", "good", j({"error": "invalid_request", "message": f"{HUSH}-token-2"}, 400)]),
    ],
)
def test_ends_in_a_value_or_one_of_our_errors_and_tells_no_secret(call: str, script: list[str | Reply]) -> None:
    said: list[str] = []
    with vendor(*script) as played, logged() as lines:
        shell = Patient(None, 0.5)
        try:
            answer = shell.play(conversation(played, call))
            if call == "media_token_verifier":
                MediaTokenVerifier(answer)
        except TempPassError as error:
            said = list(told(error))
    assert [text for text in [*said, *lines] if HUSH in text] == []


@pytest.mark.parametrize("url", ["http://[::1", "http://host:x", "http://é\u0130.\u00ad", "http://" + "a" * 300])
def test_a_url_that_is_none_is_one_of_our_errors(url: str) -> None:
    with pytest.raises(TempPassError), Client(place_at(url), "s", vault=MemoryVault()) as client:
        client.access_token()


@pytest.mark.parametrize(
    "url", ["http://me:hush@host", "http://host/?a=b", "http://host/#a", "http://ho st", "http://"]
)
def test_a_base_url_is_scheme_host_port_and_path_and_a_refusal_does_not_repeat_it(url: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        place_at(url)
    assert url not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("target", [("REF", "P", "\udcff"), ("\udcff", "P", "tv")])
def test_what_has_no_utf8_is_an_invalid_target(target: tuple[str, str, str]) -> None:
    with (
        vendor() as played,
        Client(played.place, STATEMENT, vault=MemoryVault()) as client,
        pytest.raises(InvalidTarget),
    ):
        client.reset_device(*target)


def test_a_header_that_cannot_be_sent_was_not_sent() -> None:
    with (
        vendor() as played,
        Client(played.place, STATEMENT, vault=MemoryVault()) as client,
        pytest.raises(InvalidTarget),
    ):
        client.profile(*PASS, Viewer("tv", forwarded_for="a\nb"))


def test_a_reset_that_was_never_sent_is_not_said_to_be_maybe_applied() -> None:
    with vendor("cut") as played:
        assert (outcome(lambda: ask_client(played, "reset_device")), played.kinds) == (
            "Unreachable, not applied",
            ["register"],
        )


def test_verdicts_are_in_the_order_of_the_titles() -> None:
    said = j({"decisions": [{"resource": "B", "authorized": True}, {"resource": "A", "authorized": False}]})
    with vendor("good", "good", said) as played:
        assert [v.resource for v in ask_client(played, "authorize")] == ["A", "B"]


def test_missing_verdicts_are_unreadable() -> None:
    with vendor("good", "good", j({"decisions": []})) as played:
        assert outcome(lambda: ask_client(played, "authorize")) == "Unreadable"


def test_one_call_registers_once_more_at_most() -> None:
    script = ["401 reset", "400 client", "good", "good", "401 reset"]
    warm = Held("client-0", f"{HUSH}-secret-0", f"{HUSH}-token-0", BEGAN + 3_600_000)
    with vendor(*script) as played:
        outcome(lambda: Patient(warm, 0.5).play(conversation(played, "reset_device")))
    assert played.kinds.count("register") == 1


def test_new_credentials_are_kept_even_if_the_token_does_not_come() -> None:
    with vendor("400 client", "good", "cut") as played:
        shell = Patient(Held("client-0", "x"), 0.5)
        outcome(lambda: shell.play(conversation(played, "access_token")))
    assert shell.held == Held("client-2", f"{HUSH}-secret-2")


def test_a_server_that_says_thirty_seconds_is_not_waited_for_longer() -> None:
    with vendor("good", "good", *[Reply(429, headers={"Retry-After": "30"})] * 4) as played:
        shell = Patient(None, 0.5)
        outcome(lambda: shell.play(conversation(played, "reset_device")))
    assert max(shell.waits) <= 30 * 1.25


def test_a_vault_whose_file_is_not_utf8_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'{"client_id":"\xff","client_secret":"x"}')
    assert FileVault(tmp_path).recall("x") is None


def test_twenty_clients_of_one_loop_and_a_cold_vault_do_not_wait_for_each_other_for_ever(tmp_path: Path) -> None:
    """By name, because asking for an address takes a thread of the loop, which waiting for the vault must not take."""
    with vendor() as played:
        place = Place("v", played.place.service.replace("127.0.0.1", "localhost"), played.place.management)

        async def work() -> set[str]:
            clients = [AsyncClient(place, STATEMENT, vault=FileVault(tmp_path)) for _ in range(20)]
            async with asyncio.timeout(30):
                tokens = await asyncio.gather(*(client.access_token() for client in clients))
            for client in clients:
                await client.close()
            return set(tokens)

        assert (len(asyncio.run(work())), played.kinds) == (1, ["register", "token"])


#: a request's time in these tests, in seconds: a small part of what the answers take that come byte after byte
SHORT_S = 0.3


@pytest.mark.parametrize("manner", ["slow head", "slow body"])
@pytest.mark.parametrize("warm", [False, True])
def test_an_answer_that_comes_byte_after_byte_is_not_waited_for_to_its_end(manner: Manner, warm: bool) -> None:  # noqa: FBT001
    """On a new connection, and on one that was used before."""
    slow = Reply(200, b" " * 300, manner=manner)
    with vendor(*["good"] * warm, slow, forever=True) as played:
        with Client(played.place, STATEMENT, vault=MemoryVault(), timeout_s=SHORT_S) as client:
            blocking = outcome(client.access_token)

        async def work() -> str:
            async with AsyncClient(played.place, STATEMENT, vault=MemoryVault(), timeout_s=SHORT_S) as client:
                return await async_outcome(client.access_token())

        assert (blocking, asyncio.run(work())) == ("Unreachable, not applied",) * 2


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        Client(place_at("http://pass.example"), STATEMENT, vault=MemoryVault(), timeout_s=seconds)


def test_a_head_without_end_is_no_answer() -> None:
    with vendor("good", "good", Reply(204, headers={"X-Padding": "x" * 300_000})) as played:
        assert outcome(lambda: ask_client(played, "reset_device")) == "Unreachable, maybe applied"


def test_a_body_that_is_packed_is_not_unpacked() -> None:
    packed = gzip.compress(gzip.compress(json.dumps({"keys": []}).encode()))
    with vendor(Reply(200, packed, headers={"Content-Encoding": "gzip, gzip"})) as played:
        told = outcome(lambda: ask_client(played, "media_token_verifier"))
        assert (told, played.seen[0].headers["accept-encoding"]) == ("Unreadable", "identity")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(200), "instead of 204 came 200, application/json;charset=UTF-8, without a body"),
        (
            Reply(202, f"<html>Sign in,\x1b {HUSH}-token-2".encode() + b"x" * 99, "text/html"),
            f"instead of 204 came 202, text/html, which begins '<html>Sign in,  (secret){'x' * 56}'",
        ),
    ],
)
def test_only_the_documented_204_is_a_reset_and_else_is_told_what_came(reply: Reply, said: str) -> None:
    with vendor("good", "good", reply) as played, pytest.raises(Unreadable) as caught:
        ask_client(played, "reset_device")
    assert (str(caught.value), caught.value.status) == (said, reply.status)


def test_a_message_is_of_bounded_length_and_printable() -> None:
    said = j({"error": "x", "message": "\x1b[2J" + "x" * 3_000_000}, 400)
    with vendor("good", "good", said) as played, pytest.raises(TempPassError) as caught:
        ask_client(played, "reset_device")
    assert (len(str(caught.value)) < 10_000, str(caught.value).isprintable()) == (True, True)


def test_a_cancelled_wait_for_the_vault_leaves_no_lock_behind(tmp_path: Path) -> None:
    vault, entry = FileVault(tmp_path), vault_name("v", STATEMENT)
    let_go = vault.hold(entry)
    assert let_go is not None

    async def work() -> None:
        async with AsyncClient(Place("v", "http://127.0.0.1:9", ""), STATEMENT, vault=vault) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.access_token(), 0.1)

    asyncio.run(work())
    let_go()
    assert vault.hold(entry) is not None
