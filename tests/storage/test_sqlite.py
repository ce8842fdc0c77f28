"""
What only a file can do: be migrated, be of another program, be locked or full; and what the writer thread does with
steps that wait.
"""

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from temppass.core.act import Wanted
from temppass.core.catalogue import EMPTY
from temppass.core.model import NOTHING, Changes, Floors, Found, Kept, Ledger, Origin, Subject, SubjectKind
from temppass.core.world import EnvironmentRecord
from temppass.storage import sqlite_file
from temppass.storage.hold import Hold
from temppass.storage.schema import migrations, statements
from temppass.storage.search import search
from temppass.storage.sqlite import SqliteReader, SqliteStore
from temppass.store import (
    WAITING_MAX,
    Keys,
    Outdated,
    SchemaOutdated,
    Stale,
    Store,
    StoreBusy,
    StoreHeld,
    StoreUnavailable,
)

A = TypeVar("A")

T0, DAY = 1_767_261_600_000, 86_400_000
DEVICE = Subject(SubjectKind.DEVICE, b"d" * 16)
KEYS = Keys("release-production", 0, ("REF", "TempPassREF"), (DEVICE,), large=True)
HERE = ("release-production", "REF", "TempPassREF")
TABLES = [
    "audit", "chain", "client", "counter", "ended", "environment", "integration", "kept", "ledger", "raised", "server",
    "statement", "target",
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def use(path: Path, work: Callable[[SqliteStore], Coroutine[Any, Any, A]]) -> A:
    async def opened() -> A:
        store = SqliteStore(path)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(opened())


def gaining(title: str) -> Callable[[Found], tuple[int, Changes]]:
    """Add a title to the ledger; answer how many it held before."""

    def step(found: Found) -> tuple[int, Changes]:
        used = found.ledgers[0].used if found.ledgers[0] else ()
        return len(used), Changes(((DEVICE, Ledger(T0, T0 + DAY, 0, (*used, title))),))

    return step


async def titles(store: Store) -> tuple[str, ...]:
    return await store.transact(KEYS, lambda found: (found.ledgers[0].used if found.ledgers[0] else (), NOTHING))


async def answers(*asked: Coroutine[Any, Any, int]) -> list[object]:
    """Wait for all of them; an exception is told by its type."""
    told = await asyncio.gather(*asked, return_exceptions=True)
    return [type(each) if isinstance(each, BaseException) else each for each in told]


class Gate:
    """A step that holds the writer thread until it is opened, so that a test decides what waits behind it."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, _found: Found) -> tuple[int, Changes]:
        self.reached.set()
        self.opened.wait()
        return -1, NOTHING

    async def hold(self, store: SqliteStore) -> "asyncio.Task[int]":
        held = asyncio.create_task(store.transact(KEYS, self))
        await asyncio.to_thread(self.reached.wait)
        return held


def select(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


# --- the schema


def test_a_new_file_is_migrated_and_a_current_one_left_as_it_is(path: Path) -> None:
    async def work(store: SqliteStore) -> int:
        return await store.transact(KEYS, gaining("A"))

    told = [use(path, work), use(path, work)]
    tables = select(path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    assert (told, tables, select(path, "PRAGMA user_version")) == ([0, 1], [(name,) for name in TABLES], [(6,)])


def test_few_acts_of_a_kind_among_many_are_found_without_reading_those(path: Path) -> None:
    """Also where there is a channel, which many others are on."""
    use(path, Store.check)
    where = "environment = 'E' AND sequence IS NOT NULL AND kind IN ('k')"
    base = f"EXPLAIN QUERY PLAN SELECT document FROM audit WHERE {where}"
    plans = [select(path, f"{base} {more} ORDER BY sequence DESC") for more in ("", "AND channel IN ('c')")]
    assert [[row[3].split()[4] for row in plan] for plan in plans] == [["audit_kind"]] * 2


def test_two_processes_may_open_a_new_file_at_once(path: Path) -> None:
    async def work() -> list[tuple[str, ...]]:
        stores = await asyncio.gather(*(asyncio.to_thread(SqliteStore, path) for _ in range(4)))
        for number, store in enumerate(stores):
            await store.transact(KEYS, gaining(str(number)))
        found = [await titles(store) for store in stores]
        await asyncio.gather(*(store.close() for store in stores))
        return found

    assert asyncio.run(work()) == [("0", "1", "2", "3")] * 4


def test_a_newer_schema_is_refused_and_let_go(path: Path) -> None:
    select(path, "PRAGMA user_version = 99")
    with pytest.raises(SchemaOutdated, match="use a newer temppass"):
        SqliteStore(path)
    with closing(sqlite3.connect(path, timeout=0)) as another:
        another.execute("CREATE TABLE t (x)")
    assert select(path, "PRAGMA user_version") == [(99,)]


def test_a_migration_that_fails_leaves_nothing_behind(path: Path) -> None:
    """The file has a table of the same name as the last one of the schema."""
    select(path, "CREATE TABLE audit (x)")
    with pytest.raises(StoreUnavailable, match="cannot migrate"):
        SqliteStore(path)
    assert select(path, "SELECT name FROM sqlite_schema") == [("audit",)]


def of_before(path: Path) -> None:
    """Make a file as the first version of this program did, with something in every table that it had."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        for statement in statements(migrations("sqlite")[0][1]):
            file.execute(statement)
        file.execute("PRAGMA user_version = 1")
        file.execute("INSERT INTO trial VALUES (7, 'release-production', 'REF', 'TempPassREF', 3, 1, 5)")
        row = (DEVICE.digest, T0, T0 + DAY, b'["A"]')
        file.execute("INSERT INTO ledger VALUES (7, 0, ?, 3, ?, ?, ?, NULL, NULL)", row)
        file.execute("INSERT INTO session VALUES ('release-production', 'K7Q2MXA', 9, x'7b7d')")
        file.execute("INSERT INTO audit VALUES ('r1', 5, 'release-production', x'7b7d')")


def test_a_file_of_the_version_before_is_brought_over(path: Path) -> None:
    of_before(path)

    async def work(store: SqliteStore) -> tuple[Found, list[bytes]]:
        keys = replace(KEYS, kept=("K7Q2MXA",))
        found = await store.transact(keys, lambda found: (found, NOTHING))
        return found, await store.unsealed("release-production", 10)

    kept = Kept("session", "K7Q2MXA", 9, b"{}")
    found = Found(Floors(3, 1, 5), (Ledger(T0, T0 + DAY, 3, ("A",)),), None, (kept,))
    assert (use(path, work), select(path, "PRAGMA journal_mode")) == ((found, [b"{}"]), [("wal",)])


def test_a_file_that_a_server_of_the_version_before_has_open_is_left_as_it_is(path: Path) -> None:
    """Its tables get other names, so that server could not go on."""
    of_before(path)
    with closing(sqlite3.connect(path)) as server:
        server.execute("SELECT * FROM trial").fetchall()
        with pytest.raises(StoreUnavailable, match="stop that, then begin again"):
            SqliteStore(path)
        assert server.execute("SELECT id FROM trial").fetchall() == [(7,)]
    assert select(path, "PRAGMA user_version") == [(1,)]


def test_what_is_no_database_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 100)
    for name in ("text.db", "no/such/folder.db", "."):
        with pytest.raises(StoreUnavailable, match="cannot open"):
            SqliteStore(tmp_path / name)


