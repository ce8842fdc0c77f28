"""
Many resets from one file: what its lines mean, and a journal that says which of them were answered.

A line names a device, a user key, or both (a promotional viewer is new only when both are reset). A file is read and
checked whole before anything is sent. The journal has one record a line that was answered, by its number; it names
nobody. Whoever resumes repeats the lines without a good answer: a reset that was applied twice is a reset.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from temppass.client.errors import BulkError, InvalidTarget
from temppass.core import rows
from temppass.core.identity import IDENTITY_BYTES_MAX, canonical_user_key
from temppass.core.refusal import InvalidIdentity
from temppass.core.rows import COLUMNS, Misread, NoHeader

#: a file is at most so large, in bytes, and has so many lines
FILE_BYTES_MAX = 67_108_864
LINES_MAX = 1_000_000
#: how many mistakes of a file are told
PROBLEMS_MAX = 10


class Target(Struct, frozen=True):
    """Whom one line means; at least one of `device` and `key` is set. `line` counts from 1."""

    line: int
    device: str | None
    #: as it goes over the wire: a hash
    key: str | None


def parse(text: str, source: str, kind: str | None = None) -> list[Target]:
    """
    Read the targets of a file: JSON lines, or CSV with a header, or one value a line where `kind` (device, key or
    email) says what the values are.

    Raises BulkError, which tells the first PROBLEMS_MAX mistakes with their lines.
    """
    targets: list[Target] = []
    problems: list[str] = []
    for number, fields in _rows(text, source, kind):
        if len(targets) + len(problems) >= LINES_MAX:
            raise BulkError(f"{source} has more than {LINES_MAX:,} lines", hint="split it")
        try:
            targets.append(_target(number, fields))
        except InvalidTarget as error:
            problems.append(f"{source}:{number}: {error}")
    if problems:
        more = len(problems) - PROBLEMS_MAX
        told = "\n".join(problems[:PROBLEMS_MAX]) + (f"\nand {more:,} more" if more > 0 else "")
        raise BulkError(f"nothing was sent, {len(problems):,} of the lines cannot be used:\n{told}")
    if not targets:
        raise BulkError(f"{source} names nobody", hint="give one device, key or email a line")
    return targets


def _rows(text: str, source: str, kind: str | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Answer the fields of each line that is not blank, by what they hold. Raises BulkError."""
    try:
        if kind is not None and rows.has_header(text, COLUMNS):
            raise BulkError(f"{source} has a header", hint="leave --as out: the header says what its lines hold")
        yield from rows.rows(text, COLUMNS, kind)
    except NoHeader as error:
        hint = "say what its lines hold: --as device, --as key or --as email; JSON goes one object a line"
        raise BulkError(f"{source} {error}", hint=hint) from None
    except Misread as error:
        raise BulkError(f"{source} {error}" if error.line is None else f"{source}:{error.line}: {error}") from None


def _target(number: int, fields: Mapping[str, Any]) -> Target:
    """Raises InvalidTarget."""
    try:
        named = rows.named(fields)
    except Misread as error:
        raise InvalidTarget(str(error)) from None
    device, key = named.get("device"), named.get("key", named.get("email"))
    if device is not None and len(device.encode(errors="replace")) > IDENTITY_BYTES_MAX:
        raise InvalidTarget(f"a device id has at most {IDENTITY_BYTES_MAX} bytes")
    if device is not None and device.lower().startswith("fingerprint "):
        raise InvalidTarget("holds a header, not a device id; `temppass id` tells the id")
    try:
        return Target(number, device, canonical_user_key(key) if key is not None else None)
    except InvalidIdentity as error:
        raise InvalidTarget(error.detail) from None


# --- the journal


class _Head(Struct, frozen=True):
    """What a journal belongs to. `digest` is over all targets of the file, in order."""

    place: str
    requestor: str
    mvpd: str
    lines: int
    digest: str


class _Entry(Struct, frozen=True, omit_defaults=True):
    """One line that was answered, or given up."""

    line: int
    #: Unix milliseconds
    at: int
    result: str
    reset_id: str = ""
    matched: int | None = None
    error: str = ""


DONE, FAILED = "done", "failed"


class Journal:
    """
    The journal of one file of resets, held by one process at a time. Each record is on the disk before the next line
    is sent.
    """

    def __init__(self, path: Path, head: _Head, *, resume: bool) -> None:
        """Begin a journal, or go on with one. Raises BulkError."""
        self.path = path
        #: lines that need not be sent again
        self.done: set[int] = set()
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise BulkError(f"cannot open the journal {path}: {error.strerror}", hint="name one: --journal") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin(head, resume=resume)
        except BlockingIOError:
            os.close(self._handle)
            raise BulkError(f"another run is at work on {path}") from None
        except BaseException:
            os.close(self._handle)
            raise

    def _begin(self, head: _Head, *, resume: bool) -> None:
        raw = Path(self.path).read_bytes()
        first = msgspec.json.encode(head) + b"\n"
        if len(raw) < len(first) and first.startswith(raw):  # new, or killed while it was begun
            os.ftruncate(self._handle, 0)
            self._append(head)
            return
        whole, _, torn = raw.rpartition(b"\n")  # torn: killed while it wrote
        lines = whole.splitlines()
        if not resume and len(lines) > 1:
            hint = "go on with --resume, or name another --journal"
            raise BulkError(f"there is a journal already: {self.path}", hint=hint)
        try:
            present = msgspec.json.decode(lines[0] if lines else b"", type=_Head)
            entries = [msgspec.json.decode(line, type=_Entry) for line in lines[1:]]
        except msgspec.DecodeError:
            raise BulkError(f"{self.path} is no journal of resets", hint="name another: --journal") from None
        if present != head:
            what = "another file" if present.digest != head.digest else "another service, channel or pass"
            raise BulkError(f"{self.path} belongs to {what}", hint="name another: --journal")
        os.ftruncate(self._handle, len(raw) - len(torn))
        for entry in entries:
            if entry.result == DONE:
                self.done.add(entry.line)

    def record(
        self, line: int, at: int, result: str, *, reset_id: str = "", matched: int | None = None, error: str = ""
    ) -> None:
        """Write down what became of a line. Raises BulkError."""
        self._append(_Entry(line, at, result, reset_id, matched, error))
        if result == DONE:
            self.done.add(line)

    def _append(self, record: Struct) -> None:
        try:
            os.write(self._handle, msgspec.json.encode(record) + b"\n")
            os.fsync(self._handle)
        except OSError as error:
            raise BulkError(f"cannot write the journal {self.path}: {error.strerror}") from None

    def close(self) -> None:
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def head_of(place: str, requestor: str, mvpd: str, targets: Sequence[Target]) -> _Head:
    """Name what a journal belongs to."""
    digest = hashlib.sha256()
    for target in targets:
        digest.update(json.dumps([target.line, target.device, target.key]).encode() + b"\n")
    return _Head(place, requestor, mvpd, len(targets), digest.hexdigest())
