"""
An act of an operator is on record if and only if its effect is there: servers are killed in the middle of acts, started
again on the same store, and asked what is on record and what the viewers have; with one server on a file, and with two
on one database.
"""

import asyncio
import json
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
from tests.e2e.conftest import SECRET, WAIT_S

from temppass.core.model import Changes, Ledger, Subject, SubjectKind
from temppass.service.context import keys_of
from temppass.service.decisions import origin_of
from temppass.service.narrowed import CHUNK
from temppass.settings import read_settings
from temppass.wiring import Application, assemble

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder, Server, Wire

HERE = "/control/v1/environments/release-production"
PLACE = ("release-production", "ACME1", "P0")
AGENTS, ROUNDS = 6, 2
MINUTES = 10
#: what each agent does again and again: its kind, and how many minutes more than at first the viewer then has, or none
CYCLE: list[tuple[str, int | None]] = [
    ("reset", None),
    ("undo", 0),
    ("grant", MINUTES),
    ("undo", 0),
    ("reset", None),
    ("undo", 0),
    ("reset.everybody", None),
    ("undo", 0),
    ("reset.everybody", None),
    ("undo", 0),
]
#: the turn of the vendor's wire, which knows no idempotency keys
WIRE = 6
CATALOGUE = """
programmer = [{ id = "acme" }]
channel = [{ id = "ACME1", programmer = "acme" }]
application = [{ id = "ops", channels = "all", scopes = ["api:client:v2", "temporary:passes:owner"] }]
""" + "".join(
    f"""
[[pass]]
id = "P{number}"
kind = "basic"
ttl = "28d"
channels = ["ACME1"]
"""
    for number in range(AGENTS)
)


