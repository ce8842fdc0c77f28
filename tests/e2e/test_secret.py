"""
`temppass secret rotate` from a shell: beside servers under load nobody notices, whoever would be left behind is named,
and a change that is killed at any step leaves a store that opens and a change that can be made again.
"""

import asyncio
import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from tests.conftest import new_database
from tests.e2e.conftest import SECRET, WAIT_S, Folder, Server, Wire, sharing, surroundings

from temppass import MediaTokenStatus, MediaTokenVerifier
from temppass.core.act import ByShell
from temppass.core.secret import WrongSecret
from temppass.settings import read_settings
from temppass.wiring import another_secret, assemble

NEW = "another secret, that takes the place of the one"
BOTH = {"TEMPPASS_SECRET": NEW, "TEMPPASS_SECRET_PREVIOUS": SECRET}
RESTART = "hint: restart every server without TEMPPASS_SECRET_PREVIOUS\n"
VIEWERS = 4
#: how often the secret of a file is changed under load
ROUNDS = 2
#: what is there after a change
FILES = ["temppass.db.secret", "temppass.db.secret.previous"]

#: changes the secret in children that end themselves before a step: a change of the secret's files, or a look at the
#: store; answers how each that is counted out on stdin has ended
_KILLED = """
import os, signal, sys
from temppass import wiring
from temppass.cli import main
from temppass.commands import secret

CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def before(event, arguments):
    global left
    told = str(arguments)
    step = event in {"os.link", "os.remove", "os.rename", "sqlite3.connect"}
    step = step or (event == "open" and arguments[2] & CHANGES)
    if step and "temppass.db" in told and ".lock" not in told:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:
    left = int(line)
    child = os.fork()
    if not child:
        sys.addaudithook(before)
        sys.argv = ["temppass", "secret", "rotate"]
        try:
            main()
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(99)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Load:
    """Applications that register, ask for tokens and for titles without end, and what they were answered otherwise."""

    def __init__(self, servers: list[Server], statement: str) -> None:
        self.faults: Counter[str] = Counter()
        self.answers = 0
        #: media tokens, by title
        self.media: list[tuple[str, str]] = []
        self._servers, self._statement = servers, statement
        self._over = threading.Event()
        self._news = threading.Condition()
        self._viewers = [threading.Thread(target=self._view, args=(number,)) for number in range(VIEWERS)]

    def __enter__(self) -> Self:
        for viewer in self._viewers:
            viewer.start()
        self.wait_for_answers()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for viewer in self._viewers:
            viewer.join(WAIT_S)

    def wait_for_answers(self, more: int = 24) -> None:
        wanted = self.answers + more
        with self._news:
            assert self._news.wait_for(lambda: self.answers >= wanted, WAIT_S), self.faults

    def _view(self, viewer: int) -> None:
        server, ends = self._servers[viewer % len(self._servers)], set[int]()
        for number in itertools.count():
            if self._over.is_set():
                break
            try:
                with contextlib.closing(Wire(server.url, self._statement)) as wire:  # registers, and asks for a token
                    for title in (f"FILM-{number}", f"FILM-{number + 1}"):
                        decision = wire.decide(f"tv-{viewer}", title)
                        ends.add(decision["notAfter"])
                        self._answered(title, decision["token"]["serializedToken"])
            except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the test looks for
                self.faults[repr(error)] += 1
        if len(ends) > 1:
            self.faults["a viewer became new"] += 1

    def _answered(self, title: str, token: str) -> None:
        with self._news:
            self.answers += 1
            self.media.append((title, token))
            self._news.notify_all()


def verifier(wire: Wire) -> MediaTokenVerifier:
    """Answer a player's back end that knows the keys of now."""
    return MediaTokenVerifier(wire.http.get("/.well-known/jwks.json").json())


def judged(load: Load, back_end: MediaTokenVerifier) -> set[MediaTokenStatus]:
    """Answer what it says of all media tokens that were given."""
    now = time.time_ns() // 1_000_000
    return {
        back_end.verify(token, expected_channel="ACME1", expected_resource=title, now_ms=now)[0]
        for title, token in load.media
    }


def here(path: Path) -> str:
    return f"sqlite:///{path}/temppass.db"


def opens(url: str, **variables: str) -> bool:
    """Tell whether a secret opens everything in a store: that of its file, or that of the variables."""
    application = assemble(read_settings(variables, store=url), read_only=True)

    async def check() -> bool:
        try:
            await application.service.catalogues.check()
        except WrongSecret:
            return False
        finally:
            await application.store.close()
        return True

    return asyncio.run(check())


def rotate_here(path: Path) -> None:
    settings = read_settings({}, store=here(path))
    with another_secret(settings) as secret:
        application = assemble(settings, secret=secret)

        async def renew() -> None:
            await application.service.renewal.renew(None, ByShell("test"))
            await application.store.close()

        asyncio.run(renew())


# --- beside servers


