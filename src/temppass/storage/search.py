"""
What both databases share about records: the statement that finds them, in which only what is asked for stands, because
a plan that is made once has to go by the index of what is given; and how they are read with what they are found by.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from temppass.core.act import Link, Wanted
from temppass.core.anchor import NO_ANCHOR, Anchor
from temppass.core.model import Recorded, Registered

#: moment and id, before those of every record
BEFORE_ALL = (0, "")
#: after whom the first page of clients is
AFTER_ALL = Registered("", 2**63 - 1)
_KIND = re.compile(r"[a-z]+([._][a-z]+)*")
#: the kinds of acts on one viewer, of which there are many
_MANY = {"reset", "grant"}


def recorded_of(row: Iterable[Any], subjects: Iterable[bytes]) -> tuple[Link, Recorded]:
    """Read a record with all that it is looked for by, in the order of columns in which both databases answer."""
    sequence, digest, id_, at, document, kind, actor, channel_id, pass_id = row
    words = (kind or "", actor or "", channel_id, pass_id)
    return Link(sequence, digest), Recorded(id_, at, document, *words, tuple(sorted(subjects)))


def anchor_of(sequence: int | None, digest: bytes | None, at: int | None, proof: bytes | None) -> Anchor:
    """Read where a chain begins; a part of it that somebody has emptied is no part of a good one."""
    if (sequence, digest, at, proof) == (None, None, None, None):
        return NO_ANCHOR
    return Anchor(Link(sequence or 0, digest or b""), at or 0, proof or b"")


def search(
    environment: str,
    wanted: Wanted,
    beyond: int | None,
    limit: int,
    *,
    newest_first: bool,
    mark: Callable[[int], str],
    schema: str = "",
) -> tuple[str, list[object]]:
    """
    Answer the statement and its values. `mark` is how the n-th value is named, `schema` what stands before a table.

    The arguments before are those of the port.
    """
    values: list[object] = []

    def put(given: object) -> str:
        values.append(given)
        return mark(len(values))

    def any_of(column: str, given: Sequence[object]) -> list[str]:
        return [f"{column} IN ({', '.join(put(each) for each in given)})"] if given else []

    where = [f"environment = {put(environment)}", "sequence IS NOT NULL"]
    for condition, given in (
        ("sequence < " if newest_first else "sequence > ", beyond),
        ("at >= ", wanted.since),
        ("at < ", wanted.until),
        ("pass = ", wanted.pass_id),
    ):
        if given is not None:
            where.append(condition + put(given))
    source, by, channel = f"{schema}audit", "sequence", "channel"
    if wanted.kinds and wanted.channels and _MANY.isdisjoint(wanted.kinds):
        # few among the many of a channel: gone along by their kind, not by the order or the channel
        by, channel = "sequence + 0", "channel || ''"
    if wanted.kinds:
        # named, so that a plan that is made once goes by how many there are of them: words alone, nothing to be escaped
        named = [f"'{kind}'" if _KIND.fullmatch(kind) else put(kind) for kind in wanted.kinds]
        where.append(f"kind IN ({', '.join(named)})")
    where += any_of("actor", wanted.actors) + any_of(channel, wanted.channels)
    if wanted.subjects:
        # what is known of few subjects is read first: neither the order nor a channel is to be gone along instead
        of_them = f"environment = {put(environment)} AND {any_of('subject', wanted.subjects)[0]}"
        source = f"(SELECT DISTINCT act FROM {schema}target WHERE {of_them}) AS named CROSS JOIN {source}"  # noqa: S608 - names of our own, and marks
        where, by = ["id = named.act", *where], "sequence + 0"
    order = "DESC" if newest_first else "ASC"
    found = f"SELECT sequence, hash, document FROM {source} WHERE {' AND '.join(where)}"  # noqa: S608 - marks alone
    return f"{found} ORDER BY {by} {order} LIMIT {put(limit)}", values
