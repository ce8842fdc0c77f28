"""
A list of viewers that somebody wants to be new to a pass: what of it is kept while it is gone through, in parts of
which each is one act. That is digests and the numbers of lines; what the lines said is nowhere.

Source: docs/design.md (lists of viewers).
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from temppass.core import rows
from temppass.core.model import Kept, Subject
from temppass.core.refusal import AlreadySo, InvalidRequest, Refusal
from temppass.core.reset import UNDO_KEPT_MS, UNDO_MS, is_undoable
from temppass.core.rows import COLUMNS, Misread, NoHeader
from temppass.core.viewer import Named, read_viewer

#: lines of one list, those that cannot be read too
LINES_MAX = 5_000
#: viewers of one part, which is one act and one undo
PART_VIEWERS = 1_000
#: lists of an environment that are kept at once
LISTS_MAX = 100
#: the kind of the documents that hold them, and the key of the one that names them all
LIST = "list"
KEY = "lists"

#: what the columns of a list may be called, and what each line may be where none says so
LIST_COLUMNS = {**COLUMNS, "subject": "subject", "digest": "subject"}
KINDS = ("device", "email", "key", "subject")


class LineState(StrEnum):
    """What became of a line."""

    #: it names somebody who is still to be reset
    WAITING = "waiting"
    #: a trial of whom it names was ended
    RESET = "reset"
    #: whom it names had no trial
    NO_TRIAL = "no_trial"
    #: it names whom a line before it names
    REPEATED = "repeated"
    UNREADABLE = "unreadable"


class Line(Struct, frozen=True, omit_defaults=True):
    """One line, by its number; `note` says what is wrong with it, or looks so, and repeats nothing of it."""

    number: int
    state: LineState
    subjects: tuple[Subject, ...] = ()
    note: str = ""


class Part(Struct, frozen=True, omit_defaults=True):
    """The lines from `first` to `last`, which name so many viewers; once they are reset, by which act, and when."""

    first: int
    last: int
    viewers: int
    act_id: str | None = None
    matched: int = 0
    done_at: int = 0

    @property
    def is_done(self) -> bool:
        return self.act_id is not None or not self.viewers

    @property
    def undo_until(self) -> int | None:
        return self.done_at + UNDO_MS if self.matched else None


class ViewerList(Struct, frozen=True):
    """A list, and how far it is; its lines are documents beside it, one a part."""

    id: str
    channel_id: str
    pass_id: str
    reason: str | None
    made_by: str
    made_at: int
    unreadable: int
    repeated: int
    parts: tuple[Part, ...]

    @property
    def viewers(self) -> int:
        return sum(part.viewers for part in self.parts)

    @property
    def done(self) -> int:
        """How many viewers it has gone through."""
        return sum(part.viewers for part in self.parts if part.is_done)

    @property
    def matched(self) -> int:
        """How many trials it has ended."""
        return sum(part.matched for part in self.parts)

    @property
    def next_part(self) -> int | None:
        """The number of the part that comes next, None at the end."""
        return next((number for number, part in enumerate(self.parts) if not part.is_done), None)

    @property
    def is_begun(self) -> bool:
        return any(part.act_id for part in self.parts)


class Undoing(StrEnum):
    """Whether what a part did can be taken back."""

    #: it did nothing yet, or ended no trial
    NOTHING = "nothing"
    POSSIBLE = "possible"
    UNDONE = "undone"
    TOO_LATE = "too_late"


class _Entry(NamedTuple):
    id: str
    ends_at: int


_index = msgspec.json.Decoder(tuple[_Entry, ...])
_list = msgspec.json.Decoder(ViewerList)
_lines = msgspec.json.Decoder(tuple[Line, ...])


# --- reading


def read_lines(text: str, kind: str | None, identity_key: str | None, pepper: bytes) -> list[Line]:
    """
    Read whom each line names under a pass whose users are known by `identity_key` (None: by devices alone), in any form
    of core/viewer. Where a header says what its columns hold, `kind` (one of KINDS) is not asked.

    Refuses: InvalidRequest for what is no list. A line that is of no use says so, and keeps no other from being read.
    """
    lines: list[Line] = []
    seen: dict[tuple[Subject, ...], int] = {}
    try:
        if rows.has_header(text, LIST_COLUMNS):
            kind = None
        for number, fields in rows.rows(text, LIST_COLUMNS, kind):
            if len(lines) >= LINES_MAX:
                raise InvalidRequest(f"A list has at most {LINES_MAX:,} lines; split it.")
            line = _read(number, fields, identity_key, pepper)
            if line.subjects in seen and line.subjects:
                line = Line(number, LineState.REPEATED, note=f"Names whom line {seen[line.subjects]} names.")
            seen.setdefault(line.subjects, number)
            lines.append(line)
    except NoHeader:
        columns = ", ".join(KINDS)
        raise InvalidRequest(
            f"The list has no header with one of {columns}; say what each of its lines holds."
        ) from None
    except Misread as error:
        where = "The list" if error.line is None else f"The list cannot be read from line {error.line} on: it"
        raise InvalidRequest(f"{where} {error}.") from None
    if not lines:
        raise InvalidRequest("The list names nobody; give one viewer a line.")
    return lines


def _read(number: int, fields: Mapping[str, Any], identity_key: str | None, pepper: bytes) -> Line:
    try:
        meant = read_viewer(Named(**rows.named(fields)), pepper)
        subjects = meant.subjects(identity_key, pepper)
    except (Misread, Refusal) as error:
        text = error.detail if isinstance(error, Refusal) else str(error)
        return Line(number, LineState.UNREADABLE, note=f"{text[:1].upper()}{text[1:].rstrip('.')}.")
    if not subjects:
        return Line(number, LineState.UNREADABLE, note="Names a user key, and the pass knows nobody by one.")
    return Line(number, LineState.WAITING, subjects, " ".join(meant.warnings))


def parted(lines: Iterable[Line]) -> list[tuple[Line, ...]]:
    """Answer the lines in parts of at most PART_VIEWERS viewers."""
    parts: list[list[Line]] = [[]]
    viewers = 0
    for line in lines:
        if line.state is LineState.WAITING:
            if viewers == PART_VIEWERS:
                parts.append([])
                viewers = 0
            viewers += 1
        parts[-1].append(line)
    return [tuple(part) for part in parts]


def count(lines: Iterable[Line], state: LineState) -> int:
    return sum(line.state is state for line in lines)


# --- going through it


def subjects_of(lines: Iterable[Line]) -> tuple[Subject, ...]:
    """Answer everybody whom lines name who is still to be reset, once."""
    return tuple(dict.fromkeys(one for line in lines if line.state is LineState.WAITING for one in line.subjects))


def gone_through(lines: Iterable[Line], ended: Sequence[Subject]) -> tuple[Line, ...]:
    """Answer lines as they are once the trials of `ended` were ended."""
    subjects = {*ended}
    return tuple(
        msgspec.structs.replace(
            line, state=LineState.NO_TRIAL if subjects.isdisjoint(line.subjects) else LineState.RESET
        )
        if line.state is LineState.WAITING
        else line
        for line in lines
    )


def meant(lines: Iterable[Line], ended: Sequence[Subject]) -> tuple[Subject, ...]:
    """Answer whom an act touched that ended these trials: a digest that may be of either kind is one of them."""
    subjects, found = {*ended}, dict[Subject, None]()
    for line in lines:
        if len({one.digest for one in line.subjects}) < len(line.subjects):
            found[next((one for one in line.subjects if one in subjects), line.subjects[0])] = None
        else:
            found.update(dict.fromkeys(line.subjects))
    return tuple(found)


def undoing(part: Part, aside: Kept | None, now: int) -> Undoing:
    """Tell whether what a part did can be taken back; `aside` is what was kept for that."""
    if not part.matched:
        return Undoing.NOTHING
    if is_undoable(aside, now):
        return Undoing.POSSIBLE
    return Undoing.UNDONE if aside is None or not aside.expires_at else Undoing.TOO_LATE


# --- at rest


def list_key(id_: str, part: int | None = None) -> str:
    """Answer the key of a list, or of the lines of one of its parts."""
    return f"{LIST}:{id_}" if part is None else f"{LIST}:{id_}:{part}"


def kept_list(one: ViewerList) -> Kept:
    return Kept(LIST, list_key(one.id), _ends_at(one), msgspec.json.encode(one))


def kept_lines(one: ViewerList, part: int, lines: tuple[Line, ...]) -> Kept:
    return Kept(LIST, list_key(one.id, part), _ends_at(one), msgspec.json.encode(lines))


def read_list(kept: Kept | None, now: int) -> ViewerList | None:
    """Answer a list, None where there is none, or none any more."""
    return _list.decode(kept.document) if kept is not None and now < kept.expires_at else None


def read_part(kept: Kept | None) -> tuple[Line, ...]:
    return _lines.decode(kept.document) if kept is not None else ()


def listed(kept: Kept | None, now: int) -> tuple[str, ...]:
    """Answer the ids of all lists, the newest first."""
    return tuple(entry.id for entry in reversed(_entries(kept, now)))


def added(kept: Kept | None, one: ViewerList, now: int) -> Kept:
    """Answer the document that names all lists with one more. Refuses: AlreadySo where there are too many."""
    entries = _entries(kept, now)
    if len(entries) >= LISTS_MAX:
        raise AlreadySo(f"{LISTS_MAX} lists of the last day are kept already; none more fits until one ends.")
    ends_at = _ends_at(one)
    return Kept(LIST, KEY, ends_at, msgspec.json.encode((*entries, _Entry(one.id, ends_at))))


def _entries(kept: Kept | None, now: int) -> tuple[_Entry, ...]:
    if kept is None:
        return ()
    return tuple(entry for entry in _index.decode(kept.document) if now < entry.ends_at)


def _ends_at(one: ViewerList) -> int:
    return one.made_at + UNDO_KEPT_MS
