"""
What lies on the disk: who may read it, which commands leave it as it is, and who serves it.
"""

import os
import signal
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder

LOOKS = ("store check", "catalogue show", "catalogue plan catalogue.toml")
#: those that need an application
LISTS = ("statement list ops", "client list ops")
#: writes, and makes no store
MINT = "statement mint ops"
#: those that cannot do without a store
NEEDING = (LOOKS[0], MINT)
WRITES = ("store migrate", "catalogue apply catalogue.toml", "serve --port 0")
CLIENT_LOOKS = (
    "whoami", "profiles", "id tv-1", "inspect statement.jwt", "configuration --requestor ACME1 --dry-run",
    "login --profile new --url http://127.0.0.1:1 --statement-file statement.jwt --dry-run", "doctor",
)  # fmt: skip
#: without what lets root write where nobody may
POWERLESS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def traces(folder: "Folder", *, but: str = "\n") -> dict[str, tuple[object, ...]]:
    """Answer what can be seen of everything in a folder; its own time tells what came and went meanwhile."""
    return {
        file.name: (file.stat().st_mtime_ns, file.stat().st_mode, file.read_bytes() if file.is_file() else b"")
        for file in [folder.path, *folder.path.rglob("*")]
        if not file.name.startswith(but)
    }


def modes(folder: "Folder", prefix: str) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.path.glob(f"{prefix}*")}


# --- who may read


def test_all_files_of_a_store_are_for_their_owner_whatever_the_umask(folder: "Folder") -> None:
    before = os.umask(0)
    try:
        folder.declare()
        folder.application(folder.serve()).decide("tv", "FILM")
    finally:
        os.umask(before)
    suffixes = ("", "-shm", "-wal", ".lock", ".secret")
    assert modes(folder, "temppass.db") == {f"temppass.db{suffix}": 0o600 for suffix in suffixes}


def widen(path: Path) -> None:
    (path / "temppass.db.secret").chmod(0o640)


def link(path: Path) -> None:
    (path / "temppass.db.secret").rename(path / "elsewhere")
    (path / "temppass.db.secret").symlink_to(path / "elsewhere")


def lose_secret(path: Path) -> None:
    (path / "temppass.db.secret").unlink()


def lose_database(path: Path) -> None:
    (path / "temppass.db").unlink()


def lose_both(path: Path) -> None:
    lose_secret(path)
    lose_database(path)


def age(path: Path) -> None:
    with sqlite3.connect(path / "temppass.db") as store:
        store.execute("PRAGMA user_version = 0")
    store.close()


@pytest.mark.parametrize(
    ("damage", "commands", "words"),
    [
        (
            widen,
            [*LOOKS, MINT, *WRITES],
            ["others can use temppass.db.secret (mode 640)", "run `chmod 600 temppass.db.secret`"],
        ),
        (link, [*LOOKS, MINT, *WRITES], ["temppass.db.secret is a symbolic link", "put the file itself in its place"]),
        (
            lose_secret,
            [*LOOKS, MINT, *WRITES],
            ["there without its secret temppass.db.secret", "or set TEMPPASS_SECRET"],
        ),
        (lose_database, NEEDING, ["no store at temppass.db, but its secret is there", "restore the database"]),
        (lose_both, NEEDING, ["there is no store at temppass.db; `temppass catalogue apply` makes one"]),
        (age, [*LOOKS, MINT], ["schema (0) is older", "`temppass store migrate`"]),
    ],
)
def test_what_is_wrong_or_missing_is_told_and_left_as_it_is(
    folder: "Folder", damage: Callable[[Path], None], commands: Sequence[str], words: list[str]
) -> None:
    folder.declare()
    (folder.path / "temppass.db.lock").touch(0o600)  # a server leaves one
    damage(folder.path)
    before = traces(folder, but="temppass.db.lock")
    told = [folder.temppass(*command.split()) for command in commands]
    missed = [(done.code, done.out, [word for word in words if word not in done.err]) for done in told]
    assert (missed, traces(folder, but="temppass.db.lock")) == ([(1, "", [])] * len(commands), before)


# --- who writes nothing


def test_a_command_that_reads_makes_no_store(folder: "Folder") -> None:
    """To plan and to show, a store that is not there is an empty one."""
    (folder.path / "catalogue.toml").write_text('[[programmer]]\nid = "acme"\n')
    before = traces(folder)
    told = [folder.temppass(*look.split()) for look in (*LOOKS, MINT)]
    assert [(done.code, done.out) for done in told] == [(1, ""), (0, ""), (0, "+ programmer acme\n"), (1, "")]
    assert traces(folder) == before


def test_a_command_of_the_client_that_reads_makes_no_folder(folder: "Folder") -> None:
    (folder.path / "statement.jwt").write_text("e30.e30.e30")
    before = traces(folder)
    codes = [folder.temppass(*look.split()).code for look in CLIENT_LOOKS]
    assert (codes, traces(folder)) == ([1, 0, 0, 0, 2, 0, 2], before)


@pytest.mark.parametrize("state", ["closed", "beside a server", "after a kill", "in a folder that cannot be written"])
def test_a_command_that_reads_leaves_no_trace(folder: "Folder", state: str) -> None:
    folder.declare()
    if state in {"beside a server", "after a kill"}:
        server = folder.serve()
        folder.application(server).decide("tv", "FILM")
        if state == "after a kill":
            server.end(signal.SIGKILL)
        else:
            server.send(signal.SIGSTOP)  # so that what changes is not of its own doing
    if state == "in a folder that cannot be written":
        folder.path.chmod(0o500)
    before = traces(folder)
    told = [folder.temppass(*look.split(), through=POWERLESS) for look in LOOKS + LISTS]
    after = traces(folder)
    folder.path.chmod(0o700)
    assert ([done.code for done in told], told[0].err) == ([0] * 5, "good; environments: release-production\n")
    assert after == before


def test_the_doctor_leaves_no_trace(folder: "Folder") -> None:
    folder.declare()
    server = folder.serve()
    (folder.path / "statement.jwt").write_text(folder.temppass("statement", "mint", "ops").out)
    before = traces(folder, but="temppass.db")
    called = f"doctor --url {server.url} --statement-file statement.jwt --requestor ACME1 --mvpd Basic"
    assert (folder.temppass(*called.split()).code, traces(folder, but="temppass.db")) == (0, before)


# --- who serves


@pytest.mark.parametrize("name", ["temppass.db", "link.db"])
def test_a_second_server_of_a_file_is_refused_and_told_of_the_first(folder: "Folder", name: str) -> None:
    first = folder.serve()
    (folder.path / "link.db").symlink_to("temppass.db")
    second = folder.temppass("serve", "--port", "0", "--store", f"sqlite:///{name}")
    words = [f"error: {name} is served by process {first.pid} on {first.url} already", "hint: stop that one first"]
    assert (second.code, second.out, [line for line in words if line not in second.err]) == (1, "", [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_has_ended_holds_nothing(folder: "Folder", number: int) -> None:
    first = folder.serve()
    first.end(number)
    second = folder.serve()
    refused = folder.temppass("serve", "--port", "0")
    assert (refused.code, f"process {second.pid} on {second.url}" in refused.err) == (1, True)
