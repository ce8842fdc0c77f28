"""
What the lines of a list hold: JSON lines, CSV with a header, or one value a line. The command line and the console
read lists of viewers by it; whom a value means is theirs to say.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from temppass.core.identity import canonical_user_key
from temppass.core.viewer import is_email

#: what columns and fields may be called, and what they hold
COLUMNS = {
    "device": "device", "device_id": "device", "key": "key", "user_key": "key", "hash": "key", "email": "email",
}  # fmt: skip
#: what may stand between two columns
_SEPARATORS = ",;\t"


class Misread(Exception):
    """
    A line, or a whole list, that cannot be used. The text goes on after the words for it, and repeats nothing of what
    it holds; `line` says which line keeps the rest from being read.
    """

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


class NoHeader(Misread):
    """Nothing says what the lines hold."""


def has_header(text: str, columns: Mapping[str, str]) -> bool:
    """Tell whether the first line that is not blank names one of `columns`."""
    lines = text.removeprefix("\ufeff").splitlines()
    first = next((line for line in lines if line.strip()), "")
    return any(_held(first, columns)[1])


def rows(text: str, columns: Mapping[str, str], kind: str | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """
    Answer the number of each line that is not blank, from 1, and its fields, by what `columns` says that they hold.

    With a `kind`, each line is one value that is of this kind, and none is a header. Raises Misread, NoHeader.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if numbered and numbered[0][1].lstrip().startswith("{"):
        return ((number, _json_fields(line, columns)) for number, line in numbered)
    if kind is not None:
        return ((number, {kind: line}) for number, line in numbered)
    return _csv_rows("\n".join(lines), numbered[0][1] if numbered else "", columns)


def named(fields: Mapping[str, Any]) -> dict[str, str]:
    """Answer the fields of a line that name somebody. Raises Misread."""
    if "" in fields:
        raise Misread("is no JSON object")
    said = {name: value for name, value in fields.items() if value is not None and value != ""}
    if not said:
        raise Misread("names neither a device nor a key nor an email; an empty one would mean everybody")
    if not all(isinstance(value, str) for value in said.values()):
        raise Misread("a device, key or email is a text")
    if "key" in said and "email" in said:
        raise Misread("has a key and an email; one of them is enough")
    if any("\n" in value for value in said.values()):
        raise Misread("goes on over several lines; is a quotation mark not closed?")
    if any(value != value.strip() for value in said.values()):
        raise Misread("has white space around a value, which would be hashed with it")
    email = said.get("email")
    if email is not None and not is_email(email) and canonical_user_key(email) != email.lower():
        raise Misread("holds neither an e-mail address nor its hash; a column `key` may hold any text")
    if "all" in said.values():
        raise Misread("'all' would mean everybody; a file names one by one")
    return said


def _held(header: str, columns: Mapping[str, str]) -> tuple[str, list[str | None]]:
    """Answer the separator of a header, and what each of its columns holds: None for what is ignored."""
    separator = max(_SEPARATORS, key=header.count)
    names = [re.sub(r"[\s-]+", "_", name.strip().strip('"').lower()) for name in header.split(separator)]
    return separator, [columns.get(name, columns.get(name.replace("_", ""))) for name in names]


def _csv_rows(text: str, header: str, columns: Mapping[str, str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    separator, held = _held(header, columns)
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    names: list[str | None] = []
    last = 0
    try:
        for row in reader:
            number, last = last + 1, reader.line_num
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if names:
                cells = zip(names, row, strict=False)
                yield number, {name: cell for name, cell in cells if name is not None}
                continue
            names = held
            known = [name for name in names if name is not None]
            if len(set(known)) < len(known):
                raise Misread("has two columns for one thing; keep one of them")
            if not known:
                raise NoHeader(f"has no header that names {', '.join(columns)}")
    except csv.Error as error:
        raise Misread(str(error), reader.line_num) from None


def _json_fields(line: str, columns: Mapping[str, str]) -> Mapping[str, Any]:
    """Answer the fields of one JSON line; what cannot be read has none."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {"": None}
    return {columns[name]: value for name, value in fields.items() if name in columns}
