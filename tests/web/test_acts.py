"""
Acts over HTTP: what a file of them holds, and how a stream of them ends.
"""

import asyncio
import csv
import io
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient
from tests.web.walk.walker import CATALOGUE

from temppass.core.act import ByOperator, EverybodyReset, Record, recorded
from temppass.core.model import Changes
from temppass.core.operator import Role
from temppass.service.acts import PAGE
from temppass.service.events import COUNTED_LOOKS
from temppass.store import Keys
from temppass.testing import Double, build, serving
from temppass.web.acts import ActsDoors

A = TypeVar("A")
T0 = 1_767_261_600_000
HERE = "/control/v1/environments/release-production"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'said "no", twice', "plain"]


def answer(double: Double, accept: str) -> str:
    """Answer what a search for resets brings, of which there is one for each of FORMULAS as its reason."""
    acts = [
        Record(f"r{number}", T0 + number, ByOperator("anna", Role.OPERATOR), EverybodyReset("ACME1", "P", ()), reason)
        for number, reason in enumerate(FORMULAS)
    ]
    changes = Changes(records=tuple(map(recorded, acts)))
    asyncio.run(double.application.store.transact(Keys("release-production", 1), lambda _found: (None, changes)))
    client = TestClient(double.app, base_url="http://localhost")
    headers = {"Authorization": f"Bearer {double.operator('eve', 'viewer')}", "Accept": accept}
    return client.post(f"{HERE}/acts/search", headers=headers, json={"kinds": ["reset.everybody"]}).text


def test_no_cell_of_a_table_is_a_formula() -> None:
    rows = [*csv.DictReader(io.StringIO(answer(build(CATALOGUE, now=T0), "text/csv"), newline=""))]
    assert [row["reason"] for row in rows] == [f"'{text}" for text in FORMULAS[:6]] + FORMULAS[6:]


def test_a_line_is_a_record_and_the_oldest_comes_first() -> None:
    lines = answer(build(CATALOGUE, now=T0), "application/jsonl").splitlines()
    assert [json.loads(line)["reason"] for line in lines] == FORMULAS


def listen(double: Double, name: str = "eve") -> socket.socket:
    """Answer a connection on which the events of a new operator have begun."""
    connection = ask(double, double.operator(name, "viewer"), "GET", "/events")
    heard = b""
    while b":\n\n" not in heard:
        heard += connection.recv(4096)
    return connection


def ask(double: Double, token: str, method: str, path: str, *headers: str, body: str = "") -> socket.socket:
    """Answer a connection on which something was asked, and of which the kernel takes in little."""
    where = urlsplit(double.url)
    connection = socket.socket()
    connection.settimeout(20)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((where.hostname, where.port))
    head = [f"{method} {HERE}{path} HTTP/1.1", "Host: double.test", f"Authorization: Bearer {token}", *headers]
    connection.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode())
    return connection


def test_a_listener_that_hangs_up_is_let_go() -> None:
    with serving(CATALOGUE, now=T0) as double, listen(double) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096) == b""


def test_a_server_that_ends_waits_for_no_listener(caplog: pytest.LogCaptureFixture) -> None:
    """Or it would say, after ten seconds, that it cancels what still runs."""
    with serving(CATALOGUE, now=T0) as double:
        connection = listen(double)
    connection.close()
    assert caplog.messages == []


def test_counters_are_heard_without_an_id() -> None:
    """So `Last-Event-ID` stays that of the last act."""
    with serving(CATALOGUE, now=T0) as double, listen(double) as connection:
        service, heard = double.application.service, b""
        service.counters.add("release-production", "ACME1", "P", T0, ["permit"])
        double._run(service.counters.flush())
        for _ in range(COUNTED_LOOKS):
            double._run(service.events.look())
        while b"event: counters" not in heard:
            heard = connection.recv(65_536)
        point = b'{"at":"2026-01-01T10:00:00.000Z","channel":"ACME1","pass":"P","counts":{"permit":1}}'
        told = next(part for part in heard.split(b"\r\n") if b"counters" in part)  # an act may have come just before
        assert told == b'event: counters\ndata: {"step":"1m","points":[' + point + b"]}\n\n"


def test_an_act_is_heard_and_a_token_that_is_revoked_ends_the_stream() -> None:
    """With its last chunk, so that the listener knows that nothing was lost."""
    with serving(CATALOGUE, now=T0) as double, listen(double) as connection:
        double.apply(CATALOGUE.replace('ttl = "30m"', 'ttl = "1h"'))
        heard = connection.recv(65_536)
        root = {"Authorization": f"Bearer {double.operator('root', 'admin')}"}
        httpx2.delete(f"{double.url}/control/v1/operators/eve", headers=root, trust_env=False)
        assert (b"event: act\ndata: " in heard, connection.recv(65_536)) == (True, b"0\r\n\r\n")


