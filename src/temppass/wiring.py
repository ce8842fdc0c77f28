"""
Puts the parts together, in reading order. The only module that knows adapters and edges; imported by the command
line and by testing.py.
"""

import contextlib
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry

from temppass.core.secret import Secret, Source, WrongSecret
from temppass.failure import install
from temppass.service import Service, serve_from
from temppass.service.context import Policy, wall_clock
from temppass.service.registrations import Near
from temppass.settings import Settings, SettingsError
from temppass.storage import sqlite_file
from temppass.storage.hold import Hold, holder_of
from temppass.storage.memory import MemoryStore
from temppass.storage.secret_file import SecretFile, SecretUnusable
from temppass.storage.sqlite import SqliteReader, SqliteStore
from temppass.store import Holder, SchemaOutdated, Store, StoreMissing, Whereabouts
from temppass.web.app import Edge

_SQLITE = "sqlite:///"
_POSTGRES = "postgresql://"


class Application(NamedTuple):
    store: Store
    service: Service
    edge: Edge


def assemble(
    settings: Settings, clock: Callable[[], int] = wall_clock, *, read_only: bool = False, secret: Secret | None = None
) -> Application:
    """
    Open the store and build everything on it. With `read_only` an embedded store is neither made nor changed; `secret`
    is another than the settings name.

    Raises SettingsError, StoreUnavailable, SchemaOutdated; StoreMissing with `read_only` alone.
    """
    if read_only:
        _require(settings.store)
    secret = secret or _secret(settings)
    store = open_store(settings.store, read_only=read_only)
    policy = Policy(
        issuer=settings.issuer,
        access_token_ms=settings.access_token_s * 1000,
        media_token_ms=settings.media_token_s * 1000,
        media_algorithm=settings.media_algorithm,
        sessions_per_s=settings.sessions_per_s,
        audit_ms=settings.audit_days * 86_400_000,
        jwks_ms=settings.jwks_s * 1000,
        rotation_ms=settings.key_rotation_days * 86_400_000 if settings.key_rotation_days is not None else None,
        client_idle_ms=settings.client_idle_days * 86_400_000,
    )
    service = serve_from(store, secret, policy, clock, warn=_warn)
    edge = Edge(
        service,
        default_environment=settings.environment,
        https=settings.https,
        log_requests=settings.log_requests,
        registry=CollectorRegistry(),
    )
    return Application(store, service, edge)


def _warn(near: Near) -> None:
    """Say that a bound of an application is nearly reached."""
    place = {"environment": near.environment, "application": near.application_id}
    structlog.get_logger("temppass.registrations").warning("bound is near", **place, bound=near.bound, used=near.used)


def _say_moved(where: Whereabouts) -> None:
    """Say that another host has become the primary of the store."""
    hosts = {"primary": where.primary, "timeline": where.timeline, "hosts": where.hosts}
    structlog.get_logger("temppass.store").warning("store moved", **hosts, moves=where.moves)


def open_store(url: str, *, read_only: bool = False) -> Store:
    """Raises SettingsError for a URL that names no adapter; StoreUnavailable, SchemaOutdated."""
    if url == "memory:":
        return MemoryStore()
    if url.startswith(_POSTGRES):
        try:
            from temppass.storage.postgres import PostgresStore  # noqa: PLC0415 - an extra of its own
        except ModuleNotFoundError:
            raise SettingsError(f"PostgreSQL needs a driver; {install('postgres')}") from None
        try:
            return PostgresStore(url, _say_moved)
        except ValueError as error:  # the URL holds a password, so it is not repeated
            raise SettingsError(f"the URL of the store cannot be read: {error}") from None
    return SqliteReader(_path(url)) if read_only else SqliteStore(_path(url))


def hold(url: str) -> Hold | None:
    """Become the one server of an embedded store; others have any number. Raises SettingsError, StoreHeld."""
    return Hold(_path(url)) if _is_embedded(url) else None


def holder(url: str) -> Holder | None:
    """Answer who serves an embedded store, if anybody does. Raises SettingsError, StoreUnavailable."""
    return holder_of(_path(url)) if _is_embedded(url) else None


