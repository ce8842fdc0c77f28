"""
One environment at one version: what was declared, who may speak, with which keys. Immutable; a change of the
catalogue or a revocation makes another world with a higher version, and a step that was built on an older world
is not run (store.py).
"""

import uuid

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from temppass.core import catalogue as rules
from temppass.core.catalogue import Application, Catalogue, Channel, Offer
from temppass.core.model import OLDER, Client, Ended, EndedKind, Listed, Rewritten
from temppass.core.operator import Operator
from temppass.core.refusal import InvalidToken, MissingScope, RevokedApplication, UnapprovedStatement, UnassignedChannel
from temppass.core.tokens import Grant, Keyring, Statement, read_access_token

#: what an application may do (contract §3.5)
SCOPE_V2 = "api:client:v2"
SCOPE_RESET = "temporary:passes:owner"

#: what is kept like an environment and is none: whom the store belongs to. No host leads there, because it is no name
HOUSE = ""

_APPLICATIONS = uuid.UUID("6f1f3a52-7d0c-5b36-9a53-0c1b5c0e8d11")


class EnvironmentRecord(Struct, frozen=True):
    """What the store keeps of an environment. A request never creates one; the first `catalogue apply` does."""

    #: counts up with every change
    version: int
    catalogue: Catalogue
    #: when each recurring reset was introduced, by integration
    resets_since: dict[str, int]
    #: how often each application came, left or was revoked; what carries a lower epoch is dead
    epochs: dict[str, int]
    #: signing keys, pepper, keys of client secrets and chain, sealed (core/secret.py)
    sealed_keys: bytes
    #: since when each recurring reset is paused that is, by integration
    paused: dict[str, int] = {}
    #: who operates the service: of the house alone
    operators: tuple[Operator, ...] = ()
    #: when all that an application had been given was ended last, by application
    revoked: dict[str, int] = {}
    #: the epoch of an application from which on all its statements are listed; without it there may be older ones
    listing: dict[str, int] = {}


