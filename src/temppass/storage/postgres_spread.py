"""
Where subjects live: the slots of a database, and how what all of them have to know changes on all of them at once.

On one PostgreSQL there is one slot, and nothing here does anything. On a cluster each slot is on one node and decides
by itself, from its ledgers and its own copy of floors and versions. A transaction over several nodes is committed by
each of them at a moment of its own; locks (schema/postgres/006_slots.sql) see to it that nobody notices. They are
numbers that rise with the slot, and whoever waits for more than one asks for them in their order, so that nobody waits
in a circle.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from temppass.core.model import Floors, Subject
from temppass.storage import postgres_sql as sql
from temppass.storage.postgres_rows import columns, floors_row
from temppass.store import StoreUnavailable

if TYPE_CHECKING:
    from temppass.storage.postgres_link import Connection

#: key of the one slot of a database that has no others
WHOLE = 0
#: locks of subjects, environments and integrations have these bits, below those of the slot
_SUBJECTS, _ENVIRONMENTS, _SLOT_BITS = 1 << 47, 1 << 32, 48


class Told(NamedTuple):
    """What every slot is told: environments with their versions, integrations with their floors and versions."""

    environments: Sequence[tuple[str, int]] = ()
    integrations: Sequence[tuple[int, Floors, int]] = ()


class Spread(NamedTuple):
    """The slots of a database, by their keys, in the order of the digests that they hold."""

    keys: tuple[int, ...] = (WHOLE,)

    @property
    def is_whole(self) -> bool:
        return self.keys == (WHOLE,)

    def number(self, digest: bytes) -> int:
        """Answer in which of the slots a digest is (b"" is in the first)."""
        return int.from_bytes(digest[:2].ljust(2, b"\0"), "big") * len(self.keys) >> 16

    # --- locks

    def lock_of_subject(self, subject: Subject) -> int:
        # one lock for all integrations: what shares it waits a little in vain
        return self._lock(self.number(subject.digest), _SUBJECTS | int.from_bytes(subject.digest[2:8], "big") >> 1)

    def locks(self, number: int, environments: Iterable[str], integrations: Iterable[int]) -> list[int]:
        """Answer the locks of environments and integrations in one slot, in the order in which they are given."""
        return [
            *(self._lock(number, _ENVIRONMENTS | zlib.crc32(name.encode())) for name in environments),
            *(self._lock(number, id_) for id_ in integrations),
        ]

    @staticmethod
    def _lock(number: int, lock: int) -> int:
        return number << _SLOT_BITS | lock

    # --- what every slot knows

    async def lock(self, connection: Connection, environments: Collection[str]) -> None:
        """Within a transaction, and before it writes anything: keep everybody from looking at these in any slot."""
        if self.is_whole or not environments:
            return
        for number in range(len(self.keys)):
            await self.lock_one(connection, number, environments, ())

    async def lock_one(
        self, connection: Connection, number: int, environments: Iterable[str], integrations: Iterable[int]
    ) -> None:
        locks = sorted(self.locks(number, environments, integrations))
        await connection.execute(sql.LOCK_SLOT, self.keys[number], locks, 0)

    async def tell(self, connection: Connection, told: Told) -> None:
        """Within the transaction that has locked them: tell every slot how they are from now on."""
        if self.is_whole or not any(told):
            return
        for key in self.keys:
            await self.tell_one(connection, key, told)

    @staticmethod
    async def tell_one(connection: Connection, key: int, told: Told) -> None:
        standings = [(id_, *floors_row(floors), version) for id_, floors, version in told.integrations]
        await connection.execute(sql.TELL_SLOT, key, *columns(told.environments, 2), *columns(standings, 7))

    async def show(self, connection: Connection, told: Told) -> None:
        """
        After the commit: see to it that every slot shows what it was told, or something later. One whose node went
        away in between shows nothing until it knows. Raises StoreUnavailable.
        """
        if self.is_whole or not any(told):
            return
        names, ids = [name for name, _ in told.environments], [id_ for id_, *_ in told.integrations]
        expected: dict[str | int, int] = dict(told.environments)
        expected |= {id_: version for id_, _, version in told.integrations}
        for number, key in enumerate(self.keys):
            rows = await connection.fetch(sql.READ_SLOT, key, [], [], names, ids, [], [], [], 0)
            shown = {names[n - 1] if what == sql.ENVIRONMENT_ROW else n: version for what, n, version, *_ in rows}
            if any(shown.get(name, 0) < version for name, version in expected.items()):
                raise StoreUnavailable(f"slot {number} does not show yet what was written")
