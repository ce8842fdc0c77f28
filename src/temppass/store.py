"""
The port to what is remembered, cut by atomicity. What may import what: a store knows the core's nouns and nothing of
the wire; the service knows this protocol and no adapter.

`transact` is the heart. It is linearizable per ledger: it finds what `keys` name, runs the pure `step` on it, writes
what the step concludes together with its audit record, and answers only when that is durable. Steps that wait are
coalesced: one commit carries all of them, each seeing the changes of those before it. A step that raises fails
alone and changes nothing. Because steps are pure, an adapter may run one more than once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Struct

from temppass.core.act import Link, Sealed, Wanted
from temppass.core.anchor import Anchor
from temppass.core.model import (
    Changes,
    Count,
    Floors,
    Found,
    Ledger,
    Raise,
    Recorded,
    Registered,
    Server,
    Subject,
    SubjectKind,
    Use,
)
from temppass.core.reset import Aim, Tally
from temppass.core.world import Environment, EnvironmentRecord

A = TypeVar("A")

#: steps that may wait for the store; the next one is refused at once
WAITING_MAX = 10_000
#: steps in one commit
BATCH_MAX = 256
#: how long a statement that has ended is still listed, in milliseconds
STATEMENT_KEPT_MS = 30 * 86_400_000
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


class NotDistributed(Exception):
    """The ledgers cannot be spread over nodes as it is; the message says why, and what to do."""


class Holder(NamedTuple):
    """Who serves an embedded store: its process, None where that is not known."""

    process: int | None


class Keys(Struct, frozen=True):
    """
    What one step needs to find, and the version of the environment that it was built on (0: it did not exist).

    A step writes only what its keys name: an adapter may guard what was found, and cannot what was not.
    """

    environment: str
    version: int
    #: (channel, pass) whose floors and ledgers are meant
    integration: tuple[str, str] | None = None
    subjects: tuple[Subject, ...] = ()
    client_id: str | None = None
    #: keys of kept documents
    kept: tuple[str, ...] = ()
    #: whether the resets of everybody that stand are to be found too
    raises: bool = False
    #: the version of the house that the step was built on; None where it does not depend on who operates the service
    house: int | None = None
    #: ledgers are read however many titles they hold: the one who asks has seen to it that only few do so at once
    large: bool = False


#: (environment, channel, pass)
IntegrationKey = tuple[str, str, str]


class Brood(Struct, frozen=True):
    """The clients that registered with some statements of an application, in one of its epochs."""

    application_id: str
    epoch: int
    statement_ids: tuple[str, ...]


class Arrivals(NamedTuple):
    """The clients of an application, in one of its epochs, that registered after a moment."""

    application_id: str
    epoch: int
    since: int


class Fading(Struct, frozen=True):
    """
    Which clients of an environment go: those of no brood, those that never asked for a token and registered before a
    moment, and those that asked last before another. One of which nobody knows when it did has done so `now`.
    """

    broods: tuple[Brood, ...]
    unused_before: int
    idle_before: int
    now: int


class Faded(NamedTuple):
    """
    How many clients went and why, of one page; the last that was looked at, None at the end.
    """

    ended: int
    unused: int
    idle: int
    last: str | None


class Stale(Struct, frozen=True):
    """Which ledgers may go: those of an older generation, and those that expired before a moment, if one is given."""

    generation_min: int
    expired_before: int | None


class Standing(Struct, frozen=True):
    """An integration's floors, and the resets of everybody that stand, by kind of subject, the oldest first."""

    floors: Floors
    raises: tuple[Raise, ...] = ()


class Tallied(Struct, frozen=True):
    """
    One page of ledgers, counted: what a reset would touch, the digest of the first such, and the last that was looked
    at, None at the end.
    """

    touched: Tally
    example: bytes | None
    last: bytes | None


class Whereabouts(Struct, frozen=True):
    """Where a store is that moves from one host to another, as this process knows."""

    #: the primary, None while none was found; its timeline, None where it cannot say; for how long it has been that one
    primary: str | None
    timeline: int | None
    seconds: int | None
    #: how often another one has become the primary
    moves: int
    #: whether a synchronous standby is there: "attached", "missing", "not waited for", "unknown"
    standby: str
    #: what each host was when it was last asked, in words
    hosts: Mapping[str, str]
    #: parts of it that gave no answer when they were last asked, in words; what needs none of them is served
    away: tuple[str, ...] = ()


#: what a change of an environment answers: for the caller, the new environment, its record; None changes nothing
Amendment = tuple[A, EnvironmentRecord | None, Recorded | None]