def test_where_too_many_listen_the_next_is_told_so_and_finds_a_place_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as one of them is gone."""
    monkeypatch.setattr("temppass.service.events.LISTENERS_MAX", 2)
    with serving(CATALOGUE, now=T0) as double, listen(double, "ann"), httpx2.Client(trust_env=False) as client:
        headers = {"Authorization": f"Bearer {double.operator('bob', 'viewer')}"}
        with listen(double):
            refused = client.get(f"{double.url}{HERE}/events", headers=headers)
        while (then := client.head(f"{double.url}{HERE}/events", headers=headers).status_code) == 503:
            continue  # until the server has heard that she hung up; a test that hangs fails
    told = (refused.status_code, refused.json()["code"], refused.headers["retry-after"], then)
    assert told == (503, "temporarily_unavailable", "1", 200)
    assert refused.json()["detail"].startswith("2 listen here already")


def test_who_listens_and_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of the store no more is read than fits between the server and that one."""
    monkeypatch.setattr("temppass.connection.ANSWER_WAIT_S", 0.05)
    with serving(CATALOGUE, now=T0) as double:
        double._run(fill(double, 20_000))
        token, pages = double.operator("eve", "viewer"), noted(double, monkeypatch)
        with ask(double, token, "GET", "/events", "Last-Event-ID: 0"):
            while not (pages and not double.application.service.events.is_looking):
                continue  # until the server has put everything away; a test that hangs fails
    assert len(pages) < 20_000 // PAGE // 2


@pytest.mark.parametrize("accept", ["text/event-stream", "text/csv", "application/jsonl"])
def test_no_page_is_read_before_the_one_before_it_was_taken(monkeypatch: pytest.MonkeyPatch, accept: str) -> None:
    """However many there are, so that an answer of any length takes the memory of one."""
    double, taken_max = build(CATALOGUE, now=T0), 3
    asyncio.run(fill(double, 8 * PAGE))
    token, pages = double.operator("eve", "viewer"), noted(double, monkeypatch)

    async def play() -> int:
        is_stream, full, taken = accept == "text/event-stream", asyncio.Event(), 0
        bodies = iter([b"" if is_stream else b"{}"])

        async def receive() -> Any:
            body = next(bodies, None)
            return {"type": "http.request", "body": body} if body is not None else await asyncio.Future()

        async def send(message: Any) -> None:
            nonlocal taken
            if taken == taken_max:
                full.set()
                await asyncio.Future()
            taken += len(message.get("body", b"")) > 1_000

        headers = {"authorization": f"Bearer {token}", "accept": accept, "last-event-id": "0", "host": "localhost"}
        scope = {
            "type": "http", "method": "GET" if is_stream else "POST", "query_string": b"", "scheme": "http",
            "path": f"{HERE}/events" if is_stream else f"{HERE}/acts/search", "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        answering = asyncio.ensure_future(double.app(scope, receive, send))
        await full.wait()
        answering.cancel()
        await asyncio.wait([answering])
        return len(pages)

    assert asyncio.run(play()) == taken_max + 1


def test_between_two_pages_that_are_written_everybody_else_has_a_turn() -> None:
    """However many read much at once."""
    doors, seen = ActsDoors(build().application.service), list[str]()

    async def others() -> None:
        while seen.count("page") < 5:
            seen.append("other")
            await asyncio.sleep(0)

    def write(_page: object) -> str:
        seen.append("page")
        return ""

    async def play() -> None:
        await asyncio.gather(others(), *(doors._files.in_turn(write, ()) for _ in range(5)))

    asyncio.run(play())
    assert "page page" not in " ".join(seen)


async def fill(double: Double, count: int) -> None:
    """Put so many acts on record, of about 1 KB each."""
    actor, what = ByOperator("anna", Role.OPERATOR), EverybodyReset("ACME1", "P", ())
    acts = [Record(f"r{number}", T0 + number, actor, what, "x" * 900) for number in range(count)]
    store, changes = double.application.store, Changes(records=tuple(map(recorded, acts)))
    await store.transact(Keys("release-production", 1), lambda _found: (None, changes))
    await double.application.service.history.seal_all("release-production")


def noted(double: Double, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer a list to which every page of acts that is read of the store will be added."""
    pages = list[str]()

    def noting(name: str, read: Callable[..., Awaitable[A]]) -> Callable[..., Awaitable[A]]:
        async def reading(*asked: Any, **more: Any) -> A:
            pages.append(name)
            await asyncio.sleep(0)  # as a database does: others have their turn meanwhile
            return await read(*asked, **more)

        return reading

    store = double.application.store
    for name in ("records", "search"):
        monkeypatch.setattr(store, name, noting(name, getattr(store, name)))
    return pages
