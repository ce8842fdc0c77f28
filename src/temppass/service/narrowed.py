"""
Resets of a part of everybody, chunk by chunk: no floor can tell their ledgers from the others. Such a reset was
admitted and recorded when it began, so what the catalogue says meanwhile does not stop it. How far it is stands in the
document that counts its chunks, so one that was broken off can be gone on with.

Source: docs/design.md (undo of resets).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from temppass.core import act, reset
from temppass.core.catalogue import Offer
from temppass.core.model import NOTHING, Changes, Found, Subject, SubjectKind
from temppass.core.refusal import Refusal
from temppass.core.world import World
from temppass.service.context import Context, keys_of
from temppass.service.worlds import Plan

A = TypeVar("A")

#: ledgers that one chunk looks at
CHUNK = 500


class Narrowed(NamedTuple):
    """A narrowed reset that still has its ledgers to remove; `id` and `actor` are those of its act."""

    id: str
    offer: Offer
    kinds: tuple[SubjectKind, ...]
    narrowing: reset.Narrowing
    actor: act.Actor


class Going:
    """What goes on chunk by chunk in this process, by the act that it is of, also once nobody waits for it any more."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def __contains__(self, act_id: str | None) -> bool:
        return act_id in self._tasks

    async def through(
        self, act_id: str, going: Callable[[], Coroutine[Any, Any, A]], patience_s: float | None
    ) -> A | None:
        """
        Go through all chunks, and answer what came of it; None where that takes longer than `patience_s`. Then it goes
        on, and where it is broken off, what is kept of the chunks says so. A patience of None waits for the end.
        """
        if patience_s is None:
            return await going()
        task = self._tasks.get(act_id)
        if task is None:
            task = self._tasks[act_id] = asyncio.create_task(going())
            task.add_done_callback(lambda _task: self._tasks.pop(act_id))
        done, _ = await asyncio.wait({task}, timeout=patience_s)
        return task.result() if done else None


async def go_through(context: Context, environment: str, narrowed: Narrowed) -> int:
    """Remove the ledgers that are meant, put the end on record, and answer how many they were; an undo stops it."""
    integration = (environment, narrowed.offer.channel_id, narrowed.offer.pass_id)
    for kind in narrowed.kinds:
        last = b""
        while page := await context.store.ledgers(integration, kind, last, CHUNK):
            last, now = page[-1][0].digest, context.clock()
            subjects = [subject for subject, ledger in page if narrowed.narrowing.fits(ledger, now)]
            if subjects:
                await context.worlds.ask(environment, _removing(narrowed, subjects, now))
    return await context.worlds.ask(environment, _ending(narrowed, context.act_id(), context.clock()))


async def go_on(context: Context, environment: str, act_id: str) -> int | None:
    """
    Go on with a narrowed reset that was broken off, because it is asked for again, and answer how many ledgers it has
    removed in all; None where the act is none, or is undone. Trials that were begun since are not meant.
    """
    kept = await context.store.record(environment, act_id)
    record = act.read_record(kept.document) if kept is not None else None
    if record is None or not isinstance(what := record.act, act.NarrowedReset):
        return None

    def look(world: World) -> Plan[reset.Chunks | None]:
        keys = replace(keys_of(world), kept=(reset.undo_key(act_id),))
        return keys, lambda found: (reset.read_chunks(found.kept[0]), NOTHING)

    chunks = await context.worlds.ask(environment, look)
    if chunks is None or not chunks.is_open:
        return chunks.matched if chunks is not None else None
    world = await context.worlds.known(environment)
    try:
        offer, _ = world.declared(world.channel(what.channel_id), what.pass_id)
    except Refusal:  # nobody has a trial where nothing is offered any more
        return chunks.matched
    kinds = reset.BOTH if what.subject_kind is None else (what.subject_kind,)
    began = min(what.started_before or record.at + 1, record.at + 1)
    narrowing = reset.Narrowing(what.origin, what.over, began)
    return await go_through(context, environment, Narrowed(act_id, offer, kinds, narrowing, record.actor))


def _removing(narrowed: Narrowed, subjects: list[Subject], now: int) -> Callable[[World], Plan[None]]:
    """
    Plan to remove the ledgers of `subjects`; what an undo needs of it is kept under the reset's id and the number of
    the chunk, which the document under the id alone counts. One that has ended, or is undone by now, removes none.
    """

    def prepare(world: World) -> Plan[None]:
        def step(found: Found) -> tuple[None, Changes]:
            count, chunks = found.kept[0], reset.read_chunks(found.kept[0])
            if count is None or chunks is None or not chunks.is_open:
                return None, NOTHING
            number = chunks.chunks + 1
            matched, changes = reset.reset_subjects(
                found, narrowed.offer, subjects, narrowed.narrowing, now, narrowed.id, number
            )
            if matched:
                gone_on = replace(chunks, chunks=number, matched=chunks.matched + matched)
                changes = replace(changes, kept=(*changes.kept, reset.write_chunks(count, gone_on)))
            return None, changes

        keys = keys_of(world, narrowed.offer, subjects, large=True)
        return replace(keys, kept=(reset.undo_key(narrowed.id),)), step

    return prepare


def _ending(narrowed: Narrowed, id_: str, now: int) -> Callable[[World], Plan[int]]:
    """Plan to put the end of a narrowed reset on record, unless it is undone by now or somebody else did so."""

    def prepare(world: World) -> Plan[int]:
        def step(found: Found) -> tuple[int, Changes]:
            count, chunks = found.kept[0], reset.read_chunks(found.kept[0])
            if count is None or chunks is None or not chunks.is_open:
                return chunks.matched if chunks is not None else 0, NOTHING
            end = act.Record(id_, now, narrowed.actor, act.NarrowedResetEnd(narrowed.id, chunks.matched))
            kept = reset.write_chunks(count, replace(chunks, ended=True))
            return chunks.matched, Changes(kept=(kept,), records=(act.recorded(end),))

        return replace(keys_of(world), kept=(reset.undo_key(narrowed.id),)), step

    return prepare