class Whole(Struct, frozen=True):
    """The store at one moment: its environments by name, the house among them, and who serves it."""

    environments: Mapping[str, EnvironmentRecord]
    servers: tuple[Server, ...] = ()
    #: connected programs of a version before, which do not say that they are up, as the database names them
    older: tuple[str, ...] = ()


#: what a change of the whole answers: for the caller, the environments that are new, a record of the house
AmendmentOfAll = tuple[A, Mapping[str, EnvironmentRecord], Recorded | None]


class Store(Protocol):
    @property
    def retries(self) -> int:
        """Batches that ran again because another process changed the same rows first."""
        ...

    @property
    def whereabouts(self) -> Whereabouts | None:
        """Where the store is now; None for one that does not move."""
        ...

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        """
        Run `step` on what `keys` find and make its changes durable, at once and alone.

        Raises what the step raises; Outdated, without running the step, where the environment or the house has another
        version;
        LargeLedger, without running it, where a ledger holds more than LEDGER_READ_BYTES_MAX and `keys` do not say
        `large`; StoreBusy, StoreUnavailable.
        """
        ...

    async def load(self, environment: str) -> Environment | None:
        """Answer the environment as it is now, None where it does not exist. Raises StoreUnavailable."""
        ...

    async def amend(self, environment: str, change: Callable[[EnvironmentRecord | None], Amendment[A]]) -> A:
        """
        Change an environment atomically: `change` sees it as it is and answers (answer, the new one, its record).

        A new one of None changes nothing. The new version must be higher than the old. Raises what `change` raises.
        """
        ...

    async def amend_all(self, change: Callable[[Whole], AmendmentOfAll[A]]) -> A:
        """
        Change any number of environments atomically, and while no server can say that it is up. As `amend`: `change`
        may be asked more than once, and what it raises is raised.
        """
        ...

    async def announce(self, server: Server) -> None:
        """Keep that a server is up, in the place of what it said before."""
        ...

    async def withdraw(self, id_: str) -> None:
        """Forget a server; harmless where it is not known."""
        ...

    async def forget_servers(self, before: int) -> None:
        """Forget the servers that have not said since `before` that they are up."""
        ...

    async def environments(self) -> list[str]:
        """Answer the names of the environments that exist."""
        ...

    async def ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, after: bytes, limit: int
    ) -> list[tuple[Subject, Ledger]]:
        """
        Answer the next `limit` ledgers of an integration and kind in the order of their digests, `after` one (b"" at
        first), whether they count or not. The last page has fewer.
        """
        ...

    async def clients(
        self, environment: str, brood: Brood, limit: int, after: Registered | None = None
    ) -> list[Registered]:
        """
        Answer the next `limit` clients of a brood, the last to register first, those of one moment by their ids; after
        one of them (None at first).
        """
        ...

    async def count_clients(self, environment: str, broods: Sequence[Brood], limit: int) -> list[int]:
        """Answer how many clients each brood has, `limit` at most; no decision waits."""
        ...

    async def count_arrivals(self, environment: str, since: Sequence[Arrivals], limit: int) -> list[int]:
        """Answer how many clients of each have registered, `limit` at most; no decision waits."""
        ...

    async def count_page(
        self, environment: str, brood: Brood, until: int, after: Registered | None, limit: int
    ) -> tuple[int, Registered | None]:
        """
        Count the next `limit` clients of one statement that registered until a moment, the first to register first,
        after one of them (None at first); no decision waits. Answers how many, and the last of them, None at the end.
        """
        ...

    async def use(self, clients: Sequence[Use], statements: Sequence[Use]) -> None:
        """Keep when clients and statements were used last. A later use stays, and who has gone stays away."""
        ...

    async def uses(self, environment: str) -> dict[str, int]:
        """Answer the day (in milliseconds) on which each listed statement was used last, by id; 0 for never."""
        ...

    async def tally(
        self, integration: IntegrationKey, kind: SubjectKind, aim: Aim, after: bytes, limit: int
    ) -> Tallied:
        """Count which of the next `limit` ledgers a reset would touch, after one (b"" at first); no decision waits."""
        ...

    async def records(self, environment: str, after: int, limit: int) -> list[Sealed]:
        """Answer the next `limit` sealed records in the order of their sequence, after sequence `after`."""
        ...

    async def search(
        self, environment: str, wanted: Wanted, beyond: int | None, limit: int, *, newest_first: bool
    ) -> list[Sealed]:
        """
        Answer the next `limit` sealed records that are wanted, in the order of their sequence or against it, beyond a
        sequence (None at first).
        """
        ...

    async def record(self, environment: str, id_: str) -> Sealed | None:
        """Answer one record, with NO_LINK while it has no place in the chain; None where there is none."""
        ...

    async def unsealed_environments(self) -> list[str]:
        """Answer the names of the environments with a record that has no place in its chain yet."""
        ...

    async def unsealed(self, environment: str, limit: int, after: tuple[int, str] | None = None) -> list[bytes]:
        """
        Answer the documents of up to `limit` records that have no place in the chain yet, the oldest first, after one
        of a moment and id (None at first).
        """
        ...

    async def head(self, environment: str) -> Link:
        """Answer the last link of an environment's chain, NO_LINK while nothing is sealed."""
        ...

    async def seal(self, environment: str, step: Callable[[Link, Sequence[bytes]], Sequence[Link]], limit: int) -> int:
        """
        Give up to `limit` committed records their place in the chain, the oldest first: `step` answers the link of
        each of their documents, given the chain's head. Answers how many; 0 also where another node was first.
        """
        ...

    async def recorded(self, environment: str, after: int, limit: int) -> list[tuple[Link, Recorded]]:
        """
        Answer the next `limit` sealed records after sequence `after` with all that they are looked for by, as it is
        kept; "" for a kind or an actor that is not, and digests in their order.
        """
        ...

    async def anchor(self, environment: str) -> Anchor:
        """Answer where an environment's chain begins, NO_ANCHOR while nothing of it is forgotten."""
        ...

    async def forget(
        self, environment: str, step: Callable[[Anchor, Sequence[Sealed]], Anchor | None], limit: int
    ) -> int:
        """
        Forget the oldest records, with whom they named, up to a new anchor: `step` answers it, or None, given the old
        one and the `limit` records that follow it. Answers how many; 0 also where another node was first.
        """
        ...

    async def count(self, counts: Sequence[Count]) -> None:
        """Add to what was counted. What was asked twice, because an answer was lost, counts twice."""
        ...

    async def counts(self, environment: str, since: int, until: int, step: int = 1) -> list[Count]:
        """
        Answer what was counted in the minutes from `since` to before `until`, in their order, added up for each `step`
        of them; a step is named by the first of its minutes, a multiple of it.
        """
        ...

    async def forget_counts(self, before: int, limit: int) -> int:
        """Remove up to `limit` counts of minutes before `before`; answer how many."""
        ...

    async def sweep(self, now: int, raised_before: int, limit: int) -> int:
        """
        Remove up to `limit` kept documents whose time is over, as many `raises` from before `raised_before`, and all
        that was remembered as ended until now, with the statements that ended STATEMENT_KEPT_MS ago.

        Answers how many documents or raises went, whichever were more.
        """
        ...

    async def sweep_clients(self, environment: str, version: int, fading: Fading, after: str, limit: int) -> Faded:
        """
        Of the next `limit` clients by their ids, after one ("" at first), remove those that go, and keep a use of those
        of which nobody knows any. Raises Outdated, and nothing goes, where the environment has another version.
        """
        ...

    async def integrations(self) -> list[tuple[IntegrationKey, Standing]]:
        """Answer every integration that has any ledger or floor."""
        ...

    async def sweep_ledgers(
        self, integration: IntegrationKey, kind: SubjectKind, stale: Stale, after: bytes, limit: int
    ) -> tuple[int, bytes | None]:
        """
        Of the next `limit` ledgers of an integration and kind, remove the stale ones. Nobody can tell the difference:
        such a ledger does not count, or counts for nothing any more.

        `after` is the last digest looked at, b"" at first. Answers how many were removed and the new last digest,
        None at the end.
        """
        ...

    async def migrate(self) -> bool:
        """
        Bring the schema up to date; harmless when it is, and while servers run. Answers False where servers of an
        older version are connected and still need names of theirs: then it is to be called again when they have gone.
        Raises StoreUnavailable.
        """
        ...

    async def distribute(self, slots: int | None) -> list[str]:
        """
        Spread the ledgers over the nodes of a cluster, in so many slots (None: one for each node, or as they are);
        harmless when they are. Answers what was done and found, a sentence each. Raises NotDistributed, which changes
        nothing; StoreUnavailable.
        """
        ...

    async def check(self) -> None:
        """Raises SchemaOutdated unless the schema is exactly this program's; StoreUnavailable."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers, or some part of it (`whereabouts`)."""
        ...

    async def close(self) -> None:
        """Finish what waits, then let go."""
        ...