def test_a_commit_is_on_disk_before_it_is_answered(path: Path) -> None:
    """WAL with `synchronous` FULL (2) is what design §4.1 rests on."""

    async def work(store: SqliteStore) -> list[object]:
        pragmas = ("journal_mode", "synchronous")
        return [store._connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]

    assert use(path, work) == ["wal", 2]


def test_neither_a_basic_nor_a_narrow_ledger_holds_what_it_does_not_need(path: Path) -> None:
    """Design §4.1: a small row; titles and origins take room only where there are some."""
    ledgers = (
        (DEVICE, Ledger(T0, T0 + DAY, 0)),
        (Subject(SubjectKind.USER_KEY, b"k"), Ledger(T0, T0, 0, ("A",), Origin(b"o"))),
    )

    async def work(store: SqliteStore) -> None:
        await store.transact(KEYS, lambda _found: (None, Changes(ledgers)))

    use(path, work)
    found = select(path, "SELECT used, app_id, device_user FROM ledger ORDER BY kind")
    assert found == [(None, None, None), (b'["A"]', b"o", None)]


# --- who may use the file


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_a_store_is_for_its_owner_alone_whatever_the_umask(path: Path, umask: int) -> None:
    async def work(store: SqliteStore) -> dict[str, int]:
        await store.transact(KEYS, gaining("A"))
        return modes(path)

    before = os.umask(umask)
    try:
        found = use(path, work)
    finally:
        os.umask(before)
    assert found == {"store.db": 0o600, "store.db-shm": 0o600, "store.db-wal": 0o600}