class Environment(Struct, frozen=True):
    """
    An environment as it is now: its record and, beside that, where a program of before that rewrites the record does
    not drop it, what was issued and counts, and what has ended and is remembered.
    """

    record: EnvironmentRecord
    statements: tuple[Listed, ...] = ()
    ended: tuple[Ended, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(EnvironmentRecord).decode


def read_environment(document: bytes) -> EnvironmentRecord:
    return _decode(document)


def rewritten(record: EnvironmentRecord) -> Rewritten:
    """Answer an environment as it is kept."""
    return Rewritten(record.version, _encode(record))


def application_sub(environment: str, application_id: str) -> str:
    """Answer the `sub` of an application's statements (design decision 8.6)."""
    return str(uuid.uuid5(_APPLICATIONS, f"{environment}/{application_id}"))


class World:
    """`keyring` is None for an environment that does not exist: its catalogue is empty and it issued nothing."""

    def __init__(
        self,
        name: str,
        environment: Environment,
        *,
        keyring: Keyring | None,
        pepper: bytes = b"",
        client_key: bytes = b"",
        chain_key: bytes = b"",
    ) -> None:
        self.name = name
        self.environment = environment
        self.record = record = environment.record
        self.version = record.version
        self.catalogue = catalogue = record.catalogue
        self.keyring = keyring
        self.pepper = pepper
        self.client_key = client_key
        self.chain_key = chain_key
        self._resets_since = record.resets_since
        self._epochs = record.epochs
        #: statements that were not revoked, by id
        self.listed = {each.id: each for each in environment.statements if self._is_present(each)}
        #: ids of those that were, together with all of their application, and are on the list still
        self.unlisted = tuple(each.id for each in environment.statements if each.id not in self.listed)
        ended = environment.ended
        self._closed = {each.id for each in ended if each.kind is EndedKind.OLDER and each.epoch == self.epoch(each.id)}
        self._gone = {each.id for each in ended if each.kind is EndedKind.CLIENT}
        self._by_sub = {application_sub(name, id_): entry for id_, entry in catalogue.applications.items()}
        self._offers: dict[tuple[str, str], Offer] = {}
        #: hosts that a browser's page may come from (design decision 8.17)
        self.domains = frozenset(
            [domain for entry in catalogue.channels.values() for domain in entry.domains]
            + [domain for entry in catalogue.applications.values() for domain in entry.domains]
        )

    def epoch(self, application_id: str) -> int:
        return self._epochs.get(application_id, 0)

    def _is_present(self, listed: Listed) -> bool:
        application_id = listed.application_id
        return application_id in self.catalogue.applications and listed.epoch == self.epoch(application_id)

    def statements_of(self, application_id: str) -> list[Listed]:
        """Answer what was minted for an application and not revoked since, the oldest first."""
        found = [each for each in self.listed.values() if each.application_id == application_id]
        return sorted(found, key=lambda each: (each.minted_at, each.id))

    def older_counts(self, application_id: str) -> bool:
        """Tell whether what programs that list no statements gave to an application counts, if they gave any."""
        return application_id not in self._closed

    def may_have_older(self, application_id: str) -> bool:
        """Tell whether such programs can have minted statements of an application that count."""
        listing = self.record.listing.get(application_id)
        return self.older_counts(application_id) and listing != self.epoch(application_id)

    def approve(self, statement: Statement, now: int) -> Application:
        """Answer the application of a good statement. Refuses: UnapprovedStatement."""
        application = self._by_sub.get(statement.sub)
        if application is None or not self._stands(application.id, statement.epoch, statement.id, now):
            raise UnapprovedStatement(
                "The application of this software statement is unknown here, or the statement was revoked or has ended."
            )
        return application

    def application(self, to: Client | Grant, now: int) -> Application | None:
        """Answer the application that credentials or a token were issued to, unless they have ended since."""
        application = self.catalogue.applications.get(to.application_id)
        stands = application is not None and self._stands(application.id, to.epoch, to.statement_id, now)
        return application if stands else None

    def ends_at(self, statement_id: str) -> int | None:
        """Answer when what came from a statement ends, if it does by itself."""
        listed = self.listed.get(statement_id)
        return listed.ends_at if listed is not None else None

    def _stands(self, application_id: str, epoch: int, statement_id: str, now: int) -> bool:
        """Tell whether a statement counts that an application was given in `epoch`."""
        if statement_id == OLDER:
            return epoch == self.epoch(application_id) and self.older_counts(application_id)
        listed = self.listed.get(statement_id)
        return (
            listed is not None
            and (listed.application_id, listed.epoch) == (application_id, epoch)
            and not listed.has_ended(now)
        )

    def read_token(self, token: str, now: int) -> Grant:
        """Refuses: InvalidToken."""
        if self.keyring is None:
            raise InvalidToken("This environment does not exist, so it issued no access token.")
        return read_access_token(self.keyring, token, self.name, now // 1000)

    def admit(self, grant: Grant, scope: str, now: int) -> Application:
        """
        Answer the application that may use `scope`.

        Refuses: InvalidToken after its time, RevokedApplication, MissingScope (also for a scope that the application
        lost since the token was issued).
        """
        if now >= grant.expires_at:
            raise InvalidToken("The access token has expired; ask /o/client/token for another.")
        application = self.application(grant, now)
        if application is None or grant.client_id in self._gone:
            raise RevokedApplication("What this access token came from was revoked; register again.")
        if scope not in grant.scopes or scope not in application.scopes:
            raise MissingScope(f"The access token does not carry the scope {scope}.")
        return application

    def channel(self, channel_id: str) -> Channel:
        """Refuses: UnknownChannel."""
        return rules.channel_of(self.catalogue, channel_id)

    def channel_for(self, application: Application, channel_id: str) -> Channel:
        """Refuses: UnknownChannel, UnassignedChannel."""
        channel = self.channel(channel_id)
        if not application.speaks_for(channel.id):
            raise UnassignedChannel(f"Application {application.id!r} is not assigned to channel {channel.id!r}.")
        return channel

    def offer(self, channel: Channel, pass_id: str) -> Offer:
        """Refuses: UnknownPass, InactiveIntegration."""
        offer = self._offers.get((channel.id, pass_id))
        if offer is None:
            offer = rules.offer_of(self.catalogue, channel, pass_id, self._resets_since, self.name)
            offer = self._offers[channel.id, pass_id] = self._while_paused(offer)
        return offer

    def declared(self, channel: Channel, pass_id: str) -> tuple[Offer, bool]:
        """
        Answer the offer of an integration and whether it is enabled: for what is read, never to decide.

        Refuses: UnknownPass, InactiveIntegration where there is none.
        """
        offer = rules.declared_offer(self.catalogue, channel, pass_id, self._resets_since, self.name)
        return self._while_paused(offer), self.catalogue.passes[pass_id].channels[channel.id]

    def _while_paused(self, offer: Offer) -> Offer:
        paused = rules.integration(offer.channel_id, offer.pass_id) in self.record.paused
        return replace(offer, resets=None) if paused else offer

    def recurring(self) -> list[tuple[str, str]]:
        """Answer the (channel, pass) of every integration that resets by itself now."""
        paused = self.record.paused
        return [each for each in self.scheduled() if rules.integration(*each) not in paused]

    def rhythm(self, channel_id: str, pass_id: str) -> tuple[str, str]:
        """Answer cron expression and time zone of a scheduled integration."""
        cron = self.catalogue.passes[pass_id].resets
        assert cron is not None
        return cron, self.catalogue.channels[channel_id].timezone

    def scheduled(self) -> list[tuple[str, str]]:
        """Answer the (channel, pass) of every enabled integration that has a recurring reset, paused or not."""
        return [
            (channel_id, entry.id)
            for entry in self.catalogue.passes.values()
            if entry.resets is not None
            for channel_id, enabled in entry.channels.items()
            if enabled
        ]

    def retention_ms(self) -> dict[tuple[str, str, str], int]:
        """Answer, by (environment, channel, pass), how long an expired ledger is kept where the pass says so."""
        return {
            (self.name, channel_id, entry.id): entry.retention_ms
            for entry in self.catalogue.passes.values()
            if entry.retention_ms is not None
            for channel_id in entry.channels
        }