class Agent:
    """
    One that sets right, under a pass of its own, what one viewer has. `ids` are of the acts that were answered or,
    after a crash, found on record.
    """

    def __init__(self, wire: "Wire", token: str, number: int) -> None:
        self.ids: list[str] = []
        self._pass = {"channel": "ACME1", "pass": f"P{number}"}
        self._device = {"device": f"tv-{number}"}
        self._wire = wire
        self._token = {"Authorization": f"Bearer {token}"}
        wire.decide(f"tv-{number}", "FILM", f"P{number}")
        self._before: dict[str, Any] = self._viewer()

    def act(self) -> str:
        """Do the next act, named by its number: the same one again, if nobody knows whether it was done."""
        number = len(self.ids)
        turn = number % len(CYCLE)
        once = f"{self._pass['pass']} {number}"
        if turn == WIRE:
            query = {"requestor_id": "ACME1", "mvpd_id": self._pass["pass"], "device_id": "all"}
            answer = self._wire.http.delete("/reset-tempass/v3/reset", params=query)
            return str(answer.headers["temppass-reset-id"])
        path, body = "/resets", dict[str, Any](self._pass)
        match turn:
            case 0:
                body |= self._device
            case 2:
                path, body = "/grants", {**body, **self._device, "minutes": MINUTES}
            case 4:
                body |= {"subjects": [self._before["subject"]]}
            case 8:
                body |= {"everybody": "devices"}
                body |= {"plan": self._ask("/plans", body, Idempotency_Key=f"{once}, planned").json()["id"]}
            case _:
                path, body = f"/{'grants' if turn == 3 else 'resets'}/{self.ids[-1]}/undo", {}
        return str(self._ask(path, body, Idempotency_Key=once).json()["id"])

    def undo(self, id_: str) -> str:
        """Undo an act of any pass, by one idempotency key for each; answer the id of that."""
        return str(self._ask(f"/resets/{id_}/undo", {}, Idempotency_Key=id_).json()["id"])

    def on_record(self, pass_id: str | None = None) -> list[tuple[str, str]]:
        """Answer kind and id of all acts under a pass, by default its own, the oldest first."""
        found = self.search(channels=["ACME1"], **{"pass": pass_id or self._pass["pass"]})
        return [(each["kind"], each["id"]) for each in found]

    def search(self, **wanted: Any) -> list[dict[str, Any]]:
        """Answer the acts that are wanted, all of which have a place in the chain by then, the oldest first."""
        lines = self._ask("/acts/search", wanted, Accept="application/jsonl").text.splitlines()
        return list(map(json.loads, lines))

    def warnings(self, pass_id: str) -> str:
        return "".join(self._ask("/explain", {**self._device, **self._pass, "pass": pass_id}).json()["warnings"])

    def minutes_more(self) -> int | None:
        """Answer how many minutes more than at first the viewer has; None where the trial is gone."""
        viewer = self._viewer()
        if viewer["state"] != "running":
            return None
        ends = [datetime.fromisoformat(each["expires_at"]) for each in (self._before, viewer)]
        return (ends[1] - ends[0]) // timedelta(minutes=1)

    def _viewer(self) -> dict[str, Any]:
        (viewer,) = self._ask("/explain", {**self._pass, **self._device}).json()["subjects"]
        return dict(viewer)

    def _ask(self, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._wire.http.post(f"{HERE}{path}", json=body, headers=self._token | named)
        assert answer.status_code in {200, 201}, answer.text
        return answer


class Load:
    """What agents of one server do until, after so many answers, one of them has it killed."""

    def __init__(self, server: "Server", agents: list[Agent]) -> None:
        self._server = server
        self._agents = agents
        self._answers_left = random.randrange(5, 150)
        self._lock = threading.Lock()

    def works(self) -> list[Callable[[], None]]:
        return [self._seal, *((lambda agent=agent: self._act(agent)) for agent in self._agents)]

    def _act(self, agent: Agent) -> None:
        try:
            while self._answers_left > 0:
                agent.ids.append(agent.act())
                with self._lock:
                    self._answers_left -= 1
                    last = self._answers_left == 0
                if last:
                    self._server.end(signal.SIGKILL)
        except httpx2.TransportError:
            pass  # the server is gone

    def _seal(self) -> None:
        try:
            while self._answers_left > 0:
                self._agents[0].search()
        except httpx2.TransportError:
            pass


def test_an_act_is_on_record_if_and_only_if_its_effect_is_there(place: "Folder") -> None:
    """And done once, however often it is asked for; and two that seal at once seal nothing twice and leave no gap."""
    place.declare(CATALOGUE)
    token = place.temppass("operator", "create", "ann", "--role", "operator").out.strip()
    servers = [place.serve() for _ in range(2 if place.database else 1)]
    wires = [place.application(server) for server in servers]
    agents = [Agent(wires[number % len(wires)], token, number) for number in range(AGENTS)]
    heads, sequences = list[str](), list[int]()
    for _ in range(ROUNDS):
        loads = [Load(server, agents[number :: len(servers)]) for number, server in enumerate(servers)]
        works = [work for load in loads for work in load.works()]
        with ThreadPoolExecutor(len(works)) as threads:
            list(threads.map(lambda work: work(), works))
        for server, wire in zip(servers, wires, strict=True):
            server.start()
            wire.move(server.url)
        assert [told for told in map(unexplained, agents) if told] == []
        sequences = [each["sequence"] for each in agents[0].search()]
        kept = ("--head", heads[-1]) if heads else ()
        head = place.temppass("audit", "verify", "--in", "release-production", *kept)
        heads.append(head.out.strip())
        assert (sequences, head.code, head.err) == ([*range(1, len(sequences) + 1)], 0, "")
    assert heads[-1].startswith(f"{len(sequences)}:")


def unexplained(agent: Agent) -> str | None:
    """
    Tell what is on record without its effect, or the other way round, None where nothing is; an act that nobody had
    answered is asked for again, and known afterwards.
    """
    known, found, more = agent.ids, agent.on_record(), agent.minutes_more()
    done = [CYCLE[number % len(CYCLE)] for number in range(len(found))]
    told = [kind for kind, _ in done], done[-1][1] if done else 0
    if ([kind for kind, _ in found], more) != told or [id_ for _, id_ in found[: len(known)]] != known:
        return f"{found}, of which {known} were answered, and {more} minutes"
    lost = found[len(known) :]
    if len(lost) > 1 or any(agent.act() != id_ for _, id_ in lost if len(known) % len(CYCLE) != WIRE):
        return f"{lost} was done again"
    agent.ids += [id_ for _, id_ in lost]
    return None if agent.on_record() == found else f"{found} became {agent.on_record()}"


# --- of many, chunk by chunk

LEDGERS = 8 * CHUNK
LEDGERS_OF = (PLACE, SubjectKind.DEVICE)
FIRST = Subject(SubjectKind.DEVICE, bytes(16))
PLAYER = "player"


def test_a_narrowed_reset_that_was_killed_can_be_undone_and_an_undo_that_was_killed_goes_on(place: "Folder") -> None:
    """The act precedes its chunks, which go and come back whole; an explanation says what is not finished."""
    place.declare(CATALOGUE)
    asyncio.run(fill(place))
    token = place.temppass("operator", "create", "ann", "--role", "operator").out.strip()
    server = place.serve()
    wire = place.application(server)
    agent = Agent(wire, token, 1)
    killed(place, server, partial(wire.reset, "P0", device_id="all", appId=PLAYER), lambda first: first != FIRST)
    left = asyncio.run(count(place))
    server.start()
    wire.move(server.url)
    ((kind, id_),) = agent.on_record("P0")
    is_broken_off = not agent.search(kinds=["reset.narrowed.end"])
    warned = f"The reset {id_} of some" in agent.warnings("P0")
    killed(place, server, partial(agent.undo, id_), lambda first: first == FIRST)
    server.start()
    wire.move(server.url)
    undone = {agent.undo(id_), agent.undo(id_)}
    ends = [each["matched"] for each in agent.search(kinds=["undo.end"])]
    assert (kind, left % CHUNK, warned) == ("reset.narrowed", 0, is_broken_off)
    assert (agent.on_record("P0")[1:], ends) == ([("undo", *undone)], [LEDGERS - left])
    assert (asyncio.run(count(place)), agent.warnings("P0")) == (LEDGERS, "")


def killed(
    place: "Folder", server: "Server", work: Callable[[], object], begun: Callable[[Subject | None], bool]
) -> None:
    """Kill the server in the middle of some work: once that shows in whose ledger is the first."""

    async def look() -> None:
        store = opened(place, read_only=True).store
        async with asyncio.timeout(WAIT_S):
            while not begun(next((subject for subject, _ in await store.ledgers(*LEDGERS_OF, b"", 1)), None)):
                continue
        server.end(signal.SIGKILL)
        await store.close()

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        asyncio.run(look())
        assert working.exception() is None or isinstance(working.exception(), httpx2.TransportError)


async def count(place: "Folder") -> int:
    store, found = opened(place, read_only=True).store, list[Subject]()
    while page := await store.ledgers(*LEDGERS_OF, found[-1].digest if found else b"", CHUNK):
        found += [subject for subject, _ in page]
    await store.close()
    return len(found)


async def fill(place: "Folder") -> None:
    """Give so many devices a trial that one application has begun."""
    application = opened(place)
    world = await application.service.world(PLACE[0])
    now = time.time_ns() // 1_000_000
    begun = Ledger(now, now + 86_400_000, 0, (), origin_of(world, PLAYER, None))
    subjects = [Subject(SubjectKind.DEVICE, number.to_bytes(16, "big")) for number in range(LEDGERS)]
    keys = keys_of(world, world.offer(world.channel(PLACE[1]), PLACE[2]), subjects)
    changes = Changes(tuple((subject, begun) for subject in subjects))
    await application.store.transact(keys, lambda _found: (None, changes))
    await application.store.close()


def opened(place: "Folder", *, read_only: bool = False) -> Application:
    store = place.database or f"sqlite:///{place.path}/temppass.db"
    settings = read_settings({"TEMPPASS_SECRET": SECRET} if place.database else {}, store=store)
    return assemble(settings, read_only=read_only)
