"""
Some sequential order explains every answer (history.py).

Many small groups of clients ask for, look at and reset the trials of one or two devices and user keys, all at once
and over several connections. What they were told is recorded with its start and end on one monotonic clock, and
explained group by group: nobody else names a group's devices, keys or pass.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.e2e.conftest import identity
from tests.e2e.history import (
    TITLES_MAX,
    TTL_MS,
    Act,
    Answer,
    Authorize,
    Look,
    ResetAll,
    ResetOne,
    Told,
    is_explained,
)

from temppass.core.model import DenyCode, Profile, Spent, Subject, SubjectKind

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder, Server

#: groups at once, each under a pass of its own, so that a reset of everybody means one group
LANES = 8
GROUPS = 50
CLIENTS, ACTS = 4, 3
CATALOGUE = """
[[programmer]]
id = "acme"

[[channel]]
id = "ACME1"
programmer = "acme"

[[application]]
id = "ops"
channels = ["ACME1"]
scopes = ["api:client:v2", "temporary:passes:owner"]
""" + "".join(
    f"""
[[pass]]
id = "Promo{lane}"
kind = "promotional"
ttl = "28d"
resources_max = {TITLES_MAX}
identity_key = "email"
channels = ["ACME1"]
"""
    for lane in range(LANES)
)


# --- the checker itself

TV, PHONE = Subject(SubjectKind.DEVICE, b"tv"), Subject(SubjectKind.DEVICE, b"phone")
ANN, BOB = Subject(SubjectKind.USER_KEY, b"ann"), Subject(SubjectKind.USER_KEY, b"bob")
FULL = DenyCode.RESOURCES


def told(act: Act, answer: Answer, start: int, end: int | None = None) -> Told:
    """One that was sent at `start` and heard at `end`, by default at once; the server's clock says `start`."""
    return Told(act, answer, start, start if end is None else end, start)


def watch(title: str, *subjects: Subject) -> Authorize:
    return Authorize(subjects or (TV, ANN), title)


def state(started_at: int, *used: str) -> Profile:
    return Profile(started_at, started_at + TTL_MS, TITLES_MAX - len(used), used)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([], id="nothing"),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1), told(watch("B"), 1 + TTL_MS, 2), told(watch("C"), FULL, 3)],
            id="one after another",
        ),
        pytest.param(
            [told(watch("A"), FULL, 1, 9), told(watch("B"), 2 + TTL_MS, 2, 9), told(watch("C"), 2 + TTL_MS, 3, 9)],
            id="the last was the first of three at once",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetOne((TV,)), 1, 2),
                told(watch("A"), 1 + TTL_MS, 3),
                told(ResetAll(SubjectKind.USER_KEY), None, 4),
                told(ResetOne((ANN,)), 0, 5),
                told(ResetAll(SubjectKind.DEVICE), None, 6),
                told(Look((TV, ANN)), state(7), 7),
                told(watch("A"), 8 + TTL_MS, 8),
            ],
            id="both resets begin anew, one alone does not",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetAll(SubjectKind.DEVICE), None, 2, 9),
                told(ResetAll(SubjectKind.USER_KEY), None, 2, 9),
                told(Look((TV, ANN)), state(1, "A"), 3, 4),
                told(Look((TV, ANN)), state(5), 5, 6),
            ],
            id="a look before and a look after resets that are under way",
        ),
    ],
)
def test_the_checker_accepts_what_can_have_been(history: list[Told]) -> None:
    assert is_explained(history)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1, 5),
                told(watch("B"), 1 + TTL_MS, 2, 5),
                told(Look((TV, ANN)), state(1, "B"), 6),
            ],
            id="a lost update",
        ),
        pytest.param(
            [told(watch(title), 1 + TTL_MS, number, 9) for number, title in enumerate("ABC")], id="one title too many"
        ),
        pytest.param([told(watch("A"), 1 + TTL_MS, 1, 5), told(watch("B"), 2 + TTL_MS, 2, 5)], id="two windows"),
        pytest.param(
            [
                told(watch("A", TV, ANN), 1 + TTL_MS, 1, 5),
                told(watch("A", PHONE, ANN), 2 + TTL_MS, 2, 5),
            ],
            id="two windows of one user",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetAll(SubjectKind.DEVICE), None, 2),
                told(ResetAll(SubjectKind.USER_KEY), None, 2),
                told(Look((TV, ANN)), state(1, "A"), 3),
            ],
            id="a stale look after a reset of everybody",
        ),
        pytest.param(
            [
                told(watch("A"), 1 + TTL_MS, 1),
                told(ResetOne((TV,)), 1, 2),
                told(ResetOne((ANN,)), 1, 2),
                told(watch("B"), 1 + TTL_MS, 3),
            ],
            id="a stale permit after resets of one",
        ),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1, 9), told(ResetOne((TV,)), 1, 2, 3), told(ResetOne((TV,)), 1, 4, 5)],
            id="a reset that comes undone",
        ),
        pytest.param([told(watch("A"), FULL, 1), told(watch("A"), 2 + TTL_MS, 2)], id="a denial without a reason"),
        pytest.param(
            [told(watch("A"), 1 + TTL_MS, 1), told(Look((TV, ANN)), state(2), 2), told(Look((TV, ANN)), state(1), 3)],
            id="a look that began a trial",
        ),
    ],
)
def test_the_checker_rejects_what_cannot_have_been(history: list[Told]) -> None:
    assert not is_explained(history)


