"""
The catalogue file: read it, check all of it, show it, and tell what differs between two. Every mistake in a file is
reported at once; what is shown is read again as the same.

Source: design §6 (the file), contract §4.1 (what a pass is made of).
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from msgspec import Struct

from temppass.core.catalogue import (
    CLIENTS_MAX,
    REGISTRATIONS_PER_MINUTE,
    RESOURCE_BYTES_MAX,
    RESOURCES_PER_CALL_MAX,
    Application,
    Catalogue,
    Channel,
    Pass,
    Programmer,
    ResetAll,
)
from temppass.core.model import PassKind

#: a pass may not count more titles than this
RESOURCES_MAX = 1_000
#: all titles of a ledger, so that reading and writing one holds nobody up
LEDGER_BYTES_MAX = 65_536
#: names, keys and cron expressions
TEXT_CHARACTERS_MAX = 256
#: as many as can be counted every few seconds, and every hour
REGISTRATIONS_PER_MINUTE_MAX, CLIENTS_MAX_MAX = 60_000, 100_000_000
#: ten years
TTL_MS_MAX = 3_650 * 86_400_000
#: nobody needs more than a second person beside them
APPROVALS_MAX = 2

_Word = TypeVar("_Word", bound=StrEnum)

_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+")
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9-]{1,63})*")
_SCOPE = re.compile(r"[!#-+\--\[\]-~]{1,128}")  # RFC 6749 §3.3 without the comma that joins the claim


class Problem(Struct, frozen=True):
    """One mistake: `where` names the file and entry, `key` the key (or "" for the whole entry)."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" if self.key else f"{self.where}: {self.message}"


class CatalogueError(Exception):
    """Everything that is wrong with a catalogue file; nothing of it was applied."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


# --- parse


def parse(text: str, source: str) -> Catalogue:
    """
    Read a catalogue file (TOML, design §6); `source` is its name, for messages.

    Raises CatalogueError with every problem found.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError([Problem(source, "", f"not TOML: {error}")]) from None
    return read_document(document, source)


def read_document(document: Mapping[str, Any], source: str) -> Catalogue:
    """Read the tables of a catalogue, whatever they were written in. Raises CatalogueError with every problem found."""
    reader = _Reader(source)
    programmers = reader.entries(document, "programmer", _PROGRAMMER)
    channels = reader.entries(document, "channel", _CHANNEL)
    passes = reader.entries(document, "pass", _PASS)
    applications = reader.entries(document, "application", _APPLICATION)
    for key in document:
        if key not in {"programmer", "channel", "pass", "application"}:
            reader.problem("top level", key, "unknown key; a catalogue has programmer, channel, pass and application")
    for id_, channel in channels.items():
        reader.refer(f"channel {id_}", "programmer", [channel["programmer"]], programmers)
    for id_, entry in passes.items():
        reader.refer(f"pass {id_}", "channels", entry["channels"], channels)
        reader.check_pass(f"pass {id_}", entry)
    for id_, entry in applications.items():
        reader.refer(f"application {id_}", "channels", entry["channels"] or (), channels)
    if reader.problems:
        raise CatalogueError(reader.problems)
    return Catalogue(
        {id_: Programmer(**fields) for id_, fields in programmers.items()},
        {id_: Channel(**fields) for id_, fields in channels.items()},
        {id_: Pass(**fields) for id_, fields in passes.items()},
        {id_: Application(**fields) for id_, fields in applications.items()},
    )


class _Key(Struct, frozen=True):
    """How one key of an entry is read: `read` answers the value or raises ValueError with a sentence."""

    read: Callable[[Any], Any]
    default: Any = ...
    #: where the field has another name than the key
    field: str = ""