def test_a_store_that_others_could_use_is_theirs_no_more(path: Path) -> None:
    """A program of before made it, was killed, and left its log behind."""

    async def work(store: SqliteStore) -> dict[str, int]:
        await titles(store)
        return modes(path)

    path.touch()
    path.chmod(0o664)
    with closing(sqlite3.connect(path)) as another:
        another.execute("PRAGMA journal_mode = WAL")
        another.execute("CREATE TABLE t (x)")
        before = modes(path)
        assert (set(before.values()), use(path, work)) == ({0o664}, dict.fromkeys(before, 0o600))


def test_what_is_no_store_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 100)
    (tmp_path / "text.db").chmod(0o644)
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path / "text.db")
    assert modes(tmp_path / "text.db") == {"text.db": 0o644}


# --- those who only look


def traces(folder: Path) -> dict[str, tuple[object, ...]]:
    """Answer what can be seen of everything in a folder; its own time tells what came and went meanwhile."""
    return {
        file.name: (file.stat().st_mtime_ns, file.stat().st_mode, file.read_bytes() if file.is_file() else b"")
        for file in [folder, *folder.iterdir()]
    }


def look(path: Path) -> tuple[str, ...]:
    return asyncio.run(titles(SqliteReader(path)))


@pytest.mark.parametrize("left", [[], ["-shm", "-wal"]], ids=["closed", "killed"])
def test_to_read_a_store_that_nobody_serves_leaves_no_trace(path: Path, tmp_path: Path, left: list[str]) -> None:
    copy = tmp_path / "copy" / path.name

    async def work(store: SqliteStore) -> None:
        await store.transact(KEYS, gaining("A"))
        copy.parent.mkdir()
        for suffix in ["", *left] if left else []:
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")

    use(path, work)
    if not left:
        shutil.copy(path, copy)
    before = traces(copy.parent)
    assert (look(copy), traces(copy.parent)) == (("A",), before)


def test_to_read_a_store_beside_its_server_leaves_no_trace(path: Path) -> None:
    """Each commit is seen, whether the log was just begun, written or taken in. One process has but one -shm."""

    def around() -> dict[str, tuple[object, ...]]:
        return traces(path.parent) | {"store.db-shm": ()}

    async def work(store: SqliteStore) -> list[tuple[object, ...]]:
        told: list[tuple[object, ...]] = []
        for title in ("A", "B", "C"):
            before = around()
            told.append((await asyncio.to_thread(look, path), around() == before))
            await store.transact(KEYS, gaining(title))
            if title == "B":
                store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return told

    assert use(path, work) == [((), True), (("A",), True), (("A", "B"), True)]


def test_a_log_without_its_index_is_left_to_those_who_write(path: Path, tmp_path: Path) -> None:
    """So a careless backup looks; to read its log is to write the index."""
    copy = tmp_path / "copy" / path.name

    async def work(store: SqliteStore) -> None:
        await store.transact(KEYS, gaining("A"))
        copy.parent.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")

    use(path, work)
    before = traces(copy.parent)
    with pytest.raises(StoreUnavailable, match="store migrate"):
        SqliteReader(copy)
    assert (traces(copy.parent), use(copy, titles)) == (before, ("A",))