# --- recording


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    authorization: str

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request and answer status, headers and body."""
        lines = {"Host": "a", "Authorization": self.authorization, "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        first, *rest = (await self.reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        answered = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        length = int(answered.get("content-length", 0))
        return int(first.split()[1]), answered, await self.reader.readexactly(length)


class Group:
    """The names of one or two devices and users, and what their clients were told."""

    def __init__(self, name: str, lane: int, clock: Callable[[], int], chance: random.Random) -> None:
        self.told: list[Told] = []
        self._pass_id = f"Promo{lane}"
        self._clock = clock
        self._chance = chance
        self._devices = [Subject(SubjectKind.DEVICE, f"tv-{n}-{name}".encode()) for n in range(chance.randint(1, 2))]
        self._keys = [Subject(SubjectKind.USER_KEY, f"viewer-{n}-{name}".encode()) for n in range(chance.randint(1, 2))]

    async def play(self, connection: Connection) -> None:
        for _ in range(ACTS):
            act, start = self._draw(), self._clock()
            answer, now = await self._perform(connection, act)
            self.told.append(Told(act, answer, start, self._clock(), now or start // 1_000_000))

    def _draw(self) -> Act:
        both = self._chance.choice(self._devices), self._chance.choice(self._keys)
        drawn = self._chance.random()
        if drawn < 0.55:
            return Authorize(both, self._chance.choice("ABCD"))
        if drawn < 0.7:
            return Look(both)
        if drawn < 0.9:
            return ResetOne((self._chance.choice(both),))
        return ResetAll(self._chance.choice(list(SubjectKind)))

    async def _perform(self, connection: Connection, act: Act) -> tuple[Answer, int]:
        """Answer what the server says, and when it says it did."""
        match act:
            case Authorize(subjects, title):
                path = f"/api/v2/ACME1/decisions/authorize/{self._pass_id}"
                body = json.dumps({"resources": [title]}).encode()
                _, _, answer = await connection.ask("POST", path, _names(*subjects), body)
                (decision,) = json.loads(answer)["decisions"]
                if decision["authorized"]:
                    return decision["notAfter"], decision["notBefore"]
                return DenyCode(decision["error"]["code"]), 0
            case Look(subjects):
                path = f"/api/v2/ACME1/profiles/{self._pass_id}"
                status, _, answer = await connection.ask("GET", path, _names(*subjects))
                if status == 403:
                    return Spent(DenyCode(json.loads(answer)["code"])), 0
                shown = json.loads(answer)["profiles"][self._pass_id]
                remaining, used = (
                    shown["attributes"][name]["value"] for name in ("remaining_resources", "used_assets")
                )
                return Profile(shown["notBefore"], shown["notAfter"], remaining, tuple(used)), shown["notBefore"]
            case ResetOne(subjects):
                (subject,) = subjects
                return await self._reset(connection, subject.kind, subject.digest.decode())
            case ResetAll(kind):
                return await self._reset(connection, kind, "all")

    async def _reset(self, connection: Connection, kind: SubjectKind, target: str) -> tuple[int | None, int]:
        path = "?device_id=" if kind is SubjectKind.DEVICE else "/generic?key="
        query = f"{target}&requestor_id=ACME1&mvpd_id={self._pass_id}"
        status, headers, _ = await connection.ask("DELETE", f"/reset-tempass/v3/reset{path}{query}")
        assert status == 204
        return (int(headers["temppass-matched"]) if target != "all" else None), 0


def _names(device: Subject, key: Subject) -> dict[str, str]:
    return identity(device.digest.decode(), key.digest.decode())


async def record(servers: list[tuple[int, str]]) -> list[list[Told]]:
    """Let all groups play on the servers (port, access token); answer the history of each."""
    offset = time.time_ns() - time.monotonic_ns()
    histories: list[list[Told]] = []

    async def play(lane: int) -> None:
        connections = [
            Connection(*await asyncio.open_connection("127.0.0.1", port), f"Bearer {token}")
            for port, token in (servers * CLIENTS)[:CLIENTS]
        ]
        for number in range(GROUPS):
            group = Group(f"{lane}-{number}", lane, lambda: time.monotonic_ns() + offset, random.Random())
            async with asyncio.TaskGroup() as clients:
                for connection in connections:
                    clients.create_task(group.play(connection))
            histories.append(group.told)
        for connection in connections:
            connection.writer.close()
            await connection.writer.wait_closed()

    async with asyncio.timeout(60), asyncio.TaskGroup() as lanes:
        for lane in range(LANES):
            lanes.create_task(play(lane))
    return histories


def unexplained(folder: Folder, servers: list[Server]) -> list[list[Told]]:
    tokens = [(server.port, folder.application(server).token) for server in servers]
    histories = asyncio.run(record(tokens))
    assert len(histories) == LANES * GROUPS
    return [history for history in histories if not is_explained(history)]


def test_every_answer_of_two_processes_on_one_database_is_explained(cluster: Folder) -> None:
    cluster.declare(CATALOGUE)
    assert unexplained(cluster, [cluster.serve(), cluster.serve()]) == []


def test_every_answer_of_one_process_on_a_file_is_explained(folder: Folder) -> None:
    folder.declare(CATALOGUE)
    assert unexplained(folder, [folder.serve()]) == []
