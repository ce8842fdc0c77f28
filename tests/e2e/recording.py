"""
Many small groups of clients that ask for, look at, reset and give to the trials of one or two devices and user keys,
and take back what they did, all at once and over several connections. What they are told is recorded with its start and
end on one monotonic clock (history.py).

A reset of everybody means whoever has a trial of its pass. So groups play in lanes, one after another in each, and each
lane has a pass of its own; what a group leaves behind there is a floor and a generation that the next one begins with,
and all that either can tell of those is their order.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.e2e.conftest import identity
from tests.e2e.history import (
    BASIC,
    PROMO,
    TITLES_MAX,
    Act,
    Answer,
    Authorize,
    Grant,
    Look,
    ResetAll,
    ResetViewer,
    Told,
    Undo,
)

from temppass.core.grant import Gift
from temppass.core.model import DenyCode, Profile, Spent, Subject, SubjectKind
from temppass.core.reset import NotUndone, Refused, Undone

if TYPE_CHECKING:
    from temppass.core.catalogue import Offer

#: groups at once; the first of them with a basic pass
LANES, BASIC_LANES = 8, 4
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
id = "Pass{lane}"
ttl = "28d"
channels = ["ACME1"]
"""
    + (
        'kind = "basic"\n'
        if lane < BASIC_LANES
        else f'kind = "promotional"\nresources_max = {TITLES_MAX}\nidentity_key = "email"\n'
    )
    for lane in range(LANES)
)
CONTROL = "/control/v1/environments/release-production"
CREATED, NO_CONTENT, FORBIDDEN, CONFLICT = 201, 204, 403, 409
UUID_DASHES = 4


