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
from temppass.core.model import Rewritten
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
        record: EnvironmentRecord,
        *,
        keyring: Keyring | None,
        pepper: bytes = b"",
        client_key: bytes = b"",
        chain_key: bytes = b"",
    ) -> None:
        self.name = name
        self.record = record
        self.version = record.version
        self.catalogue = catalogue = record.catalogue
        self.keyring = keyring
        self.pepper = pepper
        self.client_key = client_key
        self.chain_key = chain_key
        self._resets_since = record.resets_since
        self._epochs = record.epochs
        self._by_sub = {application_sub(name, id_): entry for id_, entry in catalogue.applications.items()}
        self._offers: dict[tuple[str, str], Offer] = {}
        #: hosts that a browser's page may come from (design decision 8.17)
        self.domains = frozenset(
            [domain for entry in catalogue.channels.values() for domain in entry.domains]
            + [domain for entry in catalogue.applications.values() for domain in entry.domains]
        )

    def epoch(self, application_id: str) -> int:
        return self._epochs.get(application_id, 0)

    def approve(self, statement: Statement) -> Application:
        """Answer the application of a good statement. Refuses: UnapprovedStatement."""
        application = self._by_sub.get(statement.sub)
        if application is None or statement.epoch != self.epoch(application.id):
            raise UnapprovedStatement("The application of this software statement is unknown here, or was revoked.")
        return application

    def application(self, application_id: str, epoch: int) -> Application | None:
        """Answer the application that something was issued to in `epoch`, unless it is gone or revoked since."""
        application = self.catalogue.applications.get(application_id)
        return application if application is not None and epoch == self.epoch(application_id) else None

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
        application = self.application(grant.application_id, grant.epoch)
        if application is None:
            raise RevokedApplication("The application of this access token was revoked; register again.")
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