def test_a_reader_changes_nothing(path: Path) -> None:
    """Neither while the file has a server nor when it has none."""

    async def work(store: SqliteStore) -> list[object]:
        await store.transact(KEYS, gaining("A"))
        return await answers(SqliteReader(path).transact(KEYS, gaining("B")))

    async def alone() -> list[object]:
        return await answers(SqliteReader(path).transact(KEYS, gaining("C")))

    told = use(path, work)
    before = traces(path.parent)
    assert (told + asyncio.run(alone()), traces(path.parent), look(path)) == ([StoreUnavailable] * 2, before, ("A",))


@pytest.mark.parametrize(("number", "words"), [(0, "older.*store migrate"), (99, "use a newer temppass")])
def test_a_reader_knows_its_own_schema_only(path: Path, number: int, words: str) -> None:
    use(path, titles)
    select(path, f"PRAGMA user_version = {number}")
    with pytest.raises(SchemaOutdated, match=words):
        SqliteReader(path)


def test_a_store_that_is_served_while_it_is_read_is_read_anew(path: Path) -> None:
    """A server comes, commits and goes while a reader takes the file for one that nobody changes."""
    seen = list[int]()

    def work(connection: sqlite3.Connection) -> int:
        if not seen:
            asyncio.run(serve_once())
        seen.append(connection.execute("SELECT count(*) FROM ledger").fetchone()[0])
        return seen[-1]

    async def serve_once() -> None:
        store = SqliteStore(path)
        await store.transact(KEYS, gaining("A"))
        await store.close()

    use(path, titles)
    assert (sqlite_file.read(path, work), len(seen)) == (1, 2)


def test_a_store_that_never_stands_still_is_not_read(path: Path) -> None:
    use(path, titles)
    with pytest.raises(StoreUnavailable, match="changes faster"):
        sqlite_file.read(path, lambda _connection: os.utime(path))


# --- who serves the file


def test_a_file_has_one_holder(path: Path) -> None:
    """By whatever name; the second learns who the first is, and takes its place when it has let go."""
    first, link = Hold(path), path.with_name("link.db")
    link.symlink_to(path.name)
    told = list[str]()
    for url in ("", "http://127.0.0.1:8080", "http://h"):
        first.tell(url)
        with pytest.raises(StoreHeld) as refused:
            Hold(link)
        told.append(str(refused.value).removeprefix(f"{link} is served by process {os.getpid()}"))
    first.let_go()
    Hold(link).let_go()
    link.unlink()
    assert (told, modes(path)) == (
        [" already", " on http://127.0.0.1:8080 already", " on http://h already"],
        {"store.db.lock": 0o600},
    )


def test_a_hold_of_which_nothing_is_told_is_one(path: Path) -> None:
    first = Hold(path)
    path.with_name("store.db.lock").write_text("")
    with pytest.raises(StoreHeld, match="by another process already"):
        Hold(path)
    first.let_go()