class _Reader:
    """Collects the problems of one file; a value with a problem is left out or replaced by something harmless."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def problem(self, entry: str, key: str, message: str) -> None:
        self.problems.append(Problem(f"{self.source}: {entry}", key, message))

    def entries(self, document: Mapping[str, Any], kind: str, keys: Mapping[str, _Key]) -> dict[str, dict[str, Any]]:
        listed = document.get(kind, [])
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            self.problem("top level", kind, f"write each one as [[{kind}]]")
            return {}
        entries: dict[str, dict[str, Any]] = {}
        for number, entry in enumerate(listed, 1):
            id_ = entry.get("id")
            name = id_ if isinstance(id_, str) and id_ else f"number {number}"
            if name in entries:
                self.problem(f"{kind} {name}", "id", f"there are two {kind} entries with this id")
            entries[name] = self.fields(entry, f"{kind} {name}", keys)
        return entries

    def fields(self, entry: Mapping[str, Any], where: str, keys: Mapping[str, _Key]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, key in keys.items():
            value = key.default
            if name in entry:
                try:
                    value = key.read(entry[name])
                except ValueError as error:
                    self.problem(where, name, str(error))
            elif value is ...:
                self.problem(where, name, "missing")
            fields[key.field or name] = _HARMLESS.get(name) if value is ... else value
        for name in entry:
            if name not in keys:
                self.problem(where, name, f"unknown key; it may have {', '.join(keys)}")
        if fields.get("name") is None:
            fields["name"] = fields["id"]
        return fields

    def refer(self, where: str, key: str, ids: Any, known: Mapping[str, Any]) -> None:
        for id_ in ids:
            if id_ and id_ not in known:
                self.problem(where, key, f"refers to {id_!r}, which is not in this file")

    def check_pass(self, where: str, fields: dict[str, Any]) -> None:
        told = {problem.key for problem in self.problems if problem.where == f"{self.source}: {where}"}
        if "kind" in told:
            return
        needed = _NEEDED[fields["kind"]]
        for key, unusable in _UNUSABLE.items():
            if key in needed:
                fields[key] = fields[key] or unusable
            elif fields[key] is not None:
                kinds = " or ".join(kind for kind, keys in _NEEDED.items() if key in keys)
                self.problem(where, key, f"only a {kinds} pass has it")
        named = {"ttl": fields["ttl_ms"], **fields}
        wanting = [key for key in ("ttl", *needed) if not named[key]]
        titles = fields["resources_max"] if "resources_max" in needed else 0
        if titles * fields["resource_bytes_max"] > LEDGER_BYTES_MAX:
            self.problem(
                where,
                "resources_max",
                f"{titles} titles of up to {fields['resource_bytes_max']} bytes are more than the "
                f"{LEDGER_BYTES_MAX} bytes that a ledger may hold; "
                f"set resource_bytes_max to {LEDGER_BYTES_MAX // titles} or less, or resources_max lower",
            )
        if not fields["allow_invalid"]:
            for key in wanting:
                if key not in told:
                    self.problem(
                        where, key, "missing or not usable; set allow_invalid = true to store the pass all the same"
                    )


#: what each kind of pass needs beside its TTL; no other kind may have it
_NEEDED: dict[PassKind, tuple[str, ...]] = {
    PassKind.BASIC: (),
    PassKind.PROMOTIONAL: ("resources_max", "identity_key"),
}
#: what stands in a pass that needs the key and has no usable one
_UNUSABLE: dict[str, Any] = {"resources_max": 0, "identity_key": ""}

#: stands in for a required value that has a problem, so that the rest of the file is checked too
_HARMLESS: dict[str, Any] = {"id": "", "programmer": "", "kind": PassKind.BASIC, "channels": {}, "scopes": ()}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"a text of 1 to {TEXT_CHARACTERS_MAX} characters is wanted")
    return value


def _identity_key(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS_MAX:
        raise ValueError("the name of a JSON key is wanted, such as email")
    return value


def _matching(pattern: re.Pattern[str], wanted: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{wanted} is wanted, not {value!r}")
        return value

    return read


def _list_of(read: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    def read_list(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError("a list is wanted")  # noqa: TRY004 - one kind of exception for a value that is wrong
        return tuple(dict.fromkeys(map(read, value)))

    return read_list


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is wanted")  # noqa: TRY004 - one kind of exception for a value that is wrong
    return value


def _count(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most} is wanted, not {value!r}")
        return value

    return read


def duration_ms(value: Any) -> int:
    """Read a length of time, e.g. 1h30m as 5400000. Raises ValueError."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError(f"a duration such as 30m, 28d or 1h30m is wanted, not {value!r}")
    ms = sum(int(number) * _UNIT_MS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", value))
    if ms > TTL_MS_MAX:
        raise ValueError(f"at most {duration_text(TTL_MS_MAX)}")
    return ms


def _one_of(words: type[_Word]) -> Callable[[Any], _Word]:
    def read(value: Any) -> _Word:
        try:
            return words(value)
        except ValueError:
            raise ValueError(f"{' or '.join(words)} is wanted, not {value!r}") from None

    return read


def _timezone(value: Any) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError, TypeError, AttributeError):  # ZoneInfo raises each for some bad name
        raise ValueError(f"an IANA time zone such as America/New_York is wanted, not {value!r}") from None
    return str(value)


