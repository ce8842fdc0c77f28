"""
The port to what is remembered, cut by atomicity. What may import what: a store knows the core's nouns and nothing of
the wire; the service knows this protocol and no adapter.

`transact` is the heart. It is linearizable per ledger: it finds what `keys` name, runs the pure `step` on it, writes
what the step concludes together with its audit record, and answers only when that is durable. Steps that wait are
coalesced: one commit carries all of them, each seeing the changes of those before it. A step that raises fails
alone and changes nothing. Because steps are pure, an adapter may run one more than once.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from temppass.core.model import Changes, Floors, Found, Origin, Record, Subject, SubjectKind
from temppass.core.world import EnvironmentRecord

A = TypeVar("A")

#: steps that may wait for the store; the next one is refused at once
WAITING_MAX = 10_000
#: steps in one commit
BATCH_MAX = 256
#: titles of a ledger, as JSON, that are read in passing
LEDGER_READ_BYTES_MAX = 32_768


class StoreUnavailable(Exception):
    """The store is away or did not answer in time. What was asked may or may not have been done."""


class StoreBusy(StoreUnavailable):
    """Too many steps wait already; this one was not taken."""


class Outdated(Exception):
    """The environment has changed since the step was built: load it again and build the step anew."""


class LargeLedger(Exception):
    """A ledger holds more titles than are read in passing; ask again with `large`, one such ask at a time."""


class SchemaOutdated(Exception):
    """The database's schema is not the one of this program; the message says what to do."""


class StoreMissing(Exception):
    """There is nothing to read where the store should be; the message says what to do."""


class StoreHeld(Exception):
    """The store has its one server already; the message names it."""


class Keys(Struct, frozen=True):
    """What one step needs to find, and the version of the environment that it was built on (0: it did not exist)."""

    environment: str
    version: int
    #: (channel, pass) whose floors and ledgers are meant
    trial: tuple[str, str] | None = None
    subjects: tuple[Subject, ...] = ()
    client_id: str | None = None
    code: str | None = None
    #: ledgers are read however many titles they hold: the one who asks has seen to it that only few do so at once
    large: bool = False


#: (environment, channel, pass)
TrialKey = tuple[str, str, str]


class Stale(Struct, frozen=True):
    """Which ledgers may go: those of an older generation, and those that expired before a moment, if one is given."""

    generation_min: int
    expired_before: int | None


class Store(Protocol):
    #: batches that ran again because another process changed the same rows first
    retries: int

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        """
        Run `step` on what `keys` find and make its changes durable, at once and alone.

        Raises what the step raises; Outdated, without running the step, where the environment has another version;
        LargeLedger, without running it, where a ledger holds more than LEDGER_READ_BYTES_MAX and `keys` do not say
        `large`; StoreBusy, StoreUnavailable.
        """
        ...

    async def load(self, environment: str) -> EnvironmentRecord | None:
        """Answer the environment as it is now, None where it does not exist. Raises StoreUnavailable."""
        ...

    async def amend(
        self,
        environment: str,
        change: Callable[[EnvironmentRecord | None], tuple[A, EnvironmentRecord | None, Record | None]],
    ) -> A:
        """
        Change an environment atomically: `change` sees it as it is and answers (answer, the new one, audit record).

        A new one of None changes nothing. The new version must be higher than the old. Raises what `change` raises.
        """
        ...

    async def erase(
        self, keys: Keys, kind: SubjectKind, origin: Origin, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        """
        Of the next `limit` ledgers of one (channel, pass) and kind, remove those that count and have `origin`.

        `after` is the last digest looked at, b"" at first. Answers how many were removed and the new last digest,
        None at the end. For the narrowed reset of everybody, which no floor can express.
        """
        ...

    async def environments(self) -> list[str]:
        """Answer the names of the environments that exist."""
        ...

    async def sweep(self, now: int, limit: int) -> int:
        """Remove up to `limit` sessions whose time is over; answer how many."""
        ...

    async def trials(self) -> list[tuple[TrialKey, Floors]]:
        """Answer the floors of every (environment, channel, pass) that has any ledger or floor."""
        ...

    async def sweep_ledgers(
        self, trial: TrialKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        """
        Of the next `limit` ledgers of a trial and kind, remove the stale ones; answer as `erase` does.

        Nobody can tell the difference: such a ledger does not count, or counts for nothing any more.
        """
        ...

    async def migrate(self, *, distributed: bool = False) -> None:
        """
        Bring the schema up to date; harmless when it is, and while servers run.

        `distributed` spreads the ledgers over the nodes of a cluster, where the database can. Raises StoreUnavailable.
        """
        ...

    async def check(self) -> None:
        """Raises SchemaOutdated unless the schema is exactly this program's; StoreUnavailable."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers."""
        ...

    async def close(self) -> None:
        """Finish what waits, then let go."""
        ...
