"""
Several slots: who goes where, what is left out while another server changes it, and nodes that go away or get a slot.

Ledgers of a slot are on one node; the tests have one PostgreSQL, which is reached as several through passages of their
own, and tables that say which node has what as Citus' do. What only a cluster can show is shown on one
(TEMPPASS_TEST_CITUS).
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import pytest
from tests.conftest import SLOT_KEYS, execute, migrate, new_database, put_into_slots
from tests.storage.test_races import Deed, elsewhere

from temppass.core.catalogue import EMPTY
from temppass.core.model import (
    NOTHING,
    Changes,
    Floors,
    Found,
    Kept,
    Ledger,
    Recorded,
    Subject,
    SubjectKind,
)
from temppass.core.world import EnvironmentRecord
from temppass.storage import postgres_slots
from temppass.storage.memory import MemoryStore
from temppass.storage.postgres import PostgresStore
from temppass.storage.postgres_spread import Spread
from temppass.storage.sqlite import SqliteStore
from temppass.store import Amendment, AmendmentOfAll, Keys, NotDistributed, SchemaOutdated, StoreUnavailable, Whole

A = TypeVar("A")
Step = Callable[[Found], tuple[Any, Changes]]

#: one in each slot
SUBJECTS = [Subject(SubjectKind.DEVICE, bytes([first]) * 16) for first in (0x10, 0x60, 0xB0)]
NEIGHBOUR = Subject(SubjectKind.DEVICE, b"\x11" * 16)
LEDGER = Ledger(1, 9, 0, ("A",))
SPREAD = Spread(tuple(SLOT_KEYS))


def keys(*subjects: Subject, version: int = 0, kept: tuple[str, ...] = ()) -> Keys:
    return Keys("here", version, ("REF", "P"), subjects, kept=kept)


def look(found: Found) -> tuple[tuple[Ledger | None, ...], Changes]:
    return found.ledgers, NOTHING


def writing(*ledgers: tuple[Subject, Ledger | None], **more: Any) -> Step:
    return lambda found: (found.ledgers, Changes(ledgers, **more))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url)
    try:
        yield store
    finally:
        await store.close()


def use(url: str, work: Callable[[PostgresStore], Awaitable[A]]) -> A:
    async def worked() -> A:
        async with opened(url) as store:
            return await work(store)

    return asyncio.run(worked())


# --- who goes where


def test_digests_are_in_the_order_of_the_slots() -> None:
    digests = [number.to_bytes(2, "big") + b"\xff" * 14 for number in range(1 << 16)]
    numbers = [SPREAD.number(digest) for digest in digests]
    assert (numbers, {*numbers}) == (sorted(numbers), {0, 1, 2})


def test_the_database_finds_the_slot_that_the_program_finds(postgres_server: str) -> None:
    """Where ledgers are put into slots, and where they are looked for afterwards."""
    rows = ", ".join(rf"(7, 0, 0, 0, 1, 0, '\x{number:04x}{'00' * 14}')" for number in range(0, 1 << 16, 97))
    columns = "integration, generation, started_at, expires_at, version, kind, subject"

    async def work(url: str) -> list[tuple[int, bytes]]:
        await migrate(url)
        await execute(url, f"INSERT INTO temppass.ledgers ({columns}) VALUES {rows}")
        await put_into_slots(url)
        connection = await asyncpg.connect(url)
        found = await connection.fetch("SELECT slot, subject FROM temppass.ledgers")
        await connection.close()
        return [(slot, subject) for slot, subject in found]

    with new_database(postgres_server) as url:
        found = asyncio.run(work(url))
    assert [slot for slot, _ in found] == [SLOT_KEYS[SPREAD.number(subject)] for _, subject in found]


# --- a database that gets several slots


def test_what_was_written_in_one_slot_is_found_in_several(postgres_server: str) -> None:
    """Ledgers, floors and versions."""
    pair = keys(*SUBJECTS, version=1)

    async def before(store: PostgresStore) -> None:
        await store.amend("here", create)
        await store.transact(pair, writing(*((each, LEDGER) for each in SUBJECTS), floors=Floors(0, 3)))

    async def after(store: PostgresStore) -> list[tuple[Floors, tuple[Ledger | None, ...]]]:
        asked = [pair, *(keys(each, version=1) for each in SUBJECTS)]
        return [await store.transact(each, lambda found: ((found.floors, found.ledgers), NOTHING)) for each in asked]

    with new_database(postgres_server) as url:
        asyncio.run(migrate(url))
        use(url, before)
        asyncio.run(put_into_slots(url))
        assert use(url, after) == [(Floors(0, 3), (LEDGER,) * n) for n in (3, 1, 1, 1)]


def test_slots_come_about_while_nobody_serves(postgres_server: str) -> None:
    async def work(store: PostgresStore, url: str) -> None:
        await store.transact(keys(SUBJECTS[0]), look)
        with pytest.raises(
            NotDistributed, match=r"^servers are connected \(temppass 3\): stop them, and run this again$"
        ):
            await put_into_slots(url)

    with new_database(postgres_server) as url:
        asyncio.run(migrate(url))
        use(url, lambda store: work(store, url))


def test_a_program_that_has_seen_other_slots_is_to_be_started_anew(postgres_server: str) -> None:
    """Its connections were all lost when the slots came about."""

    async def work(store: PostgresStore, url: str) -> str:
        await store.transact(keys(SUBJECTS[0]), look)
        await execute(url, _END_SESSIONS)
        await put_into_slots(url)
        refusals = []
        for _ in range(2):  # the first may have met the loss
            with pytest.raises(StoreUnavailable) as refused:
                await store.transact(keys(SUBJECTS[0]), writing((SUBJECTS[0], LEDGER)))
            refusals.append(str(refused.value))
        return refusals[-1]

    with new_database(postgres_server) as url:
        asyncio.run(migrate(url))
        told = use(url, lambda store: work(store, url))
    assert told == "the slots of the database are others than they were: start this server anew"


_END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'temppass%'
"""


