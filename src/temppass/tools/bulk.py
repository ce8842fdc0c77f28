"""
Many resets from one file: what its lines mean, and a journal that says which of them were answered.

A line names a device, a user key, or both (a promotional viewer is new only when both are reset). A file is read and
checked whole before anything is sent. The journal has one record a line that was answered, by its number; it names
nobody. Whoever resumes repeats the lines without a good answer: a reset that was applied twice is a reset.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from temppass.client.errors import BulkError, InvalidTarget
from temppass.core.identity import IDENTITY_BYTES_MAX, canonical_user_key
from temppass.core.refusal import InvalidIdentity
from temppass.tools.forms import is_email

#: a file is at most so large, in bytes, and has so many lines
FILE_BYTES_MAX = 67_108_864
LINES_MAX = 1_000_000
#: how many mistakes of a file are told
PROBLEMS_MAX = 10

#: what columns and fields may be called, and what they hold
COLUMNS = {
    "device": "device", "device_id": "device", "key": "key", "user_key": "key", "hash": "key", "email": "email",
}  # fmt: skip
#: what may stand between two columns
_SEPARATORS = ",;\t"


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
    """Answer the fields of each line that is not blank, by what they hold."""
    lines = text.removeprefix("\ufeff").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if numbered and numbered[0][1].lstrip().startswith("{"):
        return ((number, _json_fields(line)) for number, line in numbered)
    if kind is not None:
        if numbered and any(_columns(numbered[0][1])[1]):
            raise BulkError(f"{source} has a header", hint="leave --as out: the header says what its lines hold")
        return ((number, {kind: line}) for number, line in numbered)
    return _csv_rows("\n".join(lines), numbered[0][1] if numbered else "", source)


def _columns(header: str) -> tuple[str, list[str | None]]:
    """Answer the separator of a header, and what each of its columns holds: None for what is ignored."""
    separator = max(_SEPARATORS, key=header.count)
    names = [re.sub(r"[\s-]+", "_", name.strip().strip('"').lower()) for name in header.split(separator)]
    return separator, [COLUMNS.get(name, COLUMNS.get(name.replace("_", ""))) for name in names]


def _csv_rows(text: str, header: str, source: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    separator, _ = _columns(header)
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    names: list[str | None] = []
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if names:
                cells = zip(names, row, strict=False)
                yield reader.line_num, {name: cell for name, cell in cells if name is not None}
                continue
            names = _columns(header)[1]
            known = [name for name in names if name is not None]
            if len(set(known)) < len(known):
                raise BulkError(f"{source} has two columns for one thing", hint="keep one of them")
            if not known:
                hint = "say what its lines hold: --as device, --as key or --as email; JSON goes one object a line"
                raise BulkError(f"{source} has no header that names {', '.join(COLUMNS)}", hint=hint)
    except csv.Error as error:
        raise BulkError(f"{source}:{reader.line_num}: {error}") from None


def _json_fields(line: str) -> Mapping[str, Any]:
    """Answer the fields of one JSON line; what cannot be read has none."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {"": None}
    return {COLUMNS[name]: value for name, value in fields.items() if name in COLUMNS}


def _target(number: int, fields: Mapping[str, Any]) -> Target:
    """Raises InvalidTarget."""
    if "" in fields:
        raise InvalidTarget("is no JSON object")
    named = _named(fields)
    device, key = named.get("device"), named.get("key", named.get("email"))
    if "all" in {device, key}:
        raise InvalidTarget("'all' would mean everybody; a file names one by one")
    if device is not None and len(device.encode(errors="replace")) > IDENTITY_BYTES_MAX:
        raise InvalidTarget(f"a device id has at most {IDENTITY_BYTES_MAX} bytes")
    if device is not None and device.lower().startswith("fingerprint "):
        raise InvalidTarget("holds a header, not a device id; `temppass id` tells the id")
    try:
        return Target(number, device, canonical_user_key(key) if key is not None else None)
    except InvalidIdentity as error:
        raise InvalidTarget(error.detail) from None


def _named(fields: Mapping[str, Any]) -> dict[str, str]:
    """Answer the fields that say something. Raises InvalidTarget."""
    named = {name: value for name, value in fields.items() if value is not None and value != ""}
    if not named:
        raise InvalidTarget("names neither a device nor a key nor an email; an empty one would mean everybody")
    if not all(isinstance(value, str) for value in named.values()):
        raise InvalidTarget("a device, key or email is a text")
    if "key" in named and "email" in named:
        raise InvalidTarget("has a key and an email; one of them is enough")
    if any(value != value.strip() for value in named.values()):
        raise InvalidTarget("has white space around a value, which would be hashed with it")
    email = named.get("email")
    if email is not None and not is_email(email) and canonical_user_key(email) != email.lower():
        raise InvalidTarget("holds neither an e-mail address nor its hash; a column `key` may hold any text")
    return named


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
