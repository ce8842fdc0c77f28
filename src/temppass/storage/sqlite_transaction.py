"""
What one transaction of SQLite answers and writes: the port, in rows. It knows nothing of threads and of waiting.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import astuple

from temppass.core.act import NO_LINK, Link, Sealed, Wanted
from temppass.core.anchor import NO_ANCHOR, Anchor
from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Client,
    Count,
    Ended,
    EndedKind,
    Floors,
    Found,
    Kept,
    Ledger,
    Listed,
    Origin,
    Raise,
    Recorded,
    Registered,
    Rewritten,
    Server,
    Subject,
    SubjectKind,
    Use,
)
from temppass.core.reset import Aim, Tally
from temppass.core.world import HOUSE, Environment, EnvironmentRecord, read_environment, rewritten
from temppass.storage import sqlite_sql as sql
from temppass.storage.search import AFTER_ALL, BEFORE_ALL, anchor_of, recorded_of, search
from temppass.storage.titles import Titles
from temppass.store import (
    LEDGER_READ_BYTES_MAX,
    STATEMENT_KEPT_MS,
    Amendment,
    AmendmentOfAll,
    Arrivals,
    Brood,
    Faded,
    Fading,
    IntegrationKey,
    Keys,
    LargeLedger,
    Outdated,
    Stale,
    Standing,
    Tallied,
    Whole,
)

A = TypeVar("A")


class Transaction:
    """The work of one batch; versions and floors are read once a batch and kept up to date by its own steps."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._titles = Titles()
        self._versions: dict[str, int] = {}
        self._integrations: dict[IntegrationKey, tuple[int | None, Floors]] = {}

    def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        if self._version(keys.environment) != keys.version or (
            keys.house is not None and self._version(HOUSE) != keys.house
        ):
            raise Outdated
        integration, floors = self._integration(keys)
        answer, changes = step(
            Found(
                floors,
                tuple([self._ledger(integration, subject, keys.large) for subject in keys.subjects]),
                self._client(keys.environment, keys.client_id) if keys.client_id is not None else None,
                tuple([self._kept(keys.environment, key) for key in keys.kept]) if keys.kept else (),
                self._raises(integration) if keys.raises else (),
            )
        )
        if changes is NOTHING:
            return answer
        try:
            self._write(keys, integration, changes)
        except (OverflowError, ValueError) as error:  # beyond what a column holds: part of it may be written already
            raise sqlite3.DataError(str(error)) from None
        return answer

    def _write(self, keys: Keys, integration: int | None, changes: Changes) -> None:
        if changes.floors is not None or (changes.ledgers and integration is None):
            integration = self._write_floors(keys, changes.floors or Floors())
        for subject, ledger in changes.ledgers:
            if ledger is None:
                self._execute(sql.REMOVE_LEDGER, (integration, subject.kind, subject.digest))
            else:
                self._execute(sql.WRITE_LEDGER, (integration, subject.kind, subject.digest, *self._ledger_row(ledger)))
        if (client := changes.client) is not None:
            self._execute(sql.ADD_CLIENT, (keys.environment, *astuple(client)))
        for kept in changes.kept:
            self._execute(sql.WRITE_KEPT, (keys.environment, kept.key, kept.kind, kept.expires_at, kept.document))
        for raised in changes.raises:
            key = (integration, raised.kind, raised.generation)
            self._execute(sql.ADD_RAISE, (*key, raised.floor_before, raised.at, raised.act_id))
        for raised in changes.undone:
            self._execute(sql.REMOVE_RAISE, (integration, raised.kind, raised.generation))
        if changes.environment is not None:
            self._rewrite(keys.environment, changes.environment)
            self._write_issued(keys.environment, changes)
        for record in changes.records:
            self._add_record(keys.environment, record)

    def _write_issued(self, environment: str, changes: Changes) -> None:
        for listed in changes.listed:
            self._execute(sql.ADD_STATEMENT, (environment, *astuple(listed)))
        for id_ in changes.unlisted:
            self._execute(sql.REMOVE_STATEMENT, (environment, id_))
        for ended in changes.ended:
            self._execute(sql.ADD_ENDED, (environment, *astuple(ended)))
        if changes.removed_client is not None:
            self._execute(sql.REMOVE_CLIENT, (environment, changes.removed_client))

    def load(self, environment: str) -> Environment | None:
        record = self._record(environment)
        if record is None:
            return None
        statements = tuple(Listed(*row) for row in self._execute(sql.STATEMENTS, (environment,)))
        ended = tuple(Ended(EndedKind(kind), *row) for kind, *row in self._execute(sql.ENDED, (environment,)))
        return Environment(record, statements, ended)

    def _record(self, environment: str) -> EnvironmentRecord | None:
        row = self._execute("SELECT document FROM environment WHERE name = ?", (environment,)).fetchone()
        return read_environment(row[0]) if row else None

    def amend(self, environment: str, change: Callable[[EnvironmentRecord | None], Amendment[A]]) -> A:
        answer, changed, record = change(self._record(environment))
        if changed is not None:
            self._rewrite(environment, rewritten(changed))
        if record is not None:
            self._add_record(environment, record)
        return answer

    def amend_all(self, change: Callable[[Whole], AmendmentOfAll[A]]) -> A:
        environments = {name: read_environment(row) for name, row in self._execute(sql.WHOLE)}
        servers = tuple(Server(*row) for row in self._execute("SELECT id, seen_at, document FROM server ORDER BY id"))
        answer, changed, record = change(Whole(environments, servers))
        for name, each in changed.items():
            self._rewrite(name, rewritten(each))
        if record is not None:
            self._add_record(HOUSE, record)
        return answer

    def announce(self, server: Server) -> None:
        self._execute(sql.WRITE_SERVER, astuple(server))

    def withdraw(self, id_: str) -> None:
        self._execute("DELETE FROM server WHERE id = ?", (id_,))

    def forget_servers(self, before: int) -> None:
        self._execute("DELETE FROM server WHERE seen_at < ?", (before,))

    def environments(self) -> list[str]:
        return [name for (name,) in self._execute("SELECT name FROM environment ORDER BY name")]

    def ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, after: bytes, limit: int
    ) -> list[tuple[Subject, Ledger]]:
        id_, _ = self._row(integration)
        rows = self._execute(sql.LEDGERS_AFTER, (id_, kind, after, limit))
        return [(Subject(kind, row[0]), self._ledger_of(row[1:])) for row in rows]

    def clients(self, environment: str, brood: Brood, limit: int, after: Registered | None) -> list[Registered]:
        last, statements = after or AFTER_ALL, json.dumps(brood.statement_ids)
        asked = (environment, brood.application_id, brood.epoch, last.at, last.id, statements, limit)
        return [Registered(*row) for row in self._execute(sql.CLIENTS, asked)]

    def count_clients(self, environment: str, broods: Sequence[Brood], limit: int) -> list[int]:
        def count(brood: Brood) -> int:
            found = 0
            for statement_id in brood.statement_ids:
                asked = (environment, brood.application_id, brood.epoch, statement_id, limit - found)
                found += self._execute(sql.COUNT_CLIENTS, asked).fetchone()[0]
            return found

        return [count(brood) for brood in broods]

    def count_arrivals(self, environment: str, since: Sequence[Arrivals], limit: int) -> list[int]:
        return [self._execute(sql.COUNT_ARRIVALS, (environment, *each, limit)).fetchone()[0] for each in since]

    def count_page(
        self, environment: str, brood: Brood, until: int, after: Registered | None, limit: int
    ) -> tuple[int, Registered | None]:
        (statement_id,) = brood.statement_ids
        last = (after.at, after.id) if after is not None else BEFORE_ALL
        asked = (environment, brood.application_id, brood.epoch, statement_id, *last, until, limit)
        for id_, at, count in self._execute(sql.COUNT_PAGE, asked):
            return count, Registered(id_, at) if count == limit else None
        return 0, None

    def use(self, clients: Sequence[Use], statements: Sequence[Use]) -> None:
        for each in clients:
            self._execute(sql.USE_CLIENT, astuple(each))
        for each in statements:
            self._execute(sql.USE_STATEMENT, astuple(each))

    def uses(self, environment: str) -> dict[str, int]:
        return dict(self._execute(sql.USES, (environment,)))

    def tally(self, integration: IntegrationKey, kind: SubjectKind, aim: Aim, after: bytes, limit: int) -> Tallied:
        id_, _ = self._row(integration)
        narrowing = aim.narrowing
        values = {
            "integration": id_,
            "kind": kind,
            "after": after,
            "limit": limit,
            "now": aim.now,
            "floor": aim.floors.of(kind),
            "over": narrowing.over,
            "started_before": narrowing.started_before,
            "app_id": narrowing.origin.app_id,
            "device_user": narrowing.origin.device_user,
        }
        looked_at, last, running, over, example = self._execute(sql.TALLY, values).fetchone()
        return Tallied(Tally(running or 0, over or 0), example, last if looked_at == limit else None)

    def records(self, environment: str, after: int, limit: int) -> list[Sealed]:
        rows = self._execute(sql.SEALED, (environment, after, limit))
        return [Sealed(Link(sequence, digest), document) for sequence, digest, document in rows]

    def search(
        self, environment: str, wanted: Wanted, beyond: int | None, limit: int, *, newest_first: bool
    ) -> list[Sealed]:
        found = search(environment, wanted, beyond, limit, newest_first=newest_first, mark="?{}".format)
        return [Sealed(Link(sequence, digest), document) for sequence, digest, document in self._execute(*found)]

    def record(self, environment: str, id_: str) -> Sealed | None:
        row = self._execute(sql.RECORD, (id_, environment)).fetchone()
        return Sealed(Link(row[0], row[1]) if row[0] is not None else NO_LINK, row[2]) if row else None

    def unsealed_environments(self) -> list[str]:
        return [name for (name,) in self._execute(sql.UNSEALED_ENVIRONMENTS)]

    def unsealed(self, environment: str, limit: int, after: tuple[int, str] | None = None) -> list[tuple[str, bytes]]:
        return self._execute(sql.UNSEALED, (environment, *(after or BEFORE_ALL), limit)).fetchall()

    def head(self, environment: str) -> Link:
        row = self._execute("SELECT sequence, hash FROM chain WHERE environment = ?", (environment,)).fetchone()
        return Link(*row) if row else NO_LINK

    def seal(self, environment: str, step: Callable[[Link, Sequence[bytes]], Sequence[Link]], limit: int) -> int:
        unsealed = self.unsealed(environment, limit)
        if not unsealed:
            return 0
        links = step(self.head(environment), [document for _, document in unsealed])
        for link, (id_, _) in zip(links, unsealed, strict=True):
            self._execute("UPDATE audit SET sequence = ?, hash = ? WHERE id = ?", (link.sequence, link.hash, id_))
        self._execute(sql.WRITE_HEAD, (environment, links[-1].sequence, links[-1].hash))
        return len(links)

    def recorded(self, environment: str, after: int, limit: int) -> list[tuple[Link, Recorded]]:
        rows = self._execute(sql.RECORDED, (environment, after, limit)).fetchall()
        subjects: dict[str, list[bytes]] = {}
        for act_id, subject in self._execute(sql.TARGETS, (environment, after, rows[-1][0] if rows else after)):
            subjects.setdefault(act_id, []).append(subject)
        return [recorded_of(row, subjects.get(row[2], [])) for row in rows]

    def anchor(self, environment: str) -> Anchor:
        row = self._execute(sql.ANCHOR, (environment,)).fetchone()
        return anchor_of(*row) if row else NO_ANCHOR

    def forget(self, environment: str, step: Callable[[Anchor, Sequence[Sealed]], Anchor | None], limit: int) -> int:
        old = self.anchor(environment)
        new = step(old, self.records(environment, old.link.sequence, limit))
        if new is None:
            return 0
        row = (new.link.sequence, new.link.hash, new.at, new.proof, environment)
        if not self._execute(sql.MOVE_ANCHOR, row).rowcount:  # somebody has removed the head
            return 0
        self._execute(sql.FORGET_TARGETS, (environment, new.link.sequence))
        return self._execute(sql.FORGET_RECORDS, (environment, new.link.sequence)).rowcount

    def count(self, counts: Sequence[Count]) -> None:
        for each in counts:
            self._execute(sql.ADD_COUNT, astuple(each))

    def counts(self, environment: str, since: int, until: int, step: int) -> list[Count]:
        return [Count(environment, *row) for row in self._execute(sql.COUNTS, (environment, since, until, step))]

    def forget_counts(self, before: int, limit: int) -> int:
        return self._execute(sql.FORGET_COUNTS, (before, limit)).rowcount

    def sweep(self, now: int, raised_before: int, limit: int) -> int:
        self._execute(sql.SWEEP_ENDED, (now,))
        self._execute(sql.SWEEP_STATEMENTS, (now - STATEMENT_KEPT_MS,))
        kept = self._execute(sql.SWEEP_KEPT, (now, limit)).rowcount
        return max(kept, self._execute(sql.SWEEP_RAISES, (raised_before, limit)).rowcount)

    def sweep_clients(self, environment: str, version: int, fading: Fading, after: str, limit: int) -> Faded:
        if self._version(environment) != version:
            raise Outdated
        last, looked_at = self._execute(sql.LAST_CLIENT_OF_CHUNK, (environment, after, limit)).fetchone()
        alive = [(each.application_id, each.epoch, id_) for each in fading.broods for id_ in each.statement_ids]
        chunk = {
            "environment": environment,
            "after": after,
            "last": last,
            "broods": json.dumps(alive),
            "unused_before": fading.unused_before,
            "idle_before": fading.idle_before,
            "now": fading.now,
        }
        ended = self._execute(sql.SWEEP_CLIENTS_OF_NOTHING, chunk).rowcount
        unused = self._execute(sql.SWEEP_UNUSED_CLIENTS, chunk).rowcount
        idle = self._execute(sql.SWEEP_IDLE_CLIENTS, chunk).rowcount
        self._execute(sql.USE_UNKNOWN_CLIENTS, chunk)
        return Faded(ended, unused, idle, last if looked_at == limit else None)

    def integrations(self) -> list[tuple[IntegrationKey, Standing]]:
        rows = self._execute(sql.INTEGRATIONS).fetchall()
        return [((row[1], row[2], row[3]), Standing(Floors(*row[4:]), self._raises(row[0]))) for row in rows]

    def sweep_ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        id_, _ = self._row(integration)
        chunk = (id_, kind, after)
        last, looked_at = self._execute(sql.LAST_OF_CHUNK, (*chunk, limit)).fetchone()
        # in one statement: row by row it takes eight times as long, and asks wait for this thread meanwhile
        removed = self._execute(sql.SWEEP_LEDGERS, (*chunk, last, stale.generation_min, stale.expired_before)).rowcount
        return removed, last if looked_at == limit else None

    def _version(self, environment: str) -> int:
        version = self._versions.get(environment)
        if version is None:
            row = self._execute("SELECT version FROM environment WHERE name = ?", (environment,)).fetchone()
            version = self._versions[environment] = row[0] if row else 0
        return version

    def _integration(self, keys: Keys) -> tuple[int | None, Floors]:
        if keys.integration is None:
            return None, Floors()
        return self._row((keys.environment, *keys.integration))

    def _row(self, key: IntegrationKey) -> tuple[int | None, Floors]:
        known = self._integrations.get(key)
        if known is None:
            row = self._execute(sql.INTEGRATION, key).fetchone()
            known = self._integrations[key] = (row[0], Floors(*row[1:])) if row else (None, Floors())
        return known

    def _write_floors(self, keys: Keys, floors: Floors) -> int:
        assert keys.integration is not None
        key = (keys.environment, *keys.integration)
        row = (floors.device, floors.user_key, floors.fired_at, floors.device_ahead, floors.user_key_ahead)
        (id_,) = self._execute(sql.WRITE_INTEGRATION, (*key, *row)).fetchone()
        self._integrations[key] = (id_, floors)
        return int(id_)

    def _ledger(self, integration: int | None, subject: Subject, large: bool) -> Ledger | None:  # noqa: FBT001 - of Keys
        if integration is None:
            return None
        row = self._execute(sql.LEDGER, (integration, subject.kind, subject.digest)).fetchone()
        if row is None:
            return None
        if (used := row[3]) and len(used) > LEDGER_READ_BYTES_MAX and not large:
            raise LargeLedger
        return self._ledger_of(row)

    def _ledger_of(self, row: tuple[Any, ...]) -> Ledger:
        started_at, expires_at, generation, used, app_id, device_user, bonus = row
        origin = Origin(app_id, device_user) if app_id or device_user else ANYWHERE
        return Ledger(started_at, expires_at, generation, self._titles.read(used), origin, bonus)

    def _ledger_row(self, ledger: Ledger) -> tuple[Any, ...]:
        return (
            ledger.generation,
            ledger.started_at,
            ledger.expires_at,
            self._titles.write(ledger.used),
            ledger.origin.app_id,
            ledger.origin.device_user,
            ledger.bonus,
        )

    def _rewrite(self, environment: str, changed: Rewritten) -> None:
        self._execute(sql.WRITE_ENVIRONMENT, (environment, changed.version, changed.document))
        self._versions[environment] = changed.version

    def _client(self, environment: str, client_id: str) -> Client | None:
        row = self._execute(sql.CLIENT, (environment, client_id)).fetchone()
        return Client(*row) if row else None

    def _kept(self, environment: str, key: str) -> Kept | None:
        row = self._execute(sql.KEPT, (environment, key)).fetchone()
        return Kept(*row) if row else None

    def _raises(self, integration: int | None) -> tuple[Raise, ...]:
        rows = self._execute(sql.RAISES, (integration,))
        return tuple([Raise(SubjectKind(row[0]), *row[1:]) for row in rows])

    def _add_record(self, environment: str, record: Recorded) -> None:
        words = (record.kind, record.actor, record.channel_id, record.pass_id)
        self._execute(sql.ADD_RECORD, (record.id, record.at, environment, record.document, *words))
        for digest in record.subjects:
            self._execute(sql.ADD_TARGET, (environment, digest, record.id))
