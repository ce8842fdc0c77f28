"""
Resets of a part of everybody, chunk by chunk: no floor can tell their ledgers from the others. Such a reset was
admitted and recorded when it began, so what the catalogue says meanwhile does not stop it.

Source: docs/design.md (undo of resets).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from temppass.core import act, reset
from temppass.core.catalogue import Offer
from temppass.core.model import NOTHING, Changes, Found, Subject, SubjectKind
from temppass.core.world import World
from temppass.service.context import Context, keys_of
from temppass.service.worlds import Plan

#: ledgers that one chunk looks at
CHUNK = 500


class Narrowed(NamedTuple):
    """A narrowed reset that still has its ledgers to remove; `id` and `actor` are those of its act."""

    id: str
    offer: Offer
    kinds: tuple[SubjectKind, ...]
    narrowing: reset.Narrowing
    actor: act.Actor


async def go_through(context: Context, environment: str, narrowed: Narrowed) -> int:
    """Remove the ledgers that are meant, put the end on record, and answer how many they were; an undo stops it."""
    integration = (environment, narrowed.offer.channel_id, narrowed.offer.pass_id)
    matched, chunk = 0, 1
    for kind in narrowed.kinds:
        last = b""
        while page := await context.store.ledgers(integration, kind, last, CHUNK):
            last, now = page[-1][0].digest, context.clock()
            subjects = [subject for subject, ledger in page if narrowed.narrowing.fits(ledger, now)]
            if not subjects:
                continue
            removed = await context.worlds.ask(environment, _removing(narrowed, subjects, chunk, now))
            if removed is None:
                return matched
            if removed:
                matched, chunk = matched + removed, chunk + 1
    end = act.NarrowedResetEnd(narrowed.id, matched)
    ended = act.Record(context.act_id(), context.clock(), narrowed.actor, end)
    changes = Changes(records=(act.recorded(ended),))
    await context.worlds.ask(environment, lambda world: (keys_of(world), lambda _found: (None, changes)))
    return matched


def _removing(narrowed: Narrowed, subjects: list[Subject], chunk: int, now: int) -> Callable[[World], Plan[int | None]]:
    """
    Plan to remove the ledgers of `subjects`; what an undo needs of it is kept under the reset's id and `chunk`, and
    under the id alone how many chunks there are. Answers how many matched, None where the reset is undone by now.
    """

    def prepare(world: World) -> Plan[int | None]:
        def step(found: Found) -> tuple[int | None, Changes]:
            before = reset.read_chunks(found.kept[0])
            if chunk > 1 and (before is None or before.undo_id is not None):
                return None, NOTHING
            matched, changes = reset.reset_subjects(
                found, narrowed.offer, subjects, narrowed.narrowing, now, narrowed.id, chunk
            )
            if matched:
                changes = replace(changes, kept=(*changes.kept, reset.count_chunks(narrowed.id, chunk, now)))
            return matched, changes

        keys = keys_of(world, narrowed.offer, subjects, large=True)
        return replace(keys, kept=(reset.undo_key(narrowed.id),)), step

    return prepare
