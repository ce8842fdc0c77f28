"""
The declared configuration of one environment, as values: what there is, what a channel offers, and since when each
recurring reset counts. A catalogue is changed only as a whole.

Source: contract §4.1 (what a pass is made of), §4.7 (recurring resets).
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from temppass.core.calendar import latest_due, next_due
from temppass.core.model import PassKind
from temppass.core.refusal import InactiveIntegration, UnknownChannel, UnknownPass

#: titles in one authorize or preauthorize, where the pass does not say (the vendor's "preflight max resources")
RESOURCES_PER_CALL_MAX = 5
#: a title, in bytes of UTF-8 (design decision 8.5)
RESOURCE_BYTES_MAX = 2_048

#: of an application that does not say
REGISTRATIONS_PER_MINUTE, CLIENTS_MAX = 3_000, 5_000_000

_ENVIRONMENT = re.compile(r"[a-z0-9-]{1,64}")


class Programmer(Struct, frozen=True):
    id: str
    name: str


class ResetAll(StrEnum):
    """How a reset over the vendor's wire says that it means everybody."""

    #: by `all`, or by no target, as the vendor documents it
    IMPLICIT = "implicit"
    #: by `all` alone
    EXPLICIT = "explicit"


class Channel(Struct, frozen=True):
    """A service provider; `id` is its requestor id."""

    id: str
    programmer: str
    name: str
    domains: tuple[str, ...] = ()
    timezone: str = "UTC"
    reset_all: ResetAll = ResetAll.IMPLICIT


class Pass(Struct, frozen=True):
    """A Temp Pass pseudo-MVPD; `channels` maps each integrated channel to whether the integration is enabled."""

    id: str
    kind: PassKind
    name: str
    #: 0 where the file gives no usable TTL, which `allow_invalid` permits
    ttl_ms: int
    channels: dict[str, bool]
    #: None for a basic pass; 0 where a promotional one has no usable maximum
    resources_max: int | None = None
    #: None for a basic pass; "" where a promotional one has no usable key
    identity_key: str | None = None
    resources_per_call_max: int = RESOURCES_PER_CALL_MAX
    #: cron, in the channel's time zone
    resets: str | None = None
    logo_url: str = ""
    #: an expired ledger is forgotten this long after its end, and the viewer is new again; None keeps it for ever
    retention_ms: int | None = None
    allow_invalid: bool = False
    #: of one title, in bytes of UTF-8
    resource_bytes_max: int = RESOURCE_BYTES_MAX
    #: what operators do to its viewers needs a reason
    reason_required: bool = False
    #: persons that a reset of everybody takes: 1 or 2
    approvals: int = 1

    @property
    def usable(self) -> bool:
        """Whether it can decide at all; else `invalid_configuration_temporary_access` (contract §4.1)."""
        return self.ttl_ms > 0 and self.resources_max != 0 and self.identity_key != ""


class Application(Struct, frozen=True):
    """A registered application. `channels` is None for all of them."""

    id: str
    name: str
    channels: tuple[str, ...] | None
    scopes: tuple[str, ...]
    domains: tuple[str, ...] = ()
    #: whether it may reset everybody, or one viewer at a time only
    reset_all: bool = True
    #: clients that may register in a minute, and that there may be
    registrations_per_minute: int = REGISTRATIONS_PER_MINUTE
    clients_max: int = CLIENTS_MAX

    def speaks_for(self, channel_id: str) -> bool:
        return self.channels is None or channel_id in self.channels


class Catalogue(Struct, frozen=True):
    """All entries of one environment, by id, in the order of the file."""

    programmers: dict[str, Programmer] = {}
    channels: dict[str, Channel] = {}
    passes: dict[str, Pass] = {}
    applications: dict[str, Application] = {}


EMPTY = Catalogue()


class Offer(Struct, frozen=True):
    """One pass as one channel offers it: all that a decision needs to know of the catalogue."""

    channel_id: str
    pass_id: str
    kind: PassKind
    ttl_ms: int
    resources_max: int | None
    identity_key: str | None
    resources_per_call_max: int
    usable: bool
    resets: str | None
    timezone: str
    #: when the recurring reset was introduced; earlier moments are never due (design decision 8.4)
    resets_since: int
    resource_bytes_max: int = RESOURCE_BYTES_MAX
    #: the environment whose catalogue it is of
    environment: str = ""
    reason_required: bool = False
    approvals: int = 1

    def due_at(self, fired_at: int, now: int) -> int | None:
        """Answer the latest due moment in (last fired, now], if there is one."""
        if self.resets is None:
            return None
        last = max(fired_at, self.resets_since)
        return (
            latest_due(self.resets, self.timezone, last, now)
            if now >= next_due(self.resets, self.timezone, last)
            else None
        )


# --- look up


def is_environment_name(name: str) -> bool:
    return _ENVIRONMENT.fullmatch(name) is not None


def channel_of(catalogue: Catalogue, channel_id: str) -> Channel:
    """Refuses: UnknownChannel."""
    channel = catalogue.channels.get(channel_id)
    if channel is None:
        raise UnknownChannel(f"There is no channel {channel_id[:128]!r} in this environment.")
    return channel


def offer_of(
    catalogue: Catalogue, channel: Channel, pass_id: str, resets_since: Mapping[str, int], environment: str
) -> Offer:
    """Answer what is offered now. Refuses: UnknownPass, InactiveIntegration."""
    if not pass_of(catalogue, pass_id).channels.get(channel.id, False):
        raise InactiveIntegration(f"Channel {channel.id!r} does not offer pass {pass_id!r}.")
    return declared_offer(catalogue, channel, pass_id, resets_since, environment)


def pass_of(catalogue: Catalogue, pass_id: str) -> Pass:
    """Refuses: UnknownPass."""
    found = catalogue.passes.get(pass_id)
    if found is None:
        raise UnknownPass(f"There is no pass {pass_id[:128]!r} in this environment.")
    return found


def declared_offer(
    catalogue: Catalogue, channel: Channel, pass_id: str, resets_since: Mapping[str, int], environment: str
) -> Offer:
    """
    Answer what a channel offers, or did until its integration was disabled. Refuses: UnknownPass, InactiveIntegration.
    """
    found = pass_of(catalogue, pass_id)
    if channel.id not in found.channels:
        raise InactiveIntegration(f"Channel {channel.id!r} does not have pass {pass_id!r}.")
    return Offer(
        channel.id,
        found.id,
        found.kind,
        found.ttl_ms,
        found.resources_max,
        found.identity_key,
        found.resources_per_call_max,
        found.usable,
        found.resets,
        channel.timezone,
        resets_since.get(integration(channel.id, found.id), 0),
        found.resource_bytes_max,
        environment,
        found.reason_required,
        found.approvals,
    )


def integration(channel_id: str, pass_id: str) -> str:
    """Name an integration in one word; ids hold no slash."""
    return f"{channel_id}/{pass_id}"


# --- recurring resets


def carry_resets(old: Catalogue, since: Mapping[str, int], new: Catalogue, now: int) -> dict[str, int]:
    """Answer when each recurring reset of `new` was introduced: as in `since` where it is unchanged, else `now`."""
    before = dict(_recurring(old))
    return {name: since.get(name, now) if before.get(name) == rhythm else now for name, rhythm in _recurring(new)}


def _recurring(catalogue: Catalogue) -> Iterator[tuple[str, tuple[str, str]]]:
    for found in catalogue.passes.values():
        if found.resets is not None:
            for channel_id in found.channels:
                yield integration(channel_id, found.id), (found.resets, catalogue.channels[channel_id].timezone)
