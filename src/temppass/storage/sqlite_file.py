"""
The file that an SQLite store is in: made for its owner alone, brought up to date, and read without a trace. What its
tables hold, `sqlite.py` knows.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from temppass import private
from temppass.storage.schema import migrations, statements
from temppass.store import SchemaOutdated, StoreUnavailable

A = TypeVar("A")

#: how long a batch waits for another process that writes to the file
BUSY_MS = 1_500
#: how often a file that a server changes meanwhile is read anew
READS_MAX = 5


def exists(path: Path) -> bool:
    """Tell whether something is in the file; it is not opened, for closing it would drop SQLite's locks."""
    return path.is_file() and path.stat().st_size > 0


def real(path: Path) -> Path:
    """Answer the name that SQLite gives to what it keeps beside the file, whatever links lead there."""
    return Path(os.path.realpath(path))  # Path.resolve raises where links go round


# --- to write


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, create it if need be, and bring its schema up to date. Raises StoreUnavailable, SchemaOutdated."""
    try:
        if not path.exists():
            with contextlib.suppress(FileExistsError):  # SQLite gives -wal and -shm the mode of the file
                private.create(real(path), b"")
        connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise StoreUnavailable(f"cannot open {path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot open {path}: {error}") from None
    try:
        _prepare(connection, path)
    except Exception:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (present,) = connection.execute("PRAGMA user_version").fetchone()
        if 0 < present < migrations("sqlite")[-1][0]:
            _migrate_alone(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # 64 MiB
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot open {path}: {error}") from None
    _migrate(connection)
    for file in _files(path):
        try:
            private.narrow(file)  # it may have been made by hand, or restored
        except OSError as error:
            raise StoreUnavailable(f"others can use {file}, and its mode stays: {error.strerror}") from None


def _files(path: Path) -> list[Path]:
    file = real(path)
    return [file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))]


def _migrate_alone(connection: sqlite3.Connection, path: Path) -> None:
    """
    Migrate a file that nobody else has open: a server of the version before would not find its tables any more.

    SQLite leaves WAL for one connection alone, and refuses it beside another: that is how one is seen.
    Source: https://www.sqlite.org/wal.html#persistence_of_wal_mode
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError:
        raise StoreUnavailable(
            f"{path} is of the version before and open in another process; stop that, then begin again"
        ) from None
    _migrate(connection)
    connection.execute("PRAGMA locking_mode = NORMAL")
    connection.execute("PRAGMA user_version").fetchone()  # the lock goes with the next reading


def _migrate(connection: sqlite3.Connection) -> None:
    """Run the scripts that this file has not seen, all or none; safe beside another process that does the same."""
    files = migrations("sqlite")
    try:
        connection.execute("BEGIN IMMEDIATE")
        (present,) = connection.execute("PRAGMA user_version").fetchone()
        if present > files[-1][0]:
            # read inside the transaction, so that nobody migrates in between
            raise SchemaOutdated(f"the file's schema ({present}) is newer than this program's; use a newer temppass")
        for number, script in files:
            if number > present:
                for statement in statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot migrate the store: {error}") from None


# --- to read


class _State(NamedTuple):
    """How the file looks from outside. While it is quiet, all that was committed is in the one file."""

    is_quiet: bool
    changed_at: int
    size: int


def _state(path: Path) -> _State:
    try:
        found, log = path.stat(), _files(path)[1]
        return _State(not exists(log), found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise StoreUnavailable(f"cannot open {path}: {error.strerror}") from None


def read(path: Path, work: Callable[[sqlite3.Connection], A]) -> A:
    """
    Answer what `work` makes of the file as it is; nothing is written, not even beside it, whoever else uses it.

    A connection that only reads makes a -wal and a -shm all the same, unless it is told that the file is immutable.
    That it is while its log is empty, so the file is looked at before and after. Where the log is not empty there is a
    -shm as well, and that can be read as it is.

    Raises SchemaOutdated where the schema is not this program's; StoreUnavailable; what `work` raises.
    Source: https://www.sqlite.org/wal.html#read_only_databases
    """
    for _ in range(READS_MAX):
        before = _state(path)
        try:
            answer = _read(path, "immutable=1" if before.is_quiet else "readonly_shm=1", work)
        except sqlite3.Error as error:
            if before.is_quiet and _state(path) != before:
                continue
            raise StoreUnavailable(_reason(path, error)) from None
        if not before.is_quiet or _state(path) == before:
            return answer
    raise StoreUnavailable(f"{path} changes faster than it can be read")


def beside(path: Path, work: Callable[[sqlite3.Connection], A]) -> A:
    """
    Answer what `work` reads on a connection of its own, while this process has the file open to write: neither waits
    for the other. Raises StoreUnavailable.
    """
    try:
        url = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(url, BUSY_MS / 1000, uri=True, isolation_level=None)) as connection:
            return work(connection)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path.name}: {error}") from None


def _reason(path: Path, error: sqlite3.Error) -> str:
    _, log, index = _files(path)
    if exists(log) and not index.exists():
        return f"{log} has commits that nobody has taken in; `temppass store migrate` does"
    return f"cannot open {path}: {error}"


def _read(path: Path, how: str, work: Callable[[sqlite3.Connection], A]) -> A:
    url, needed = f"{path.absolute().as_uri()}?mode=ro&{how}", migrations("sqlite")[-1][0]
    with contextlib.closing(sqlite3.connect(url, BUSY_MS / 1000, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        (present,) = connection.execute("PRAGMA user_version").fetchone()
        if present > needed:
            raise SchemaOutdated(f"the file's schema ({present}) is newer than this program's; use a newer temppass")
        if present < needed:
            raise SchemaOutdated(
                f"the file's schema ({present}) is older than this program's ({needed}); `temppass store migrate`"
            )
        return work(connection)