def test_a_program_that_knows_of_no_slots_writes_no_ledger(slots: str) -> None:
    """An older one; it would find nothing, and begin every trial anew."""
    row = r"(0, 7, 0, 0, 0, 1, 0, '\x00')"
    columns = "slot, integration, generation, started_at, expires_at, version, kind, subject"
    with pytest.raises(asyncpg.CheckViolationError):
        asyncio.run(execute(slots, f"INSERT INTO temppass.ledgers ({columns}) VALUES {row}"))


def test_what_is_in_one_place_is_not_spread() -> None:
    with pytest.raises(NotDistributed, match="only PostgreSQL with Citus"):
        asyncio.run(MemoryStore().distribute(None))


def test_a_file_is_not_spread(tmp_path: Any) -> None:
    async def work() -> None:
        store = SqliteStore(tmp_path / "store.db")
        try:
            await store.distribute(2)
        finally:
            await store.close()

    with pytest.raises(NotDistributed, match="only PostgreSQL with Citus"):
        asyncio.run(work())


def test_a_database_without_citus_is_not_spread_and_stays_as_it_is(postgres: str) -> None:
    async def work(store: PostgresStore) -> tuple[Ledger | None, ...]:
        with pytest.raises(NotDistributed, match=r"^the extension citus is not to be had here"):
            await store.distribute(2)
        return await store.transact(keys(SUBJECTS[0]), writing((SUBJECTS[0], LEDGER)))

    assert use(postgres, work) == (None,)


