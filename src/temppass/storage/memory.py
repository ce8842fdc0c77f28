"""
The reference adapter: dictionaries, one step after another. It forgets everything when the process ends.

It is the model that the other adapters are tested against, and a quick store for tests of other programs.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from temppass.core.act import NO_LINK, Link, Sealed, Wanted
from temppass.core.anchor import NO_ANCHOR, Anchor
from temppass.core.model import (
    GRAIN_MS,
    NEVER,
    UNKNOWN,
    Changes,
    Client,
    Count,
    Ended,
    Floors,
    Found,
    Kept,
    Ledger,
    Listed,
    Raise,
    Recorded,
    Registered,
    Server,
    Subject,
    SubjectKind,
    Use,
)
from temppass.core.reset import Aim, tally
from temppass.core.world import HOUSE, Environment, EnvironmentRecord, read_environment
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
    NotDistributed,
    Outdated,
    Stale,
    Standing,
    Tallied,
    Whole,
)

A = TypeVar("A")

_encode = msgspec.json.Encoder().encode
_NO_FLOORS = Floors()
#: of a step that means no integration
_NONE: IntegrationKey = ("", "", "")


class MemoryStore:
    retries = 0
    whereabouts = None

    def __init__(self) -> None:
        self._environments: dict[str, EnvironmentRecord] = {}
        self._floors: dict[IntegrationKey, Floors] = {}
        self._raises: dict[IntegrationKey, tuple[Raise, ...]] = {}
        self._ledgers: dict[tuple[IntegrationKey, Subject], Ledger] = {}
        self._clients: dict[tuple[str, str], Client] = {}
        self._statements: dict[tuple[str, str], Listed] = {}
        #: of statements, by the same
        self._uses: dict[tuple[str, str], int] = {}
        self._ended: dict[tuple[str, str, str], Ended] = {}
        self._kept: dict[tuple[str, str], Kept] = {}
        self._records: list[tuple[str, Recorded]] = []
        self._counts: dict[tuple[str, int, str, str, str], int] = {}
        self._sealed: dict[str, tuple[Sealed, ...]] = {}
        self._anchors: dict[str, Anchor] = {}
        self._servers: dict[str, Server] = {}

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        await asyncio.sleep(0)  # let others run in between, as every real store does
        environment = self._environments.get(keys.environment)
        house = self._environments.get(HOUSE)
        if keys.version != (environment.version if environment else 0) or (
            keys.house is not None and keys.house != (house.version if house else 0)
        ):
            raise Outdated
        integration = (keys.environment, *keys.integration) if keys.integration is not None else _NONE
        if not keys.large and any(self._is_large(integration, subject) for subject in keys.subjects):
            raise LargeLedger
        answer, changes = step(
            Found(
                self._floors.get(integration, _NO_FLOORS),
                tuple(self._ledgers.get((integration, subject)) for subject in keys.subjects),
                self._clients.get((keys.environment, keys.client_id)) if keys.client_id is not None else None,
                tuple(self._kept.get((keys.environment, key)) for key in keys.kept),
                self._raises.get(integration, ()) if keys.raises else (),
            )
        )
        for subject, ledger in changes.ledgers:
            if ledger is None:
                self._ledgers.pop((integration, subject), None)
            else:
                self._ledgers[integration, subject] = ledger
        if changes.floors is not None:
            self._floors[integration] = changes.floors
        if changes.client is not None:
            self._clients[keys.environment, changes.client.id] = changes.client
        for kept in changes.kept:
            self._kept[keys.environment, kept.key] = kept
        if changes.raises or changes.undone:
            standing = {*self._raises.get(integration, ()), *changes.raises} - {*changes.undone}
            self._raises[integration] = tuple(sorted(standing, key=lambda each: (each.kind, each.generation)))
        if changes.environment is not None:
            self._environments[keys.environment] = read_environment(changes.environment.document)
        self._write_issued(keys.environment, changes)
        self._records += [(keys.environment, record) for record in changes.records]
        return answer

    def _write_issued(self, environment: str, changes: Changes) -> None:
        for listed in changes.listed:
            self._statements[environment, listed.id] = listed
        for id_ in changes.unlisted:
            self._statements.pop((environment, id_), None)
        for ended in changes.ended:
            self._ended[environment, ended.kind, ended.id] = ended
        if changes.removed_client is not None:
            self._clients.pop((environment, changes.removed_client), None)

    async def load(self, environment: str) -> Environment | None:
        record = self._environments.get(environment)
        statements = tuple(listed for (name, _), listed in self._statements.items() if name == environment)
        ended = tuple(ended for (name, _, _), ended in self._ended.items() if name == environment)
        return Environment(record, statements, ended) if record is not None else None

    async def amend(self, environment: str, change: Callable[[EnvironmentRecord | None], Amendment[A]]) -> A:
        answer, changed, record = change(self._environments.get(environment))
        if changed is not None:
            self._environments[environment] = changed
        if record is not None:
            self._records.append((environment, record))
        return answer

    async def amend_all(self, change: Callable[[Whole], AmendmentOfAll[A]]) -> A:
        answer, changed, record = change(Whole(dict(self._environments), tuple(self._servers.values())))
        self._environments |= changed
        if record is not None:
            self._records.append((HOUSE, record))
        return answer

    async def announce(self, server: Server) -> None:
        self._servers[server.id] = server

    async def withdraw(self, id_: str) -> None:
        self._servers.pop(id_, None)

    async def forget_servers(self, before: int) -> None:
        self._servers = {id_: each for id_, each in self._servers.items() if each.seen_at >= before}

    async def environments(self) -> list[str]:
        return sorted(self._environments)

    async def ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, after: bytes, limit: int
    ) -> list[tuple[Subject, Ledger]]:
        digests = sorted(
            subject.digest
            for of_integration, subject in self._ledgers
            if of_integration == integration and subject.kind is kind and subject.digest > after
        )
        subjects = [Subject(kind, digest) for digest in digests[:limit]]
        return [(subject, self._ledgers[integration, subject]) for subject in subjects]

    async def clients(
        self, environment: str, brood: Brood, limit: int, after: Registered | None = None
    ) -> list[Registered]:
        found = [
            Registered(client.id, client.issued_at, client.statement_id, client.used_at)
            for (name, _), client in self._clients.items()
            if (name, client.application_id, client.epoch) == (environment, brood.application_id, brood.epoch)
            and client.statement_id in brood.statement_ids
        ]
        beyond = [each for each in found if after is None or (each.at, each.id) < (after.at, after.id)]
        return sorted(beyond, key=lambda each: (each.at, each.id), reverse=True)[:limit]

    async def count_clients(self, environment: str, broods: Sequence[Brood], limit: int) -> list[int]:
        return [len(await self.clients(environment, brood, limit)) for brood in broods]

    async def count_arrivals(self, environment: str, since: Sequence[Arrivals], limit: int) -> list[int]:
        def count(each: Arrivals) -> int:
            return sum(
                client.issued_at > each.since
                for (name, _), client in self._clients.items()
                if (name, client.application_id, client.epoch) == (environment, each.application_id, each.epoch)
            )

        return [min(limit, count(each)) for each in since]

    async def count_page(
        self, environment: str, brood: Brood, until: int, after: Registered | None, limit: int
    ) -> tuple[int, Registered | None]:
        found = [each for each in await self.clients(environment, brood, len(self._clients)) if each.at <= until]
        beyond = sorted(
            (each.at, each.id) for each in found if after is None or (each.at, each.id) > (after.at, after.id)
        )
        page = beyond[:limit]
        return len(page), Registered(page[-1][1], page[-1][0]) if len(page) == limit else None

    async def use(self, clients: Sequence[Use], statements: Sequence[Use]) -> None:
        for each in clients:
            client = self._clients.get((each.environment, each.id))
            if client is not None and client.used_at < each.at:
                self._clients[each.environment, each.id] = replace(client, used_at=each.at)
        for each in statements:
            if self._uses.get((each.environment, each.id), 0) < each.at:
                self._uses[each.environment, each.id] = each.at

    async def uses(self, environment: str) -> dict[str, int]:
        return {id_: self._uses.get((name, id_), 0) for name, id_ in self._statements if name == environment}

    async def tally(
        self, integration: IntegrationKey, kind: SubjectKind, aim: Aim, after: bytes, limit: int
    ) -> Tallied:
        page = await self.ledgers(integration, kind, after, limit)
        example = next((subject.digest for subject, ledger in page if aim.touches(subject, ledger)), None)
        return Tallied(tally(page, aim), example, page[-1][0].digest if len(page) == limit else None)

    async def records(self, environment: str, after: int, limit: int) -> list[Sealed]:
        first = max(0, after - self._anchors.get(environment, NO_ANCHOR).link.sequence)
        return [*self._sealed.get(environment, ())[first : first + limit]]

    async def search(
        self, environment: str, wanted: Wanted, beyond: int | None, limit: int, *, newest_first: bool
    ) -> list[Sealed]:
        records = {record.document: record for name, record in self._records if name == environment}
        found = [entry for entry in self._sealed.get(environment, ()) if wanted.fits(records[entry.document])]
        if newest_first:
            return [entry for entry in reversed(found) if beyond is None or entry.link.sequence < beyond][:limit]
        return [entry for entry in found if beyond is None or entry.link.sequence > beyond][:limit]

    async def record(self, environment: str, id_: str) -> Sealed | None:
        for name, record in self._records:
            if (name, record.id) == (environment, id_):
                sealed = (entry for entry in self._sealed.get(environment, ()) if entry.document == record.document)
                return next(sealed, Sealed(NO_LINK, record.document))
        return None

    async def unsealed_environments(self) -> list[str]:
        return sorted({name for name, _ in self._records if self._waiting(name)})

    async def unsealed(self, environment: str, limit: int, after: tuple[int, str] | None = None) -> list[bytes]:
        waiting = (record for record in self._waiting(environment) if after is None or (record.at, record.id) > after)
        return [record.document for record in waiting][:limit]

    async def head(self, environment: str) -> Link:
        sealed = self._sealed.get(environment)
        return sealed[-1].link if sealed else self._anchors.get(environment, NO_ANCHOR).link

    async def seal(self, environment: str, step: Callable[[Link, Sequence[bytes]], Sequence[Link]], limit: int) -> int:
        documents = [record.document for record in self._waiting(environment)[:limit]]
        links = step(await self.head(environment), documents)
        sealed = [Sealed(link, document) for link, document in zip(links, documents, strict=True)]
        self._sealed[environment] = (*self._sealed.get(environment, ()), *sealed)
        return len(sealed)

    async def recorded(self, environment: str, after: int, limit: int) -> list[tuple[Link, Recorded]]:
        found = []
        for each in await self.records(environment, after, limit):
            record = next(record for _, record in self._records if record.document == each.document)
            found.append((each.link, replace(record, subjects=tuple(sorted({*record.subjects})))))
        return found

    async def anchor(self, environment: str) -> Anchor:
        return self._anchors.get(environment, NO_ANCHOR)

    async def forget(
        self, environment: str, step: Callable[[Anchor, Sequence[Sealed]], Anchor | None], limit: int
    ) -> int:
        old = await self.anchor(environment)
        new = step(old, await self.records(environment, old.link.sequence, limit))
        if new is None:
            return 0
        sealed, count = self._sealed[environment], new.link.sequence - old.link.sequence
        gone = {each.document for each in sealed[:count]}
        self._records = [each for each in self._records if each[0] != environment or each[1].document not in gone]
        self._sealed[environment], self._anchors[environment] = sealed[count:], new
        return count

    async def count(self, counts: Sequence[Count]) -> None:
        for each in counts:
            key = (each.environment, each.minute, each.channel_id, each.pass_id, each.what)
            self._counts[key] = self._counts.get(key, 0) + each.n

    async def counts(self, environment: str, since: int, until: int, step: int = 1) -> list[Count]:
        found: Counter[tuple[str, int, str, str, str]] = Counter()
        for (name, minute, channel_id, pass_id, what), n in self._counts.items():
            if name == environment and since <= minute < until:
                found[name, minute // step * step, channel_id, pass_id, what] += n
        return [Count(*key, n) for key, n in sorted(found.items())]

    async def forget_counts(self, before: int, limit: int) -> int:
        old = [key for key in self._counts if key[1] < before][:limit]
        for key in old:
            del self._counts[key]
        return len(old)

    async def sweep(self, now: int, raised_before: int, limit: int) -> int:
        dead = [key for key, kept in self._kept.items() if now >= kept.expires_at][:limit]
        for key in dead:
            del self._kept[key]
        forgotten = [key for key, ended in self._ended.items() if ended.until is not None and now >= ended.until]
        for name in forgotten:
            del self._ended[name]
        self._statements = {
            key: each for key, each in self._statements.items() if not each.has_ended(now - STATEMENT_KEPT_MS)
        }
        old = {each for raises in self._raises.values() for each in raises if each.at < raised_before}
        for integration, raises in self._raises.items():
            self._raises[integration] = tuple(each for each in raises if each not in old)
        return max(len(dead), len(old))

    async def sweep_clients(self, environment: str, version: int, fading: Fading, after: str, limit: int) -> Faded:
        found = self._environments.get(environment)
        if version != (found.version if found else 0):
            raise Outdated
        ids = sorted(id_ for name, id_ in self._clients if name == environment and id_ > after)
        broods = {(each.application_id, each.epoch, id_) for each in fading.broods for id_ in each.statement_ids}
        went = {"ended": 0, "unused": 0, "idle": 0}
        for key in [(environment, id_) for id_ in ids[:limit]]:
            client = self._clients[key]
            if (client.application_id, client.epoch, client.statement_id) not in broods:
                why = "ended"
            elif client.used_at == UNKNOWN:
                age = max(0, fading.now - client.issued_at)
                self._clients[key] = replace(client, used_at=client.issued_at + age // GRAIN_MS * GRAIN_MS)
                continue
            elif client.used_at == NEVER and client.issued_at < fading.unused_before:
                why = "unused"
            elif client.used_at > NEVER and client.used_at < fading.idle_before:
                why = "idle"
            else:
                continue
            went[why] += 1
            del self._clients[key]
        return Faded(**went, last=ids[limit - 1] if len(ids) >= limit else None)

    async def integrations(self) -> list[tuple[IntegrationKey, Standing]]:
        named = {integration for integration, _ in self._ledgers} | self._floors.keys()
        return [
            (key, Standing(self._floors.get(key, _NO_FLOORS), tuple(self._raises.get(key, ()))))
            for key in sorted(named)
        ]

    async def sweep_ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        looked_at = await self.ledgers(integration, kind, after, limit)
        removed = [
            subject
            for subject, ledger in looked_at
            if ledger.generation < stale.generation_min
            or (stale.expired_before is not None and ledger.expires_at < stale.expired_before)
        ]
        for subject in removed:
            del self._ledgers[integration, subject]
        return len(removed), looked_at[-1][0].digest if len(looked_at) == limit else None

    async def migrate(self) -> bool:
        return True

    async def distribute(self, slots: int | None) -> list[str]:  # noqa: ARG002 - the port's shape
        raise NotDistributed("what is kept in memory is kept in one process: only PostgreSQL with Citus can be spread")

    async def check(self) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...

    def _is_large(self, integration: IntegrationKey, subject: Subject) -> bool:
        ledger = self._ledgers.get((integration, subject))
        used = ledger.used if ledger else ()
        # nothing takes more than six times its characters and quotes as JSON, so few have to be written down
        return bool(used) and 6 * sum(map(len, used)) + 3 * len(used) > LEDGER_READ_BYTES_MAX < len(_encode(used))

    def _waiting(self, environment: str) -> list[Recorded]:
        """Answer the records without a place in the chain, in the order in which they get one."""
        sealed = {entry.document for entry in self._sealed.get(environment, ())}
        waiting = [record for name, record in self._records if name == environment and record.document not in sealed]
        return sorted(waiting, key=lambda record: (record.at, record.id))