def _cron(value: Any) -> str:
    wanted = f"five cron fields such as '0 0 * * *' are wanted, not {value!r}"
    if not isinstance(value, str) or len(value.split()) != 5 or len(value) > TEXT_CHARACTERS_MAX:  # noqa: PLR2004 - the five fields
        raise ValueError(wanted)
    try:
        next(CronSim(value, datetime(2024, 1, 1)))  # noqa: DTZ001 - only whether it ever comes due
    except CronSimError as error:
        raise ValueError(f"{wanted} ({error})") from None
    except StopIteration:
        raise ValueError(f"{value!r} never comes due") from None
    return value


def _integrations(value: Any) -> dict[str, bool]:
    if not isinstance(value, list):
        raise ValueError("a list of channels is wanted")  # noqa: TRY004 - one kind of exception for a wrong value
    channels: dict[str, bool] = {}
    for listed in value:
        match listed:
            case str():
                id_, enabled = listed, True
            case {"id": str(id_), "enabled": bool(enabled), **rest} if not rest:
                pass
            case _:
                raise ValueError(f'a channel\'s id or {{ id = "…", enabled = false }} is wanted, not {listed!r}')
        if id_ in channels:
            raise ValueError(f"names {id_!r} twice")
        channels[id_] = enabled
    return channels


def _application_channels(value: Any) -> tuple[str, ...] | None:
    if value == "all":
        return None
    if not isinstance(value, list):
        raise ValueError('a list of channels or "all" is wanted')  # noqa: TRY004 - as above
    return tuple(dict.fromkeys(map(_channel_id, value)))


_channel_id = _matching(_ID, "an id of letters, digits and . _ ~ -")
_id = _Key(_channel_id)
_name = _Key(_text, None)
_domains = _Key(_list_of(_matching(_DOMAIN, "a domain in lower case, without scheme or port,")), ())

_PROGRAMMER = {"id": _id, "name": _name}
_CHANNEL = {
    "id": _id,
    "programmer": _id,
    "name": _name,
    "domains": _domains,
    "timezone": _Key(_timezone, "UTC"),
    "reset_all": _Key(_one_of(ResetAll), ResetAll.IMPLICIT),
}
_PASS = {
    "id": _id,
    "kind": _Key(_one_of(PassKind)),
    "name": _name,
    "ttl": _Key(duration_ms, 0, "ttl_ms"),
    "resources_max": _Key(_count(0, RESOURCES_MAX), None),
    "identity_key": _Key(_identity_key, None),
    "channels": _Key(_integrations),
    "resources_per_call_max": _Key(_count(1, RESOURCES_MAX), RESOURCES_PER_CALL_MAX),
    "resource_bytes_max": _Key(_count(1, RESOURCE_BYTES_MAX), RESOURCE_BYTES_MAX),
    "resets": _Key(_cron, None),
    "logo_url": _Key(_text, ""),
    "retention": _Key(duration_ms, None, "retention_ms"),
    "allow_invalid": _Key(_flag, default=False),
    "reason_required": _Key(_flag, default=False),
    "approvals": _Key(_count(1, APPROVALS_MAX), 1),
}
_APPLICATION = {
    "id": _id,
    "name": _name,
    "channels": _Key(_application_channels),
    "scopes": _Key(_list_of(_matching(_SCOPE, "a scope such as api:client:v2"))),
    "domains": _domains,
    "reset_all": _Key(_flag, default=True),
    "registrations_per_minute": _Key(_count(1, REGISTRATIONS_PER_MINUTE_MAX), REGISTRATIONS_PER_MINUTE),
    "clients_max": _Key(_count(1, CLIENTS_MAX_MAX), CLIENTS_MAX),
}