def test_a_file_in_no_folder_is_not_held(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot lock"):
        Hold(tmp_path / "no" / "store.db")


# --- the writer thread


def test_steps_that_wait_share_one_commit(path: Path) -> None:
    async def work(store: SqliteStore) -> tuple[list[object], int]:
        gate, said = Gate(), list[str]()
        held = await gate.hold(store)
        store._connection.set_trace_callback(said.append)
        asked = [asyncio.create_task(store.transact(KEYS, gaining(str(number)))) for number in range(20)]
        await asyncio.sleep(0)
        gate.opened.set()
        told = [await held, *await asyncio.gather(*asked)]
        return [*told], said.count("COMMIT")

    assert use(path, work) == ([-1, *range(20)], 2)


def test_a_step_that_waited_behind_a_change_of_its_environment_is_not_run(path: Path) -> None:
    """Also where a step of the same batch has read the version before it changed."""

    async def work(store: SqliteStore) -> list[object]:
        held = await (gate := Gate()).hold(store)
        changed = EnvironmentRecord(1, EMPTY, {}, {}, b"")
        asked: list[Coroutine[Any, Any, Any]] = [
            store.transact(KEYS, gaining("A")),
            store.amend(KEYS.environment, lambda _old: (1, changed, None)),
            store.transact(KEYS, gaining("B")),
        ]
        waiting = asyncio.ensure_future(answers(*asked))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.opened.set()
        return [await held, *await waiting]

    assert use(path, work) == [-1, 0, 1, Outdated]


def test_nobody_else_writes_between_what_a_step_finds_and_what_it_changes(path: Path) -> None:
    """A command may write to the file at any time; it waits for the batch, and the batch never has to be refused."""
    told: list[str] = []

    def interrupted(_found: Found) -> tuple[int, Changes]:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as another:
            try:
                another.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                told.append(str(error))
        return gaining("A")(_found)

    assert (use(path, lambda store: store.transact(KEYS, interrupted)), told) == (0, ["database is locked"])


def test_a_lone_ask_goes_at_once(path: Path) -> None:
    async def work(store: SqliteStore) -> int:
        said = list[str]()
        store._connection.set_trace_callback(said.append)
        for number in range(3):
            await store.transact(KEYS, gaining(str(number)))
        return said.count("COMMIT")

    assert use(path, work) == 3


def test_a_sweep_does_not_wait_for_the_disk_and_the_commit_after_it_does(path: Path) -> None:
    """Or the asks behind each chunk would wait for the disk too; what is lost with the power is swept once more."""

    async def work(store: SqliteStore) -> list[str]:
        said = list[str]()
        await store.transact(KEYS, gaining("A"))
        store._connection.set_trace_callback(said.append)
        await store.sweep_ledgers(HERE, DEVICE.kind, Stale(1, None), b"", 2)
        await store.sweep(T0, T0, 1)
        await store.transact(KEYS, gaining("A"))
        return [each for each in said if each.startswith(("PRAGMA", "COMMIT"))]

    later, durable = "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"
    assert use(path, work) == [later, "COMMIT", "COMMIT", durable, "COMMIT"]


def test_a_chunk_is_swept_by_one_statement(path: Path) -> None:
    """Or the writer thread is away from the asks that wait for as many statements as a chunk has ledgers."""
    subjects = tuple(Subject(SubjectKind.DEVICE, bytes(15) + bytes([number])) for number in range(9))
    ledgers = tuple((subject, Ledger(T0, T0 + DAY, 0)) for subject in subjects)

    async def work(store: SqliteStore) -> tuple[tuple[int, bytes | None], int]:
        said = list[str]()
        await store.transact(KEYS, lambda _found: (None, Changes(ledgers)))
        store._connection.set_trace_callback(said.append)
        swept = await store.sweep_ledgers(HERE, DEVICE.kind, Stale(1, None), b"", 7)
        return swept, sum("DELETE" in each for each in said)

    assert use(path, work) == ((7, subjects[6].digest), 1)


def test_a_full_queue_is_refused_and_then_served(path: Path) -> None:
    async def work(store: SqliteStore) -> tuple[list[object], int, int]:
        gate = Gate()
        held = await gate.hold(store)
        waiting = [store.transact(KEYS, lambda _found: (0, NOTHING)) for _ in range(WAITING_MAX)]
        tasks = [asyncio.ensure_future(each) for each in waiting]
        await asyncio.sleep(0)
        refused = await answers(store.transact(KEYS, gaining("A")))
        gate.opened.set()
        await held
        return refused, sum(await asyncio.gather(*tasks)), await store.transact(KEYS, gaining("A"))

    assert use(path, work) == ([StoreBusy], 0, 0)


def test_a_closed_store_has_let_go_of_its_file(path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        await store.transact(KEYS, gaining("A"))

    use(path, work)
    writers = [thread for thread in threading.enumerate() if thread.name == "temppass-sqlite"]
    assert (sorted(file.name for file in path.parent.iterdir()), writers) == (["store.db"], [])


def test_an_ask_whose_loop_has_ended_takes_nobody_along(path: Path) -> None:
    """The first program gives up while the file is busy; the next one waits behind what it left."""
    store, gate = SqliteStore(path), Gate()

    async def gives_up() -> None:
        await gate.hold(store)
        asyncio.create_task(store.transact(KEYS, gaining("A")))  # noqa: RUF006 - nobody waits for it
        await asyncio.sleep(0)

    async def goes_on() -> tuple[str, ...]:
        asked = asyncio.create_task(titles(store))
        await asyncio.sleep(0)
        gate.opened.set()
        try:
            async with asyncio.timeout(30):
                return await asked
        finally:
            await store.close()

    asyncio.run(gives_up())
    assert asyncio.run(goes_on()) == ("A",)


# --- a file in trouble


def test_a_file_that_another_process_holds_is_unavailable_until_it_lets_go(path: Path) -> None:
    async def work(store: SqliteStore) -> list[object]:
        store._connection.execute("PRAGMA busy_timeout = 1")
        with closing(sqlite3.connect(path, isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            held = await answers(*(store.transact(KEYS, gaining(title)) for title in "AB"))
        return [*held, await store.transact(KEYS, gaining("C")), await titles(store)]

    assert use(path, work) == [StoreUnavailable, StoreUnavailable, 0, ("C",)]


def test_a_file_that_cannot_be_written_is_unavailable_until_it_can(path: Path) -> None:
    async def work(store: SqliteStore) -> list[object]:
        await store.transact(KEYS, gaining("A"))
        store._connection.execute("PRAGMA query_only = ON")
        stuck = await answers(store.transact(KEYS, gaining("B")))
        store._connection.execute("PRAGMA query_only = OFF")
        return [*stuck, await store.transact(KEYS, gaining("C")), await titles(store)]

    assert use(path, work) == [StoreUnavailable, 1, ("A", "C")]


def test_a_full_disk_fails_a_batch_as_a_whole_until_there_is_room(path: Path) -> None:
    """One step of the batch would have fitted; none is acknowledged, and none is kept."""

    async def work(store: SqliteStore) -> list[object]:
        await store.transact(KEYS, gaining("A"))
        gate = Gate()
        held = await gate.hold(store)
        asked = [asyncio.create_task(store.transact(KEYS, gaining(title))) for title in ("B", "x" * 30_000, "C")]
        await asyncio.sleep(0)
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        gate.opened.set()
        told = [await held, *await answers(*asked)]  # type: ignore[arg-type]
        kept = await titles(store)
        store._connection.execute("PRAGMA max_page_count = 1000000")
        return [*told, kept, await store.transact(KEYS, gaining("x" * 30_000)), len(await titles(store))]

    assert use(path, work) == [-1, *[StoreUnavailable] * 3, ("A",), 1, 2]


def test_a_write_that_no_column_holds_leaves_nothing_behind(path: Path) -> None:
    """A number beyond 64 bits is found out only after the ledger before it was written."""
    half_way = Changes(((DEVICE, Ledger(T0, T0 + DAY, 0, ("A",))), (DEVICE, Ledger(T0, 2**64, 0))))

    async def work(store: SqliteStore) -> list[object]:
        told = await answers(store.transact(KEYS, lambda _found: (0, half_way)))
        return [*told, await titles(store)]

    assert use(path, work) == [StoreUnavailable, ()]


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(channels=("REF",)), Wanted(kinds=("reset",), actors=("schedule",))]
)
def test_the_acts_on_a_viewer_are_found_without_going_through_those_on_others(path: Path, wanted: Wanted) -> None:
    use(path, lambda store: store.environments())
    asked, values = search(
        HERE[0], replace(wanted, subjects=(b"d" * 16, b"k" * 16)), 9, 20, newest_first=True, mark="?{}".format
    )
    with closing(sqlite3.connect(path)) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {asked}", values)]
    read = [step for step in plan if step.startswith(("SEARCH", "SCAN"))]
    assert read[-1] == "SEARCH audit USING PRIMARY KEY (id=?)"


def test_the_resets_of_everybody_are_found_without_going_through_those_of_one(path: Path) -> None:
    use(path, lambda store: store.environments())
    wanted = Wanted(kinds=("reset.everybody", "undo"), channels=("REF",), pass_id="TempPassREF")
    asked, values = search(HERE[0], wanted, None, 20, newest_first=True, mark="?{}".format)
    with closing(sqlite3.connect(path)) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {asked}", values)]
    assert plan[0].startswith("SEARCH audit USING INDEX audit_kind (environment=? AND kind=?")