def _is_embedded(url: str) -> bool:
    """Whether the store is a file here, with its secret and its hold beside it."""
    return url.startswith(_SQLITE)


def _path(url: str) -> Path:
    if not url.startswith(_SQLITE):
        raise SettingsError(
            f"no store is called {url.partition(':')[0]!r}; use memory:, sqlite:///file.db or postgresql://…"
        )
    path = url.removeprefix(_SQLITE)
    if not path or path.endswith("/"):
        raise SettingsError(f"{url} names no file; use sqlite:///relative.db or sqlite:////absolute.db")
    return Path(path)


def _require(url: str) -> None:
    """Raises StoreMissing where an embedded store is not there; SettingsError."""
    if not _is_embedded(url) or sqlite_file.exists(path := _path(url)):
        return
    if SecretFile(path).path.exists():
        raise StoreMissing(f"there is no store at {path}, but its secret is there; restore the database")
    raise StoreMissing(f"there is no store at {path}; `temppass catalogue apply` makes one")


def _secret(settings: Settings) -> Secret:
    """Answer the secret of the settings, or the one that an embedded store keeps beside itself (mode 0600)."""
    if settings.secret is not None:
        return Secret(*_given(settings))
    if settings.store == "memory:":
        return Secret(secrets.token_bytes(32))
    if settings.store.startswith(_POSTGRES):
        raise SettingsError("TEMPPASS_SECRET is missing; set the same one for every server and command of this store")
    path = _path(settings.store)
    is_new, file = not sqlite_file.exists(path), SecretFile(path)  # in this order: a secret is made before its store
    try:
        if not file.values():
            if not is_new:
                with contextlib.suppress(SchemaOutdated):
                    sqlite_file.read(path, lambda _connection: None)  # or it is no database at all
                missing = f"{path} is there without its secret {file.path}"
                raise SettingsError(f"{missing}; restore that, or set TEMPPASS_SECRET")
            file.create(secrets.token_hex(32).encode())
        return Secret(*file.values(), source=_source(file))
    except SecretUnusable as error:
        raise SettingsError(str(error)) from None


@contextlib.contextmanager
def another_secret(settings: Settings, *, dry_run: bool = False) -> Iterator[Secret]:
    """
    Answer the new secret, with that of before beside it. Where an embedded store keeps its own, it takes the place of
    that in the end, unless something is raised meanwhile or it is a dry run.

    Raises SettingsError, StoreMissing.
    """
    _require(settings.store)
    if settings.secret is None and _is_embedded(settings.store):
        file = SecretFile(_path(settings.store))
        try:
            fresh = secrets.token_hex(32).encode()
            if dry_run:
                yield _fixed(file, file.expected(fresh))
                return
            with file.changing():
                yield _fixed(file, file.prepare(fresh))
                file.finish()
        except SecretUnusable as error:
            raise SettingsError(str(error)) from None
        return
    if settings.store == "memory:":
        raise SettingsError("a memory store has another secret at each start; name a store that is kept")
    if settings.secret is None or settings.secret_previous is None:
        missing = "TEMPPASS_SECRET" if settings.secret is None else "TEMPPASS_SECRET_PREVIOUS"
        what = "set TEMPPASS_SECRET to the new secret and TEMPPASS_SECRET_PREVIOUS to the one of before"
        raise SettingsError(f"{missing} is missing; {what}")
    yield Secret(*_given(settings))


def _fixed(file: SecretFile, values: list[bytes]) -> Secret:
    """Answer a secret that says where it comes from, and stays as it is."""
    return Secret(*values, source=Source(file.place, lambda: values))


def _given(settings: Settings) -> list[bytes]:
    return [each.encode() for each in (settings.secret, settings.secret_previous) if each is not None]


def _source(file: SecretFile) -> Source:
    """Answer the files of a secret as what is read again where a seal does not open."""

    def read() -> list[bytes]:
        try:
            if values := file.values():
                return values
        except SecretUnusable as error:
            raise WrongSecret(str(error)) from None
        raise WrongSecret(f"{file.path} is gone; restore it")

    return Source(file.place, read)


def configure_logging() -> None:
    """One JSON object a line on stderr; neither query strings nor headers are ever among the fields."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