def test_the_secret_of_a_file_changes_under_load_and_nobody_notices(folder: Folder) -> None:
    folder.declare()
    server = folder.serve()
    statement = folder.temppass("statement", "mint", "ops").out.strip()
    wire, file = Wire(server.url, statement), folder.path / "temppass.db.secret"
    secrets = [file.read_text()]
    with contextlib.closing(wire), Load([server], statement) as load:
        before, back_end = wire.decide("tv", "FILM")["notAfter"], verifier(wire)
        for _ in range(ROUNDS):
            assert folder.temppass("secret", "rotate").code == 0
            secrets.append(file.read_text())
            load.wait_for_answers()
        after = wire.decide("tv", "FILM")["notAfter"]  # with the token of before
    assert (load.faults, after, judged(load, back_end)) == (Counter(), before, {MediaTokenStatus.VALID_TOKEN})
    assert [opens(here(folder.path), TEMPPASS_SECRET=each) for each in secrets] == [*[False] * ROUNDS, True]
    verified = folder.temppass("audit", "verify")
    assert (verified.code, [line.split()[0] for line in verified.out.splitlines()]) == (0, [".", "release-production"])


def test_the_secret_of_two_servers_changes_under_load_and_nobody_notices(tmp_path: Path, postgres_server: str) -> None:
    with new_database(postgres_server) as database:
        folder = sharing(tmp_path, database)
        folder.temppass("store", "migrate")
        folder.declare()
        servers = [folder.serve(**BOTH), folder.serve(**BOTH)]
        statement = folder.temppass("statement", "mint", "ops").out.strip()
        wire = Wire(servers[0].url, statement)
        with contextlib.closing(wire), Load(servers, statement) as load:
            before, back_end = wire.decide("tv", "FILM")["notAfter"], verifier(wire)
            told = [folder.temppass("secret", "rotate", **BOTH) for _ in range(2)]
            load.wait_for_answers()
            wire.http.base_url = servers[1].url
            after = wire.decide("tv", "FILM")["notAfter"]  # with the token of before, at the other one
        assert (load.faults, after, judged(load, back_end)) == (Counter(), before, {MediaTokenStatus.VALID_TOKEN})
        assert [(done.code, done.out, done.err) for done in told] == [
            (0, "", f"sealed anew under TEMPPASS_SECRET: release-production\n{RESTART}"),
            (0, "", "nothing is left to do: TEMPPASS_SECRET opens everything (2 environments)\n"),
        ]
        opened = opens(database, TEMPPASS_SECRET=NEW)
        checked = folder.temppass("store", "check")
        folder.close()
    assert (opened, checked.code, checked.err.splitlines()[0]) == (
        True,
        1,
        "error: the keys of the store itself were stored under another TEMPPASS_SECRET",
    )


def test_a_server_that_would_be_left_behind_is_named_until_it_has_ended(folder: Folder) -> None:
    folder.declare()
    (folder.path / "temppass.db.secret").write_text(SECRET)
    (folder.path / "temppass.db").unlink()
    folder.declare()
    behind = folder.serve(TEMPPASS_SECRET=SECRET)
    refused = [folder.temppass("secret", "rotate", *options) for options in ([], ["--dry-run"])]
    left = sorted(file.name for file in folder.path.glob("temppass.db.secret*"))
    assert behind.end() == 0
    done = folder.temppass("secret", "rotate")
    assert [(each.code, each.out, each.err.partition(" (")[0], each.err.splitlines()[1:]) for each in refused] == [
        (
            1,
            "",
            f"error: these would not open the store any more: process {behind.pid} on {socket.gethostname()}",
            ["hint: stop them, or restart them with the new secret and that of before; then run this again"],
        )
    ] * 2
    assert (left, done.code) == (["temppass.db.secret"], 0)


def test_a_dry_run_leaves_no_trace(folder: Folder) -> None:
    folder.declare()
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    done = folder.temppass("secret", "rotate", "--dry-run")
    assert done == (0, "", "would seal anew: release-production\ndry run: nothing was changed\n")
    assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before


# --- killed


def test_a_change_that_is_killed_at_any_step_leaves_a_store_that_opens_and_can_be_made_again(folder: Folder) -> None:
    """
    Beside a server, and each time the next one takes up what it finds, and leaves no other file behind.
    """
    folder.declare()
    server = folder.serve()
    wire = folder.application(server)
    before, told, opened, files, codes = wire.decide("tv", "FILM")["notAfter"], set(), [], [], []
    killing = subprocess.Popen(
        [sys.executable, "-c", _KILLED],
        cwd=folder.path,
        env=surroundings(folder.path, {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with killing:
        assert killing.stdin is not None
        assert killing.stdout is not None
        for step in itertools.count(1):
            print(step, file=killing.stdin, flush=True)
            codes.append(int(killing.stdout.readline()))
            opened.append(opens(here(folder.path)))
            told.add(wire.decide("tv", f"FILM-{step}")["notAfter"])
            rotate_here(folder.path)
            told.add(wire.decide("tv", f"FILM-{step}")["notAfter"])
            files.append(sorted(file.name for file in folder.path.glob("temppass.db.secret*")))
            if codes[-1] != -signal.SIGKILL:
                break
    # looked at twice; next one written, named, its draft cleared; opened; previous one written, named; next one moved
    steps = 9
    assert (codes, opened, told) == ([*[-signal.SIGKILL] * steps, 0], [True] * (steps + 1), {before})
    assert files == [FILES] * (steps + 1)
