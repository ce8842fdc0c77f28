"""
`temppass keys` from a shell: beside servers under load nobody notices a rotation, whoever keeps the key set as long as
they may takes every token, and what lost keys had signed is refused at once.
"""

import base64
import itertools
import json
import threading
import time
from collections import Counter
from typing import Any, Self

import httpx2
import pytest
from tests.e2e.conftest import WAIT_S, Folder, Server, Wire

from temppass import MediaTokenStatus, MediaTokenVerifier

VIEWERS = 4
#: `max-age` of the key set
JWKS_S = 1


def kid_of(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


class BackEnd:
    """Checks media tokens against a copy of a server's key set, which it keeps for as long as it may."""

    def __init__(self, server: Server) -> None:
        self._http = httpx2.Client(base_url=server.url, trust_env=False, timeout=WAIT_S)
        self._fetched = float("-inf")

    def close(self) -> None:
        self._http.close()

    def judge(self, token: str, title: str) -> MediaTokenStatus:
        if time.monotonic() - self._fetched >= JWKS_S:
            self._fetched = time.monotonic()
            answer = self._http.get("/.well-known/jwks.json")
            assert answer.headers["cache-control"] == f"public, max-age={JWKS_S}"
            self._verifier = MediaTokenVerifier(answer.json())
        now_ms = int(time.time() * 1000)
        return self._verifier.verify(token, expected_channel="ACME1", expected_resource=title, now_ms=now_ms)[0]


class Load:
    """Viewers who ask one server with the access token that they had at first, and a back end that asks another."""

    def __init__(self, wires: list[Wire], servers: list[Server]) -> None:
        self.faults: Counter[str] = Counter()
        #: keys that signed, by the server
        self.kids: dict[str, set[str]] = {server.url: set() for server in servers}
        self._over = threading.Event()
        self._news = threading.Condition()
        self._viewers = [
            threading.Thread(target=self._view, args=(number, wires[number % len(wires)], servers))
            for number in range(VIEWERS)
        ]

    def __enter__(self) -> Self:
        for viewer in self._viewers:
            viewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for viewer in self._viewers:
            viewer.join(WAIT_S)

    def wait_for(self, kids: set[str]) -> None:
        """Answer when each of `kids` has signed on every server."""
        with self._news:
            assert self._news.wait_for(lambda: all(kids <= seen for seen in self.kids.values()), WAIT_S), self.faults

    def _view(self, viewer: int, wire: Wire, servers: list[Server]) -> None:
        place = viewer % len(servers)
        here, back_end = servers[place].url, BackEnd(servers[place - 1])
        form = {**wire.credentials, "grant_type": "client_credentials"}
        for number in itertools.count():
            if self._over.is_set():
                back_end.close()
                return
            title = f"FILM-{number}"
            try:
                token = wire.decide(f"tv-{viewer}", title)["token"]["serializedToken"]
                access = wire.http.post("/o/client/token", data=form).json()["access_token"]
                status = back_end.judge(token, title)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the test looks for
                self.faults[repr(error)] += 1
                continue
            if status is not MediaTokenStatus.VALID_TOKEN:
                self.faults[status] += 1
            with self._news:
                self.kids[here] |= {kid_of(base64.b64decode(token).decode()), kid_of(access)}
                self._news.notify_all()


def keys(folder: Folder, *arguments: str) -> list[str]:
    done = folder.temppass("keys", *arguments, TEMPPASS_JWKS_SECONDS=f"{JWKS_S}")
    assert done.code == 0, done.err
    return done.out.splitlines()


def test_nobody_notices_a_rotation(place: Folder) -> None:
    """One server on its file, two on one database. Twice: the second time a key comes that nobody knew at the start."""
    place.declare()
    count = 1 if place.database is None else 2
    servers = [place.serve(TEMPPASS_JWKS_SECONDS=f"{JWKS_S}") for _ in range(count)]
    wires = [place.application(server) for server in servers]
    with Load(wires, servers) as load:
        for _ in range(2):
            load.wait_for({*keys(place, "rotate")})
    assert load.faults == {}
    assert Counter(line.split("\t")[2] for line in keys(place, "list")) == {"signing": 2, "verifying": 4}


def test_what_lost_keys_signed_is_refused_at_once(place: Folder) -> None:
    """Clients go on with another token; the statement has to be minted anew, and is named."""
    place.declare()
    servers = [place.serve() for _ in range(1 if place.database is None else 2)]
    statement = place.temppass("statement", "mint", "ops").out.strip()
    wires = [Wire(server.url, statement) for server in servers]
    before = [wire.authorize("tv", "FILM-1").status_code for wire in wires]
    done = place.temppass("keys", "rotate", "--compromised", "--reason", "found in a log")
    after = [wire.authorize("tv", "FILM-2").status_code for wire in wires]
    again = wires[0].http.post("/o/client/register", json={"software_statement": statement})
    for wire in wires:
        wire.move(str(wire.http.base_url))
    anew = [wire.authorize("tv", "FILM-2").status_code for wire in wires]
    fresh = place.temppass("statement", "mint", "ops").out.strip()
    registered = wires[0].http.post("/o/client/register", json={"software_statement": fresh}).status_code
    for wire in wires:
        wire.close()
    told = (before, after, again.json()["error"], anew, registered)
    count = len(servers)
    assert told == ([200] * count, [401] * count, "invalid_software_statement", [200] * count, 201)
    assert (done.code, done.err.splitlines()[-1]) == (0, f"mint anew: ops (statement {claims(statement)['jti']})")


def claims(token: str) -> Any:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@pytest.mark.parametrize("arguments", [("list",), ("rotate",), ("rotate", "--compromised")])
def test_where_there_is_no_store_none_is_made(folder: Folder, arguments: tuple[str, ...]) -> None:
    done = folder.temppass("keys", *arguments)
    assert (done.code, done.out, [*folder.path.iterdir()]) == (0 if arguments == ("list",) else 1, "", [])


def test_a_second_rotation_is_told_to_wait(folder: Folder) -> None:
    folder.declare()
    first, second = (folder.temppass("keys", "rotate", "--reason", "each quarter") for _ in range(2))
    assert (first.code, len(first.out.splitlines()), first.err.startswith("published; they sign from ")) == (0, 2, True)
    assert (second.code, second.out) == (1, "")
    assert second.err.startswith("error: The next key waits already, and signs in ")
    assert second.err.endswith("hint: `temppass keys list` shows what there is\n")


def test_a_reason_names_nobody(folder: Folder) -> None:
    folder.declare()
    done = folder.temppass("keys", "rotate", "--reason", "anna@acme.example lost it")
    assert (done.code, done.err.splitlines()[0]) == (
        1, "error: A reason holds no e-mail address, because it is kept; name a ticket instead."
    )  # fmt: skip
