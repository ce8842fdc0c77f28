"""A reset of everybody at a terminal: shown first, and done once the id of the pass was typed."""

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from tests.e2e.conftest import WAIT_S, surroundings

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder


class Said(NamedTuple):
    code: int
    words: str


def at_a_terminal(folder: "Folder", typed: str, *arguments: str) -> Said:
    """Run a command at a terminal of its own, and type where it asks; nothing is Ctrl-D."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "temppass.cli", *arguments],
        cwd=folder.path,
        env=surroundings(folder.path, {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    words = b""
    while chunk := _read(ours):
        words += chunk
        if b"to go on:" in words and b"to go on:" not in words[: -len(chunk)]:
            os.write(ours, f"{typed}\n".encode() if typed else b"\x04")
    os.close(ours)
    return Said(process.wait(WAIT_S), words.decode())


def _read(ours: int) -> bytes:
    try:
        return os.read(ours, 4_096)
    except OSError:  # what Linux answers once the other end is closed
        return b""


def test_everybody_is_reset_once_the_pass_was_typed_and_else_nobody(folder: "Folder") -> None:
    folder.declare()
    server = folder.serve()
    folder.bash(f"""
        {folder.command} operator create ann --role operator | {folder.command} \
            login --profile desk --operator --url {server.url} --requestor ACME1 --mvpd Basic --default
        echo "signed in"
    """)
    folder.application(server).decide("tv-1", "FILM")
    ended, mistyped, typed = (at_a_terminal(folder, word, "reset", "--all-devices") for word in ("", "Promo", "Basic"))
    acts = json.loads(folder.temppass("acts", "--json").out)
    counted = "1 trial runs and 0 are over (counted)"
    assert [(said.code, counted in said.words) for said in (ended, mistyped, typed)] == [
        (130, True), (2, True), (0, True),
    ]  # fmt: skip
    assert ("nothing was reset" in mistyped.words, "temppass undo" in typed.words) == (True, True)
    assert [act["kind"] for act in acts if act["mvpd"]] == ["reset.everybody"]