def test_a_trip_begins_when_enough_steps_wait_and_the_first_at_once(
    one_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long two of them are to be apart."""
    monkeypatch.setattr(postgres_slots, "PACE_S", 3_600)
    monkeypatch.setattr(postgres_slots, "WORTH_IT", 2)

    async def work(store: PostgresStore) -> list[Any]:
        first = await store.transact(keys(SUBJECTS[0]), look)
        alone = asyncio.create_task(store.transact(keys(SUBJECTS[0]), look))
        other = await store.transact(keys(SUBJECTS[1]), look)
        waits = not alone.done()
        return [first, other, waits, *await asyncio.gather(alone, store.transact(keys(NEIGHBOUR), look))]

    assert use(one_place, work) == [(None,), (None,), True, (None,), (None,)]


# --- what another server is changing


@asynccontextmanager
async def locked(url: str, *locks: int, shared: bool = False) -> AsyncIterator[None]:
    """Keep locks as a server does whose transaction is not committed everywhere yet."""
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.fetch(f"SELECT {function}(lock) FROM unnest($1::bigint[]) AS k (lock)", locks)
            yield
    finally:
        await connection.close()


def test_a_step_waits_for_a_subject_that_another_server_changes_and_others_go_on(one_place: str) -> None:
    async def work(store: PostgresStore) -> tuple[list[Any], Any]:
        await store.transact(keys(*SUBJECTS), writing(*((each, LEDGER) for each in SUBJECTS)))
        async with locked(one_place, SPREAD.lock_of_subject(SUBJECTS[0])):
            waiting = asyncio.create_task(store.transact(keys(SUBJECTS[0]), look))
            others: list[Any] = [await store.transact(keys(each), look) for each in (NEIGHBOUR, SUBJECTS[1])]
            others.append(waiting.done())
        return others, await waiting

    assert use(one_place, work) == ([(None,), (LEDGER,), False], (LEDGER,))


@pytest.mark.parametrize("subjects", [SUBJECTS[:1], SUBJECTS[:2]], ids=["one slot", "two slots"])
@pytest.mark.parametrize("of_subject", [True, False], ids=["subject", "integration"])
def test_nobody_waits_for_long(
    one_place: str,
    subjects: list[Subject],
    of_subject: bool,  # noqa: FBT001 - a case
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that went away between two halves of a commit keeps its locks until it is back."""
    monkeypatch.setattr(postgres_slots, "TAKEN_WAIT_S", 0.05)

    async def work(store: PostgresStore) -> str:
        await store.transact(keys(NEIGHBOUR), writing((NEIGHBOUR, LEDGER)))
        await store.transact(keys(NEIGHBOUR), look)
        locks = [SPREAD.lock_of_subject(SUBJECTS[0])] if of_subject else SPREAD.locks(0, (), [await _id(one_place)])
        async with locked(one_place, *locks):
            with pytest.raises(StoreUnavailable) as refused:
                await store.transact(keys(*subjects), look)
        return str(refused.value)

    assert use(one_place, work) == "another server is changing the same, or was when a node went away"


def test_nobody_waits_for_an_environment_that_is_rewritten(one_place: str) -> None:
    """How it is now is asked of the node that changes it first."""

    async def work(store: PostgresStore) -> Any:
        async with locked(one_place, *SPREAD.locks(0, ["here"], ())):
            return await store.transact(keys(SUBJECTS[0]), look)

    assert use(one_place, work) == (None,)


def test_who_waits_for_a_subject_gets_it_before_whoever_asks_again(slots: str) -> None:
    async def work(store: PostgresStore) -> Any:
        over = asyncio.Event()

        async def again_and_again(other: PostgresStore) -> None:
            while not over.is_set():
                await other.transact(keys(*SUBJECTS), writing((SUBJECTS[0], LEDGER)))

        async with opened(slots) as other:
            writer = asyncio.create_task(again_and_again(other))
            for _ in range(50):
                await store.transact(keys(*SUBJECTS), look)
            over.set()
            await writer
        return "was served"

    assert use(slots, work) == "was served"


async def _id(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT id FROM temppass.integration"))
    finally:
        await connection.close()


def create(old: EnvironmentRecord | None) -> Amendment[None]:
    """Begin an environment, or write it anew."""
    return None, EnvironmentRecord(old.version + 1 if old else 1, EMPTY, {}, {}, b""), Recorded(f"{old}", 1, b"r")


async def done_or_waiting(url: str, task: asyncio.Future[Any]) -> str:
    """Answer which of both comes first: `task` is done, or somebody waits for a lock of ours."""
    connection = await asyncpg.connect(url)
    while not task.done() and not await connection.fetchval(_WAITS):
        continue
    await connection.close()
    return "done" if task.done() else "waiting"


def test_a_reset_of_everybody_waits_for_those_who_rest_on_the_floors(one_place: str) -> None:
    async def work(store: PostgresStore) -> tuple[str, Any]:
        await store.transact(keys(SUBJECTS[0]), writing((SUBJECTS[0], LEDGER), floors=Floors()))
        async with locked(one_place, *SPREAD.locks(2, (), [await _id(one_place)]), shared=True):
            reset = asyncio.create_task(store.transact(keys(), writing(floors=Floors(1))))
            told = await done_or_waiting(one_place, reset)
        await reset
        return told, await store.transact(keys(SUBJECTS[2]), lambda found: (found.floors, NOTHING))

    assert use(one_place, work) == ("waiting", Floors(1))


@pytest.mark.parametrize("of_all", [False, True], ids=["of one", "of all"])
def test_an_environment_is_rewritten_when_nobody_looks_at_it_in_any_slot(one_place: str, of_all: bool) -> None:  # noqa: FBT001 - a case
    def amend_all(_whole: Whole) -> AmendmentOfAll[None]:
        _, record, _ = create(None)
        return None, {"here": record} if record is not None else {}, None

    async def work(store: PostgresStore) -> tuple[str, Any]:
        async with locked(one_place, *SPREAD.locks(2, ["here"], ()), shared=True):
            amendment = asyncio.ensure_future(store.amend_all(amend_all) if of_all else store.amend("here", create))
            told = await done_or_waiting(one_place, amendment)
        await amendment
        return told, await store.transact(keys(SUBJECTS[2], version=1), look)

    assert use(one_place, work) == ("waiting", (None,))


def test_what_means_no_slot_is_done_while_a_reset_of_everybody_fails_at_one(one_place: str) -> None:
    """One in doubt, or on a node that hangs; the next reset is told so at once."""
    kept = Kept("session", "K7Q2MXA", 9, b"{}")
    held = Keys("here", 0, kept=(kept.key,))

    async def work(store: PostgresStore) -> list[Any]:
        await store.transact(keys(SUBJECTS[0]), writing((SUBJECTS[0], LEDGER)))
        async with locked(one_place, *SPREAD.locks(1, (), [await _id(one_place)])):
            reset = asyncio.ensure_future(store.transact(keys(), writing(floors=Floors(1))))
            await done_or_waiting(one_place, reset)
            session = store.transact(held, lambda _: ("done", Changes(kept=(kept,))))
            told: list[Any] = [*await asyncio.gather(reset, session, return_exceptions=True)]
            again = store.transact(keys(), writing(floors=Floors(1))), store.transact(held, look)
            told += await asyncio.gather(*again, return_exceptions=True)
        return [isinstance(told[0], StoreUnavailable), told[1], str(told[2]), told[3]]

    assert use(one_place, work) == [True, "done", "slot 1 is away", ()]


def test_a_slot_learns_of_an_integration_when_nobody_changes_it(one_place: str) -> None:
    """Else what it is told may be what was so before."""

    async def work(store: PostgresStore) -> tuple[str, Any]:
        await store.transact(keys(SUBJECTS[0]), writing((SUBJECTS[0], LEDGER)))
        async with locked(one_place, *SPREAD.locks(2, (), [await _id(one_place)])):
            first = asyncio.ensure_future(store.transact(keys(SUBJECTS[2]), look))
            told = await done_or_waiting(one_place, first)
        return told, await first

    assert use(one_place, work) == ("waiting", (None,))


_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


def keep_locked(url: str, *locks: int) -> Callable[[], None]:
    """Have another server keep locks until what this answers is called."""
    held, over = threading.Event(), threading.Event()

    async def keep() -> None:
        async with locked(url, *locks):
            held.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(keep()))
    thread.start()
    held.wait()

    def let_go() -> None:
        over.set()
        thread.join()

    return let_go


@pytest.mark.parametrize("of_subject", [True, False], ids=["subject", "integration"])
def test_what_is_locked_after_it_was_read_is_not_written(one_place: str, of_subject: bool) -> None:  # noqa: FBT001 - a case
    """Two that rest on the floors, of which another server has read one beside a third, or changes the floors."""
    pair = (SUBJECTS[0], NEIGHBOUR)

    async def work(store: PostgresStore) -> tuple[bool, Any]:
        await store.transact(keys(NEIGHBOUR), writing((NEIGHBOUR, LEDGER)))
        locks = [SPREAD.lock_of_subject(NEIGHBOUR)] if of_subject else SPREAD.locks(0, (), [await _id(one_place)])
        let_go: list[Callable[[], None]] = []

        def step(_found: Found) -> tuple[None, Changes]:
            if not let_go:
                let_go.append(keep_locked(one_place, *locks))
            return None, Changes(tuple((each, LEDGER) for each in pair))

        write = asyncio.ensure_future(store.transact(keys(*pair), step))
        while not (write.done() or store.retries):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        written = write.done()
        let_go[0]()
        await write
        return written, await store.transact(keys(*pair), look)

    assert use(one_place, work) == (False, (LEDGER, LEDGER))


def test_ledgers_of_one_slot_rest_on_the_floors_as_they_are_when_they_are_written(one_place: str) -> None:
    pair, seen = (SUBJECTS[0], NEIGHBOUR), []

    def step(found: Found) -> tuple[None, Changes]:
        seen.append(found.floors)
        if found.floors == Floors():
            elsewhere(one_place, Deed(lambda other: other.transact(keys(), writing(floors=Floors(1)))))
        return None, Changes(tuple((each, Ledger(1, 9, found.floors.device)) for each in pair))

    async def work(store: PostgresStore) -> Any:
        await store.transact(keys(NEIGHBOUR), writing((NEIGHBOUR, LEDGER)))
        await store.transact(keys(*pair), step)
        return seen

    assert use(one_place, work) == [Floors(), Floors(1)]


def test_an_amendment_that_changes_nothing_asks_no_slot(one_place: str) -> None:
    """So that it is answered while one is away."""
    functions = ("lock_slot", "tell_slot", "read_slot")

    async def work(store: PostgresStore) -> tuple[str, str]:
        await store.environments()
        for name in functions:
            await execute(one_place, f"ALTER FUNCTION temppass.{name} RENAME TO {name}_away")
        try:
            one = await store.amend("here", lambda _old: ("nothing", None, None))
            return one, await store.amend_all(lambda _whole: ("nothing", {}, None))
        finally:
            for name in functions:
                await execute(one_place, f"ALTER FUNCTION temppass.{name}_away RENAME TO {name}")

    assert use(one_place, work) == ("nothing", "nothing")


@pytest.mark.parametrize("of_floors", [True, False], ids=["floors", "environment"])
def test_what_a_slot_does_not_show_is_not_said_to_be_done(one_place: str, of_floors: bool) -> None:  # noqa: FBT001 - a case
    """Its node went away before it had committed."""
    deaf = f"""
CREATE FUNCTION public.deaf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER deaf BEFORE INSERT OR UPDATE ON temppass.standing FOR EACH ROW WHEN (NEW.slot = {SLOT_KEYS[1]})
EXECUTE FUNCTION public.deaf();
CREATE TRIGGER deaf BEFORE INSERT OR UPDATE ON temppass.edition FOR EACH ROW WHEN (NEW.slot = {SLOT_KEYS[1]})
EXECUTE FUNCTION public.deaf()
"""

    async def work(store: PostgresStore) -> str:
        await store.transact(keys(SUBJECTS[0]), writing((SUBJECTS[0], LEDGER)))
        await execute(one_place, deaf)
        try:
            with pytest.raises(StoreUnavailable) as refused:
                await (store.transact(keys(), writing(floors=Floors(1))) if of_floors else store.amend("here", create))
        finally:
            await execute(one_place, "DROP FUNCTION public.deaf CASCADE")
        return str(refused.value)

    assert use(one_place, work) == "slot 1 does not show yet what was written"


@pytest.mark.parametrize("alone", [False, True], ids=["two slots", "one after another"])
def test_two_ledgers_that_change_together_are_never_seen_apart(slots: str, alone: bool) -> None:  # noqa: FBT001 - a case
    """Three hundred looks beside a server that writes both, in either order where one ledger is read after another."""
    pair = SUBJECTS[0], SUBJECTS[2]  # of two slots also where there are two

    async def write(store: PostgresStore, until: asyncio.Event) -> None:
        n = 0
        while not until.is_set():
            n += 1
            await store.transact(keys(*pair), writing(*((each, Ledger(n, n + 9, 0)) for each in pair)))

    async def play() -> int:
        async with opened(slots) as writer, opened(slots) as reader:
            over, torn = asyncio.Event(), 0
            writing_ = asyncio.create_task(write(writer, over))
            for n in range(300):
                if alone:  # the second is never older than the first
                    seen = [(await reader.transact(keys(each), look))[0] for each in (pair if n % 2 else pair[::-1])]
                    first, second = (ledger.started_at if ledger else 0 for ledger in seen)
                    torn += second < first
                else:
                    first_, second_ = await reader.transact(keys(*pair), look)
                    torn += first_ != second_
            over.set()
            await writing_
            return torn

    assert asyncio.run(play()) == 0


# --- nodes


class Passage:
    """A port of its own that leads to the one server, until it is shut."""

    def __init__(self, url: str) -> None:
        self._path = f"{url.partition('host=')[2]}/.s.PGSQL.5432".replace("%2F", "/")
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._leading: set[asyncio.Task[Any]] = set()
        #: how many came through
        self.used = 0

    async def unlock(self) -> None:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.port)

    async def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        if self._leading:
            await asyncio.wait(self._leading)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.used += 1
        task = asyncio.current_task()
        assert task is not None
        self._leading.add(task)
        task.add_done_callback(self._leading.discard)
        there, back = await asyncio.open_unix_connection(self._path)
        self._open |= {writer, back}
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        target.write(data)
        await target.drain()
    target.close()


