"""
The reference adapter: dictionaries, one step after another. It forgets everything when the process ends.

It is the model that the other adapters are tested against, and a quick store for tests of other programs.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from temppass.core.model import Changes, Client, Floors, Found, Ledger, Origin, Record, Session, Subject, SubjectKind
from temppass.core.world import EnvironmentRecord
from temppass.store import LEDGER_READ_BYTES_MAX, Keys, LargeLedger, Outdated, Stale, TrialKey

A = TypeVar("A")

_encode = msgspec.json.Encoder().encode
_NO_FLOORS = Floors()
_Trial = tuple[str, tuple[str, str] | None]


class MemoryStore:
    retries = 0

    def __init__(self) -> None:
        self._environments: dict[str, EnvironmentRecord] = {}
        self._floors: dict[_Trial, Floors] = {}
        self._ledgers: dict[tuple[_Trial, Subject], Ledger] = {}
        self._clients: dict[tuple[str, str], Client] = {}
        self._sessions: dict[tuple[str, str], Session] = {}
        self.records: list[tuple[str, Record]] = []

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        await asyncio.sleep(0)  # let others run in between, as every real store does
        self._check_version(keys)
        trial = (keys.environment, keys.trial)
        if not keys.large and any(self._is_large(trial, subject) for subject in keys.subjects):
            raise LargeLedger
        answer, changes = step(
            Found(
                self._floors.get(trial, _NO_FLOORS),
                tuple(self._ledgers.get((trial, subject)) for subject in keys.subjects),
                self._clients.get((keys.environment, keys.client_id)) if keys.client_id is not None else None,
                self._sessions.get((keys.environment, keys.code)) if keys.code is not None else None,
            )
        )
        for subject, ledger in changes.ledgers:
            if ledger is None:
                self._ledgers.pop((trial, subject), None)
            else:
                self._ledgers[trial, subject] = ledger
        if changes.floors is not None:
            self._floors[trial] = changes.floors
        if changes.client is not None:
            self._clients[keys.environment, changes.client.id] = changes.client
        if changes.session is not None:
            self._sessions[keys.environment, changes.session.code] = changes.session
        if changes.record is not None:
            self.records.append((keys.environment, changes.record))
        return answer

    async def load(self, environment: str) -> EnvironmentRecord | None:
        return self._environments.get(environment)

    async def amend(
        self,
        environment: str,
        change: Callable[[EnvironmentRecord | None], tuple[A, EnvironmentRecord | None, Record | None]],
    ) -> A:
        answer, changed, record = change(self._environments.get(environment))
        if changed is not None:
            self._environments[environment] = changed
        if record is not None:
            self.records.append((environment, record))
        return answer

    async def erase(
        self, keys: Keys, kind: SubjectKind, origin: Origin, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        self._check_version(keys)
        trial = (keys.environment, keys.trial)
        floor = self._floors.get(trial, _NO_FLOORS).of(kind)
        return self._remove(
            trial, kind, lambda ledger: ledger.generation >= floor and ledger.origin.matches(origin), after, limit
        )

    async def environments(self) -> list[str]:
        return sorted(self._environments)

    async def sweep(self, now: int, limit: int) -> int:
        dead = [key for key, session in self._sessions.items() if now >= session.expires_at][:limit]
        for key in dead:
            del self._sessions[key]
        return len(dead)

    async def trials(self) -> list[tuple[TrialKey, Floors]]:
        named = {trial for trial, _ in self._ledgers} | self._floors.keys()
        return [
            ((environment, *trial), self._floors.get((environment, trial), _NO_FLOORS))
            for environment, trial in named
            if trial is not None
        ]

    async def sweep_ledgers(
        self, trial: TrialKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        environment, *of_pass = trial
        return self._remove(
            (environment, (of_pass[0], of_pass[1])),
            kind,
            lambda ledger: (
                ledger.generation < stale.generation_min
                or (stale.expired_before is not None and ledger.expires_at < stale.expired_before)
            ),
            after,
            limit,
        )

    async def migrate(self, *, distributed: bool = False) -> None: ...

    async def check(self) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...

    def _is_large(self, trial: _Trial, subject: Subject) -> bool:
        ledger = self._ledgers.get((trial, subject))
        used = ledger.used if ledger else ()
        # nothing takes more than six times its characters and quotes as JSON, so few have to be written down
        return bool(used) and 6 * sum(map(len, used)) + 3 * len(used) > LEDGER_READ_BYTES_MAX < len(_encode(used))

    def _check_version(self, keys: Keys) -> None:
        environment = self._environments.get(keys.environment)
        if keys.version != (environment.version if environment else 0):
            raise Outdated

    def _remove(
        self, trial: _Trial, kind: SubjectKind, wanted: Callable[[Ledger], bool], after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        looked_at = sorted(
            subject.digest
            for of_trial, subject in self._ledgers
            if of_trial == trial and subject.kind is kind and subject.digest > after
        )[:limit]
        removed = [digest for digest in looked_at if wanted(self._ledgers[trial, Subject(kind, digest)])]
        for digest in removed:
            del self._ledgers[trial, Subject(kind, digest)]
        return len(removed), looked_at[-1] if len(looked_at) == limit else None
