"""
Acts over HTTP: what a file of them holds, and how a stream of them ends.
"""

import asyncio
import csv
import io
import json
import socket
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient
from tests.web.walk.walker import CATALOGUE

from temppass.core.act import ByOperator, EverybodyReset, Record, recorded
from temppass.core.model import Changes
from temppass.core.operator import Role
from temppass.service.events import COUNTED_LOOKS
from temppass.store import Keys
from temppass.testing import Double, build, serving

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


def listen(double: Double) -> socket.socket:
    """Answer a connection on which the events of an operator called eve have begun."""
    where, token = urlsplit(double.url), double.operator("eve", "viewer")
    connection = socket.create_connection((where.hostname or "", where.port or 0), timeout=10)
    head = f"GET {HERE}/events HTTP/1.1\r\nHost: double.test\r\nAuthorization: Bearer {token}\r\n\r\n"
    connection.sendall(head.encode())
    heard = b""
    while b":\n\n" not in heard:
        heard += connection.recv(4096)
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
        assert heard.split(b"\r\n")[1] == b'event: counters\ndata: {"step":"1m","points":[' + point + b"]}\n\n"


def test_an_act_is_heard_and_a_token_that_is_revoked_ends_the_stream() -> None:
    """With its last chunk, so that the listener knows that nothing was lost."""
    with serving(CATALOGUE, now=T0) as double, listen(double) as connection:
        double.apply(CATALOGUE.replace('ttl = "30m"', 'ttl = "1h"'))
        heard = connection.recv(65_536)
        root = {"Authorization": f"Bearer {double.operator('root', 'admin')}"}
        httpx2.delete(f"{double.url}/control/v1/operators/eve", headers=root, trust_env=False)
        assert (b"event: act\ndata: " in heard, connection.recv(65_536)) == (True, b"0\r\n\r\n")
