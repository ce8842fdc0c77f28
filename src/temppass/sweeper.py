"""
Clears away what no answer can depend on any more, in small chunks with pauses, so that decisions do not notice.

A ledger below its floor does not count; it goes once the reset that raised the floor can no longer be undone, a day
after this process first saw that floor. A ledger whose trial is over goes only where the pass declares a retention,
because the viewer is new to the pass again from then on. Sessions go when their half hour is over.
"""

import asyncio
from collections.abc import Mapping

from temppass.core.model import Floors, SubjectKind
from temppass.store import Stale, Store, TrialKey

#: how long a reset of everybody can still be undone, and stale ledgers therefore stay
UNDO_MS = 86_400_000
#: ledgers that one chunk looks at, and the pause after each, in seconds: at most 5,000 a second
CHUNK = 500
PAUSE_S = 0.1
#: ledgers that expire one by one are looked for this often
RETENTION_EVERY_MS = 3_600_000

_Swept = tuple[TrialKey, SubjectKind]


class Sweeper:
    """`removed` counts the ledgers that are gone."""

    def __init__(self, store: Store, pause_s: float = PAUSE_S) -> None:
        self._store = store
        self._pause_s = pause_s
        self._floors_seen: dict[_Swept, list[tuple[int, int]]] = {}
        self._done: dict[_Swept, tuple[int, int]] = {}
        #: sweeps under way or broken off: their final floor, and the last digest looked at
        self._reached: dict[_Swept, tuple[int, bytes]] = {}
        self.removed = 0

    async def sweep(self, now: int, retention_ms: Mapping[TrialKey, int]) -> None:
        """
        Sweep everything that is due, once through the ledgers of a trial for each floor that became final.

        `retention_ms` has the trials whose pass declares one. Raises StoreUnavailable; the next call goes on there.
        """
        await self._sweep_sessions(now)
        for trial, floors in await self._store.trials():
            retained_ms = retention_ms.get(trial)
            for kind in SubjectKind:
                final = self._final_floor((trial, kind), floors, now)
                stale = Stale(final, None if retained_ms is None else now - retained_ms)
                if self._is_due((trial, kind), stale, now):
                    await self._sweep_ledgers(trial, kind, stale)
                    self._done[trial, kind] = (final, now)

    async def _sweep_sessions(self, now: int) -> None:
        swept = CHUNK
        while swept == CHUNK:
            swept = await self._store.sweep(now, CHUNK)
            await asyncio.sleep(self._pause_s)

    def _final_floor(self, swept: _Swept, floors: Floors, now: int) -> int:
        """Answer the highest floor that has stood for the undo window."""
        floor, seen = floors.of(swept[1]), self._floors_seen.setdefault(swept, [(0, 0)])
        if seen[-1][0] != floor:
            seen.append((floor, now))
        while len(seen) > 1 and seen[1][1] + UNDO_MS <= now:
            del seen[0]
        return seen[0][0]

    def _is_due(self, swept: _Swept, stale: Stale, now: int) -> bool:
        generation, at = self._done.get(swept, (0, 0))
        return stale.generation_min > generation or (
            stale.expired_before is not None and now >= at + RETENTION_EVERY_MS
        )

    async def _sweep_ledgers(self, trial: TrialKey, kind: SubjectKind, stale: Stale) -> None:
        """Begin where an outage broke off the sweep for the same floor, or it would look again at all that is fresh."""
        floor, reached = self._reached.get((trial, kind), (0, b""))
        last: bytes | None = reached if floor == stale.generation_min else b""
        while last is not None:
            self._reached[trial, kind] = (stale.generation_min, last)
            removed, last = await self._store.sweep_ledgers(trial, kind, stale, last, CHUNK)
            self.removed += removed
            await asyncio.sleep(self._pause_s)
        del self._reached[trial, kind]