# --- show and compare


def document_of(catalogue: Catalogue) -> dict[str, list[dict[str, Any]]]:
    """Answer the catalogue as the tables of its file; parsing them gives the same catalogue again."""
    return {
        "programmer": [{"id": entry.id, "name": entry.name} for entry in catalogue.programmers.values()],
        "channel": [_channel_table(entry) for entry in catalogue.channels.values()],
        "pass": [_pass_table(entry) for entry in catalogue.passes.values()],
        "application": [_application_table(entry) for entry in catalogue.applications.values()],
    }


def _channel_table(entry: Channel) -> dict[str, Any]:
    return _without_none({
        "id": entry.id,
        "programmer": entry.programmer,
        "name": entry.name,
        "domains": list(entry.domains),
        "timezone": entry.timezone,
        "reset_all": _unless(ResetAll.IMPLICIT, entry.reset_all.value),
    })  # fmt: skip


def _pass_table(entry: Pass) -> dict[str, Any]:
    return _without_none({
        "id": entry.id,
        "kind": entry.kind.value,
        "name": entry.name,
        "ttl": duration_text(entry.ttl_ms) if entry.ttl_ms else None,
        "resources_max": entry.resources_max,
        "identity_key": entry.identity_key,
        "channels": [id_ if enabled else {"id": id_, "enabled": False} for id_, enabled in entry.channels.items()],
        "resources_per_call_max": entry.resources_per_call_max,
        "resource_bytes_max": _unless(RESOURCE_BYTES_MAX, entry.resource_bytes_max),
        "resets": entry.resets,
        "logo_url": _unless("", entry.logo_url),
        "retention": duration_text(entry.retention_ms) if entry.retention_ms is not None else None,
        "allow_invalid": _unless(False, entry.allow_invalid),
        "reason_required": _unless(False, entry.reason_required),
        "approvals": _unless(1, entry.approvals),
    })  # fmt: skip


def _application_table(entry: Application) -> dict[str, Any]:
    return _without_none({
        "id": entry.id,
        "name": entry.name,
        "channels": "all" if entry.channels is None else list(entry.channels),
        "scopes": list(entry.scopes),
        "domains": list(entry.domains),
        "reset_all": _unless(True, entry.reset_all),
        "registrations_per_minute": _unless(REGISTRATIONS_PER_MINUTE, entry.registrations_per_minute),
        "clients_max": _unless(CLIENTS_MAX, entry.clients_max),
    })  # fmt: skip


def _unless(default: object, value: object) -> object:
    return None if value == default else value


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def duration_text(ms: int) -> str:
    """Write a length of time as the catalogue does, e.g. 5400000 as 1h30m."""
    parts = []
    for unit, unit_ms in _UNIT_MS.items():
        number, ms = divmod(ms, unit_ms)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def difference(old: Catalogue, new: Catalogue) -> list[str]:
    """
    Tell, a line each, what applying `new` over `old` would do: `+ pass X`, `- channel Y`, `~ pass Z: ttl: 30m -> 1h`.

    Answers an empty list where they are the same.
    """
    before, after = document_of(old), document_of(new)
    return [
        line
        for kind in after
        for line in _difference_of(
            kind, {entry["id"]: entry for entry in before[kind]}, {entry["id"]: entry for entry in after[kind]}
        )
    ]


def _difference_of(kind: str, old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> Iterator[str]:
    for id_ in old:
        if id_ not in new:
            yield f"- {kind} {id_}"
    for id_, entry in new.items():
        if id_ not in old:
            yield f"+ {kind} {id_}"
            continue
        for key in sorted(entry.keys() | old[id_].keys()):
            was, is_ = old[id_].get(key), entry.get(key)
            if was != is_:
                yield f"~ {kind} {id_}: {key}: {_shown(was)} -> {_shown(is_)}"


def _shown(value: Any) -> str:
    return "(none)" if value is None else str(value)
