"""`temppass audit verify` from a shell: heads on stdout, what is wrong in sentences on stderr."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from temppass.settings import read_settings
from temppass.wiring import assemble

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("TEMPPASS_")}


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "temppass.cli", *arguments],
        cwd=folder,
        env=ENVIRON,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def seal(folder: Path) -> None:
    """What a server does within a second."""

    async def work() -> None:
        application = assemble(read_settings({}, store=f"sqlite:///{folder}/temppass.db"))
        await application.service.history.seal()
        await application.store.close()

    asyncio.run(work())


def test_a_head_that_was_kept_tells_of_a_tail_that_was_cut_off(tmp_path: Path) -> None:
    run(tmp_path, "operator", "create", "anna", "--role", "viewer")
    assert run(tmp_path, "audit", "verify") == (
        0,
        f".\t0:{'0' * 64}\n",
        ".: not sealed yet: 1; a server seals within a second\n",
    )
    seal(tmp_path)
    code, head, said = run(tmp_path, "audit", "verify", "--in", ".")
    assert (code, head[:2], len(head), said) == (0, "1:", 67, "")
    assert run(tmp_path, "audit", "verify", "--in", ".", "--head", head) == (0, head, "")
    with closing(sqlite3.connect(tmp_path / "temppass.db")) as connection:
        connection.executescript("DELETE FROM audit; DELETE FROM chain")
    assert run(tmp_path, "audit", "verify")[0] == 0
    code, _, said = run(tmp_path, "audit", "verify", "--in", ".", "--head", head)
    assert (code, said.splitlines()) == (
        1,
        [
            ".: the chain ends at record 0, the kept head is record 1: the tail is gone",
            "error: the audit trail is not what was sealed: .",
            "hint: compare with a backup of before; who could write to the database could have done it",
        ],
    )


def test_what_cannot_be_verified_says_why(tmp_path: Path) -> None:
    absent = run(tmp_path, "audit", "verify")[::2]
    run(tmp_path, "operator", "create", "anna", "--role", "viewer")
    told = [
        run(tmp_path, "audit", "verify", *arguments)[::2]
        for arguments in (["--in", "nowhere"], ["--head", f"1:{'0' * 64}"], ["--in", ".", "--head", "1:2"])
    ]
    words = ["there is no store", "there is no environment 'nowhere'", "name it with --in", "as it was printed"]
    assert [(code, word in said) for (code, said), word in zip([absent, *told], words, strict=True)] == [
        (1, True),
        (1, True),
        (2, True),
        (2, True),
    ]


def test_what_is_kept_no_more_is_told(tmp_path: Path) -> None:
    run(tmp_path, "operator", "create", "anna", "--role", "viewer")
    seal(tmp_path)

    async def forget() -> None:
        application = assemble(read_settings({}, store=f"sqlite:///{tmp_path}/temppass.db"))
        await application.service.history.forget("", 2**50)
        await application.store.close()

    asyncio.run(forget())
    code, head, said = run(tmp_path, "audit", "verify", "--in", ".")
    told = re.fullmatch(r"\.: records up to 1, of (\S+), are kept no more\n", said)
    assert (code, head[:2], told is not None and datetime.fromisoformat(told[1]).tzinfo) == (0, "1:", UTC)
