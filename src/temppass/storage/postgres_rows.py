"""
How the nouns are written as rows and read again: the order of columns is that of the statements (postgres_sql.py).
"""

import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import Any

from temppass.core.model import ANYWHERE, Floors, Ledger, Origin, Raise, Recorded, Subject, SubjectKind
from temppass.storage.postgres_batch import KeptRow, Row
from temppass.storage.titles import Titles
from temppass.store import IntegrationKey

#: above what the first version counted up to, below where an integer ends
_DERIVED_IDS = range(1 << 20, 1 << 30)
#: a generation below every floor
REMOVED = -1
_NO_LEDGER = Ledger(0, 0, REMOVED)


def integration_id(key: IntegrationKey, attempt: int) -> int:
    """
    Derive the id of a new integration from its name, so that nodes and replicas need not agree on one; where another
    integration has it already, the next attempt derives another. Ids that were counted up, from 1, are not among them.
    """
    digest = hashlib.sha256("/".join([*key, str(attempt)]).encode()).digest()
    return _DERIVED_IDS.start + int.from_bytes(digest[:8], "big") % len(_DERIVED_IDS)


def columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Turn rows into the arrays that `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _next_version(version: int | None) -> int:
    """A new row starts anywhere, so that no reader of a removed one can mistake it."""
    return random.getrandbits(62) if version is None else version + 1


def ledger_row(slot: int, integration: int, subject: Subject, row: Row, titles: Titles) -> tuple[Any, ...]:
    """
    Write down a ledger for WRITE_LEDGERS, and without its slot for WRITE_SLOT. One that was removed leaves an empty row
    that counts for nothing, even one that began in the same batch: a row that is not there has no version by which
    anybody could see that it moved on.
    """
    ledger = row.ledger or _NO_LEDGER
    return (
        slot,
        integration,
        int(subject.kind),
        subject.digest,
        ledger.generation,
        ledger.started_at,
        ledger.expires_at,
        # a version that was read goes in negated: should its row be gone (swept), what is inserted is told by its sign
        random.getrandbits(62) + 1 if row.version is None else -row.version,
        titles.write(ledger.used),
        ledger.origin.app_id,
        ledger.origin.device_user,
        ledger.bonus,
    )


def ledger_of(
    started_at: int,
    expires_at: int,
    generation: int,
    used: tuple[str, ...],
    app_id: bytes | None,
    device_user: bytes | None,
    bonus: int,
) -> Ledger:
    origin = Origin(app_id, device_user) if app_id or device_user else ANYWHERE
    return Ledger(started_at, expires_at, generation, used, origin, bonus)


def floors_row(floors: Floors) -> tuple[int, ...]:
    return floors.device, floors.user_key, floors.fired_at, floors.device_ahead, floors.user_key_ahead


def raise_row(each: Raise) -> tuple[Any, ...]:
    return int(each.kind), each.generation, each.floor_before, each.at, each.act_id


def kept_row(environment: str, row: KeptRow) -> tuple[Any, ...]:
    kept = row.kept
    assert kept is not None
    return environment, kept.key, kept.kind, kept.expires_at, kept.document, _next_version(row.version)


def raises_of(rows: Iterable[Sequence[Any]]) -> tuple[Raise, ...]:
    """Answer the resets that stand, of rows as a LEFT JOIN has them: all of them empty where none does."""
    return tuple(Raise(SubjectKind(kind), *row) for kind, *row in rows if kind is not None)


def record_row(environment: str, record: Recorded) -> tuple[Any, ...]:
    words = (record.kind, record.actor, record.channel_id, record.pass_id)
    return record.id, record.at, environment, record.document, *words
