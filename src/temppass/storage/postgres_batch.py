"""
One batch in memory: what it found, what its steps have made of that, and what has to hold when it is written.

Steps run one after another over what was read plus what earlier steps of the batch changed. Nothing is locked
meanwhile, so every row that a step changed is guarded by the version that was read, and what an answer rests on beyond
those rows is named here, to be held until the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable
from typing import Any, NamedTuple

from msgspec.structs import replace

from temppass.core.model import (
    NOTHING,
    Changes,
    Client,
    Floors,
    Found,
    Kept,
    Ledger,
    Raise,
    Recorded,
    Rewritten,
    Subject,
)
from temppass.core.world import HOUSE
from temppass.storage.titles import Titles
from temppass.store import LEDGER_READ_BYTES_MAX, IntegrationKey, Keys, LargeLedger, Outdated

LedgerKey = tuple[IntegrationKey, Subject]
#: of a step that means no integration
NO_KEY: IntegrationKey = ("", "", "")


class Job(NamedTuple):
    keys: Keys
    #: whose floors and ledgers are meant, NO_KEY where none are
    integration: IntegrationKey
    step: Callable[[Found], tuple[Any, Changes]]
    answered: asyncio.Future[Any]
    #: of one that met what another server is changing: by when it is given up, on the clock of the loop, and whether it
    #: has stood in line for it
    until: float | None = None
    has_queued: bool = False


#: of a step that was run: what it answers, or what it raised
Outcome = tuple[Job, Any, Exception | None]


class Integration(NamedTuple):
    """A row of `integration`, as read or as changed; `version` is None while there is none."""

    floors: Floors
    version: int | None
    raises: tuple[Raise, ...] = ()


class Row(NamedTuple):
    """A row of `ledgers`; `ledger` is None while there is none, or once it is to be removed."""

    ledger: Ledger | None
    version: int | None


class KeptRow(NamedTuple):
    """A row of `kept`."""

    kept: Kept | None
    version: int | None


NO_INTEGRATION = Integration(Floors(), None)
NO_ROW = Row(None, None)
NOT_KEPT = KeptRow(None, None)


class Later(Exception):
    """The next batch has to answer this, from a snapshot of its own."""


class Taken(Exception):
    """Another server has locked what this names; the batch after the next may find it free."""


class Wider(Exception):
    """More than ledgers of one slot would change, or may have to."""


class NotOfOneMoment(Exception):
    """A row moved on between two statements of one reading."""


class Batch:
    """
    What one batch found, and what its steps have made of it so far. `within` are the integrations whose ledgers may
    change, where nothing else may.
    """

    def __init__(self, jobs: Iterable[Job], within: Container[IntegrationKey] | None = None) -> None:
        self.titles = Titles()
        self._within = within
        #: environments, integrations and ledgers that another server has locked
        self.taken: set[str | IntegrationKey | LedgerKey] = set()
        #: ledgers of many titles, which are read for large keys only
        self.large: set[LedgerKey] = set()
        #: those that are read all the same
        self.wanted = {(job.integration, subject) for job in jobs if job.keys.large for subject in job.keys.subjects}
        self.versions: dict[str, int] = {}
        self.integrations: dict[IntegrationKey, Integration] = {}
        self.rows: dict[LedgerKey, Row] = {}
        self.clients: dict[tuple[str, str], Client] = {}
        self.kept: dict[tuple[str, str], KeptRow] = {}
        self.changed_integrations: set[IntegrationKey] = set()
        self.changed_rows: set[LedgerKey] = set()
        self.changed_kept: set[tuple[str, str]] = set()
        #: integrations whose floors must not move before the commit
        self.held: set[IntegrationKey] = set()
        self.new_clients: list[tuple[str, Client]] = []
        self.records: list[tuple[str, Recorded]] = []
        self.new_raises: list[tuple[IntegrationKey, Raise]] = []
        self.undone: list[tuple[IntegrationKey, Raise]] = []
        self.rewritten: dict[str, Rewritten] = {}
        #: what is issued and ended along with that
        self.issued: list[tuple[str, Changes]] = []

    def may_read(self, key: LedgerKey, used: bytes | None) -> bool:
        """
        Tell whether the titles of a ledger are few enough to be read in passing, or somebody asked for them. The
        database answers none at all (b"") for too many, unless it was told that somebody did.
        """
        if used is None or 0 < len(used) <= LEDGER_READ_BYTES_MAX:
            return True
        self.large.add(key)
        return key in self.wanted

    @property
    def is_changed(self) -> bool:
        return bool(self.changed_rows or self.changes_more_than_ledgers)

    @property
    def changes_more_than_ledgers(self) -> bool:
        return bool(
            self.changed_integrations or self.changed_kept or self.new_clients or self.records or self.rewritten
        )

    def run_all(self, jobs: Iterable[Job]) -> tuple[list[Outcome], list[Job], list[Job]]:
        """Run the steps of `jobs`; answer what became of them, those that are for the next batch, those that wait."""
        outcomes: list[Outcome] = []
        later: list[Job] = []
        waiting: list[Job] = []
        for job in jobs:
            try:
                outcomes.append((job, self.run(job), None))
            except Later:
                later.append(job)
            except Taken:
                waiting.append(job)
            except Exception as error:  # noqa: BLE001 - a step that raises fails alone, whatever it raises
                outcomes.append((job, None, error))
        return outcomes, later, waiting

    def run(self, job: Job) -> Any:
        """
        Run one step over the present state and keep its changes. Raises what the step raises; Outdated; LargeLedger;
        Later; Taken; Wider.
        """
        keys = job.keys
        environment = keys.environment
        if self.taken and not self.taken.isdisjoint(
            (environment, job.integration, *((job.integration, subject) for subject in keys.subjects))
        ):
            raise Taken
        if self.versions.get(environment, 0) != keys.version or (
            keys.house is not None and self.versions.get(HOUSE, 0) != keys.house
        ):
            raise Outdated
        integration = job.integration
        if self.large and not keys.large and any((integration, subject) in self.large for subject in keys.subjects):
            raise LargeLedger
        standing = self.integrations.get(integration, NO_INTEGRATION)
        found = Found(
            standing.floors,
            tuple([self.rows.get((integration, subject), NO_ROW).ledger for subject in keys.subjects]),
            self.clients.get((environment, keys.client_id)) if keys.client_id is not None else None,
            tuple([self.kept.get((environment, key), NOT_KEPT).kept for key in keys.kept]) if keys.kept else (),
            standing.raises if keys.raises else (),
        )
        try:
            answer, changes = job.step(found)
        except Exception:
            self._rest(integration, keys.subjects)  # a refusal is an answer too
            raise
        if self._within is not None and (
            (changes.ledgers and integration not in self._within) or replace(changes, ledgers=()) != NOTHING
        ):
            raise Wider
        if changes.ledgers:
            self._keep_ledgers(integration, keys.subjects, changes)
        else:
            self._rest(integration, keys.subjects)
        if changes is not NOTHING:
            self._keep(environment, integration, changes)
        return answer

    def _rest(self, integration: IntegrationKey, subjects: tuple[Subject, ...]) -> None:
        """
        See to it that an answer which writes no ledger is of one moment. Where it rests on what this batch changed and
        also on rows whose versions the batch will not guard, those may be as they were no longer when the batch is
        committed: raises Later.
        """
        if not (self.changed_rows or self.changed_integrations):
            return
        guarded = sum((integration, subject) in self.changed_rows for subject in subjects)
        if guarded < len(subjects) and (guarded or integration in self.changed_integrations):
            raise Later
        if guarded > 1:
            self.held.add(integration)

    def _keep_ledgers(self, integration: IntegrationKey, subjects: tuple[Subject, ...], changes: Changes) -> None:
        floors = self.integrations.get(integration, NO_INTEGRATION).floors
        for subject, ledger in changes.ledgers:
            before = self.rows.get((integration, subject), NO_ROW)
            if before.ledger is not None and before.ledger.generation < floors.of(subject.kind):
                self.held.add(integration)  # it did not count, and would again if the floor fell before the commit
            self.rows[integration, subject] = Row(ledger, before.version)
            self.changed_rows.add((integration, subject))
        if len(subjects) > 1:
            # they rest on one another and on the floors, also those that stay as they are: else somebody could see
            # one that was begun meanwhile beside another as it was before, and no order would explain all three
            self.held.add(integration)
            if len(changes.ledgers) < len(subjects):
                for subject in subjects:
                    self.rows.setdefault((integration, subject), NO_ROW)
                    self.changed_rows.add((integration, subject))

    def _keep(self, environment: str, integration: IntegrationKey, changes: Changes) -> None:
        standing = self.integrations.get(integration, NO_INTEGRATION)
        if changes.floors is not None:
            undone = set(changes.undone)
            raises = (*(each for each in standing.raises if each not in undone), *changes.raises)
            self.integrations[integration] = Integration(changes.floors, standing.version, raises)
            self.changed_integrations.add(integration)
            self.new_raises += [(integration, each) for each in changes.raises]
            for each in changes.undone:
                if (integration, each) in self.new_raises:  # of this batch, so it is not there yet
                    self.new_raises.remove((integration, each))
                else:
                    self.undone.append((integration, each))
        if changes.client is not None:
            self.clients[environment, changes.client.id] = changes.client
            self.new_clients.append((environment, changes.client))
        for kept in changes.kept:
            key = (environment, kept.key)
            self.kept[key] = KeptRow(kept, self.kept.get(key, NOT_KEPT).version)
            self.changed_kept.add(key)
        if changes.environment is not None:
            self.versions[environment] = changes.environment.version
            self.rewritten[environment] = changes.environment
            if changes.listed or changes.unlisted or changes.ended or changes.removed_client is not None:
                self.issued.append((environment, changes))
        self.records += [(environment, record) for record in changes.records]