class Tokens(NamedTuple):
    application: str
    operator: str


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tokens: Tokens

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request and answer status, headers and body."""
        token = self.tokens.operator if path.startswith(CONTROL) else self.tokens.application
        lines = {"Host": "a", "Authorization": f"Bearer {token}", "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        first, *rest = (await self.reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        answered = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        length = int(answered.get("content-length", 0))
        return int(first.split()[1]), answered, await self.reader.readexactly(length)


class Group:
    """The names of one or two devices and users, and what their clients were told."""

    def __init__(self, name: str, lane: int, clock: Callable[[], int], chance: random.Random) -> None:
        self.offer: Offer = BASIC if lane < BASIC_LANES else PROMO
        self.told: list[Told] = []
        self._pass_id = f"Pass{lane}"
        self._clock = clock
        self._chance = chance
        devices = 1 if self.offer is BASIC else chance.randint(1, 2)
        self._devices = [Subject(SubjectKind.DEVICE, f"tv-{n}-{name}".encode()) for n in range(devices)]
        self._keys = [Subject(SubjectKind.USER_KEY, f"viewer-{n}-{name}".encode()) for n in range(chance.randint(1, 2))]
        #: what was done here and can be taken back, or was
        self._done: list[ResetViewer | ResetAll | Grant] = []
        #: what was done before the clients begin
        self._stands: list[ResetViewer | ResetAll | Grant] = []

    async def begin(self, connection: Connection) -> None:
        """Every other group begins with trials that a reset of everybody has ended, and that its undo brings back."""
        if self._chance.random() < 0.5:
            for device in self._devices:
                await self._do(connection, Authorize(self._viewer(device), "A"))
            await self._do(connection, ResetAll(self._chance.choice(self._viewer(self._devices[0])).kind))
            self._stands = [*self._done]

    async def play(self, connection: Connection, number: int) -> None:
        for act in self._opening(number):
            await self._do(connection, act)
        for _ in range(ACTS):
            await self._do(connection, self._draw())

    def _opening(self, number: int) -> list[Act]:
        """Where a reset stands, one client takes it back, while others look and begin in the place of what it ended."""
        if not self._stands:
            return []
        if number == 0:
            return [Undo(self._stands[0])]
        viewer = self._viewer(self._devices[0])
        return [*[Look(viewer)] * self._chance.randint(0, 5), Authorize(viewer, "B")]

    async def _do(self, connection: Connection, drawn: Act) -> None:
        start = self._clock()
        act, answer, now = await self._perform(connection, drawn)
        self.told.append(Told(act, answer, start, self._clock(), now or start // 1_000_000))
        if isinstance(act, ResetViewer | ResetAll | Grant) and act.id:
            self._done.append(act)

    def _viewer(self, device: Subject) -> tuple[Subject, ...]:
        return (device,) if self.offer is BASIC else (device, self._chance.choice(self._keys))

    def _draw(self) -> Act:
        chance = self._chance
        viewer = self._viewer(chance.choice(self._devices))
        drawn = chance.random()
        if self._done and drawn < 0.3:  # more often than not the last
            return Undo(self._done[-1 - min(int(chance.expovariate(1)), len(self._done) - 1)], chance.random() < 0.3)
        if drawn < 0.5:
            return Authorize(viewer, chance.choice("ABCD"))
        if drawn < 0.7:  # which alone sees what is so for a moment
            return Look(viewer)
        if drawn < 0.8:
            return ResetAll(chance.choice(viewer).kind)
        some = viewer if chance.random() < 0.5 else (chance.choice(viewer),)
        if drawn < 0.92:
            return ResetViewer(some)
        return Grant(some, Gift(chance.randint(1, 9), 0 if self.offer is BASIC else chance.randint(0, 1)))

    async def _perform(self, connection: Connection, act: Act) -> tuple[Act, Answer, int]:
        """Answer the act, with the id that it got, what the server says of it, and when it says it did it."""
        match act:
            case Authorize():
                answer, now = await self._authorize(connection, act)
                return act, answer, now
            case Look():
                shown = await self._look(connection, act)
                return act, shown, shown.started_at if isinstance(shown, Profile) else 0
            case ResetAll(kind):
                headers = await self._reset(connection, kind, "all")
                return act._replace(id=headers["temppass-reset-id"]), None, 0
            # over both wires, where the vendor's has the words for it
            case ResetViewer((subject,)) if self._chance.random() < 0.5:
                headers = await self._reset(connection, subject.kind, subject.digest.decode())
                return act._replace(id=headers["temppass-reset-id"]), int(headers["temppass-matched"]), 0
            case ResetViewer(subjects):
                _, done = await self._control(connection, "resets", self._wanted(subjects))
                return act._replace(id=done["id"]), done["matched"], 0
            case Grant(subjects, gift):
                wanted = self._wanted(subjects) | {"minutes": gift.minutes, "titles": gift.titles}
                status, done = await self._control(connection, "grants", wanted)
                if status == CONFLICT:
                    assert done["code"] == "nothing_to_grant"
                    return act._replace(id=""), 0, 0
                return act._replace(id=done["id"]), done["matched"], 0
            case Undo():
                return act, await self._undo(connection, act), 0

    async def _authorize(self, connection: Connection, act: Authorize) -> tuple[Answer, int]:
        body = json.dumps({"resources": [act.title]}).encode()
        path = f"/api/v2/ACME1/decisions/authorize/{self._pass_id}"
        _, _, answer = await connection.ask("POST", path, _names(*act.subjects), body)
        (decision,) = json.loads(answer)["decisions"]
        if decision["authorized"]:
            return decision["notAfter"], decision["notBefore"]
        return DenyCode(decision["error"]["code"]), 0

    async def _look(self, connection: Connection, act: Look) -> Profile | Spent:
        path = f"/api/v2/ACME1/profiles/{self._pass_id}"
        status, _, answer = await connection.ask("GET", path, _names(*act.subjects))
        if status == FORBIDDEN:
            return Spent(DenyCode(json.loads(answer)["code"]))
        shown = json.loads(answer)["profiles"][self._pass_id]
        values = {name: attribute["value"] for name, attribute in shown["attributes"].items()}
        used = tuple(values.get("used_assets", ()))
        return Profile(shown["notBefore"], shown["notAfter"], values.get("remaining_resources"), used)

    async def _undo(self, connection: Connection, act: Undo) -> Undone | Refused:
        what = "grants" if isinstance(act.of, Grant) else "resets"
        status, answer = await self._control(connection, f"{what}/{act.of.id}/undo", {"replace": act.replace})
        if status == CREATED:
            return Undone(answer["matched"])
        named = [word for word in answer["detail"].split() if word.count("-") == UUID_DASHES]
        return Refused(NotUndone(answer["code"]), named[0] if named else None)

    async def _reset(self, connection: Connection, kind: SubjectKind, target: str) -> dict[str, str]:
        path = "?device_id=" if kind is SubjectKind.DEVICE else "/generic?key="
        query = f"{target}&requestor_id=ACME1&mvpd_id={self._pass_id}"
        status, headers, _ = await connection.ask("DELETE", f"/reset-tempass/v3/reset{path}{query}")
        assert status == NO_CONTENT
        return headers

    async def _control(self, connection: Connection, what: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, _, answer = await connection.ask("POST", f"{CONTROL}/{what}", body=json.dumps(body).encode())
        assert status in {CREATED, CONFLICT}, answer
        return status, json.loads(answer)

    def _wanted(self, subjects: tuple[Subject, ...]) -> dict[str, Any]:
        words = {SubjectKind.DEVICE: "device", SubjectKind.USER_KEY: "key"}
        viewer = {words[subject.kind]: subject.digest.decode() for subject in subjects}
        return {"channel": "ACME1", "pass": self._pass_id, **viewer}


def _names(device: Subject, key: Subject | None = None) -> dict[str, str]:
    return identity(device.digest.decode(), key.digest.decode() if key is not None else "")


async def record(servers: list[tuple[int, Tokens]], groups: int, wait_s: float) -> list[Group]:
    """Let `groups` in each lane play on the servers (port, tokens); answer them all."""
    offset = time.time_ns() - time.monotonic_ns()
    played: list[Group] = []

    async def play(lane: int) -> None:
        connections = [
            Connection(*await asyncio.open_connection("127.0.0.1", port), tokens)
            for port, tokens in (servers * CLIENTS)[:CLIENTS]
        ]
        for number in range(groups):
            group = Group(f"{lane}-{number}", lane, lambda: time.monotonic_ns() + offset, random.Random())
            await group.begin(connections[0])
            async with asyncio.TaskGroup() as clients:
                for client, connection in enumerate(connections):
                    clients.create_task(group.play(connection, client))
            played.append(group)
        for connection in connections:
            connection.writer.close()
            await connection.writer.wait_closed()

    async with asyncio.timeout(wait_s), asyncio.TaskGroup() as lanes:
        for lane in range(LANES):
            lanes.create_task(play(lane))
    return played