#: which node has a slot, as Citus says it
_NODES = """
CREATE TABLE public.pg_dist_node (groupid integer, nodename text, nodeport integer, noderole text DEFAULT 'primary');
CREATE TABLE public.pg_dist_placement (shardid bigint, groupid integer);
CREATE FUNCTION public.get_shard_id_for_distribution_column(name text, key smallint) RETURNS bigint
LANGUAGE sql AS 'SELECT key::bigint';
"""


class Nodes:
    """A database of three slots, the first on one node and the others on a second."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.first, self.second = Passage(url), Passage(url)

    async def begin(self) -> None:
        nodes = (
            f"INSERT INTO pg_dist_node VALUES (1, '127.0.0.1', {self.first.port}), (2, '127.0.0.1', {self.second.port})"
        )
        one, two, three = SLOT_KEYS
        await execute(
            self.url, f"{_NODES}; {nodes}; INSERT INTO pg_dist_placement VALUES ({one}, 1), ({two}, 2), ({three}, 2)"
        )
        await self.first.unlock()
        await self.second.unlock()

    async def end(self) -> None:
        await self.first.shut()
        await self.second.shut()

    async def move(self, number: int, group: int) -> None:
        await execute(self.url, f"UPDATE pg_dist_placement SET groupid = {group} WHERE shardid = {SLOT_KEYS[number]}")


@pytest.fixture
def nodes(postgres_server: str) -> Iterator[Nodes]:
    with new_database(postgres_server) as url:
        asyncio.run(migrate(url))
        asyncio.run(put_into_slots(url))
        yield Nodes(url)


def with_nodes(nodes: Nodes, work: Callable[[PostgresStore], Coroutine[Any, Any, A]]) -> A:
    async def worked(store: PostgresStore) -> A:
        await nodes.begin()
        await store.transact(keys(*SUBJECTS), writing(*((each, LEDGER) for each in SUBJECTS)))
        for each in SUBJECTS:
            await store.transact(keys(each), look)
        try:
            return await work(store)
        finally:
            await store.close()
            await nodes.end()

    return use(nodes.url, worked)


async def answers(store: PostgresStore, *asked: Keys) -> list[str]:
    """Answer "served" or what the store says instead, for each."""
    told = await asyncio.gather(*(store.transact(each, look) for each in asked), return_exceptions=True)
    return [str(each) if isinstance(each, Exception) else "served" for each in told]


def test_each_slot_is_asked_at_its_node(nodes: Nodes) -> None:
    async def work(_store: PostgresStore) -> tuple[int, int]:
        return nodes.first.used, nodes.second.used

    assert with_nodes(nodes, work) == (1, 2)


def test_while_a_node_is_away_the_slots_of_others_are_served(nodes: Nodes) -> None:
    async def work(store: PostgresStore) -> list[str]:
        await nodes.first.shut()
        return [told if told == "served" else "away" for told in await answers(store, *map(keys, SUBJECTS))]

    assert with_nodes(nodes, work) == ["away", "served", "served"]


def test_the_store_says_which_slot_is_away_and_where_and_is_there(nodes: Nodes) -> None:
    """Viewers of other slots are to be sent to the servers all the same."""

    async def work(store: PostgresStore) -> tuple[str, ...]:
        await nodes.first.shut()
        await store.ping()
        return store.whereabouts.away

    refused = "ConnectionRefusedError: [Errno 111] Connect call failed"
    first = f"slot 0 on 127.0.0.1:{nodes.first.port}: {refused} ('127.0.0.1', {nodes.first.port})"
    assert with_nodes(nodes, work) == (first,)


def test_a_schema_that_is_gone_is_no_part_that_is_away(nodes: Nodes) -> None:
    async def work(store: PostgresStore) -> str:
        await nodes.end()
        await execute(nodes.url, "ALTER SCHEMA temppass RENAME TO gone")
        try:
            with pytest.raises((StoreUnavailable, SchemaOutdated)) as refused:
                await store.ping()
        finally:
            await execute(nodes.url, "ALTER SCHEMA gone RENAME TO temppass")
        return type(refused.value).__name__

    assert with_nodes(nodes, work) == "SchemaOutdated"


def test_a_node_that_comes_back_is_asked_again(nodes: Nodes) -> None:
    async def work(store: PostgresStore) -> list[str]:
        await nodes.first.shut()
        await answers(store, keys(SUBJECTS[0]))
        await nodes.first.unlock()
        return await answers(store, *map(keys, SUBJECTS))

    assert with_nodes(nodes, work) == ["served"] * 3


def test_a_slot_is_found_where_it_has_moved(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for now and then, and not only once its node has gone."""
    monkeypatch.setattr(postgres_slots, "MOVED_S", 0)

    async def work(store: PostgresStore) -> tuple[int, list[str]]:
        before = nodes.second.used
        await nodes.move(0, 2)
        await answers(store, keys(SUBJECTS[0]))
        await nodes.first.shut()
        return nodes.second.used - before, await answers(store, keys(SUBJECTS[0]))

    assert with_nodes(nodes, work) == (1, ["served"])


def test_a_slot_whose_node_has_gone_is_looked_for(nodes: Nodes) -> None:
    async def work(store: PostgresStore) -> list[str]:
        await nodes.first.shut()
        await nodes.move(0, 2)
        told: list[str] = []
        for _ in range(2):  # the first may have met the loss
            told = await answers(store, keys(SUBJECTS[0]))
        return told

    assert with_nodes(nodes, work) == ["served"]


def test_a_document_is_kept_along_with_ledgers_of_several_slots_or_not_at_all(slots: str) -> None:
    kept = Kept("session", "K7Q2MXA", 9, b"{}")
    both = keys(*SUBJECTS, kept=(kept.key,))

    async def work(store: PostgresStore) -> list[Any]:
        def failing(found: Found) -> tuple[None, Changes]:
            raise LookupError

        await store.transact(both, writing(*((each, LEDGER) for each in SUBJECTS), kept=(kept,)))
        with pytest.raises(LookupError):
            await store.transact(both, failing)
        return [await store.transact(both, lambda found: ((found.ledgers, found.kept), NOTHING))]

    assert use(slots, work) == [((LEDGER,) * 3, (kept,))]
