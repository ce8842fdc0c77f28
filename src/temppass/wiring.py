"""
Puts the parts together, in reading order. The only module that knows adapters and edges; imported by the command
line and by testing.py.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry

from temppass.administration import Administration
from temppass.core.tokens import Secret
from temppass.failure import install
from temppass.service import Policy, Service, wall_clock
from temppass.settings import Settings, SettingsError
from temppass.storage.memory import MemoryStore
from temppass.storage.sqlite import SqliteStore
from temppass.store import Store
from temppass.web.app import Edge
from temppass.worlds import Worlds

_SQLITE = "sqlite:///"
_POSTGRES = "postgresql://"


class Application(NamedTuple):
    store: Store
    service: Service
    administration: Administration
    edge: Edge


def assemble(settings: Settings, clock: Callable[[], int] = wall_clock) -> Application:
    """Open the store and build everything on it. Raises SettingsError, StoreUnavailable, SchemaOutdated."""
    secret = _secret(settings)
    store = open_store(settings.store)
    policy = Policy(
        issuer=settings.issuer,
        access_token_ms=settings.access_token_s * 1000,
        media_token_ms=settings.media_token_s * 1000,
        media_algorithm=settings.media_algorithm,
        sessions_per_s=settings.sessions_per_s,
    )
    worlds = Worlds(store, secret, media_algorithm=policy.media_algorithm)
    service = Service(store, worlds, policy, clock)
    edge = Edge(
        service,
        default_environment=settings.environment,
        log_requests=settings.log_requests,
        registry=CollectorRegistry(),
    )
    return Application(store, service, Administration(store, secret, worlds, policy, clock), edge)


def open_store(url: str) -> Store:
    """Raises SettingsError for a URL that names no adapter; StoreUnavailable, SchemaOutdated."""
    if url == "memory:":
        return MemoryStore()
    if url.startswith(_POSTGRES):
        try:
            from temppass.storage.postgres import PostgresStore  # noqa: PLC0415 - an extra of its own
        except ModuleNotFoundError:
            raise SettingsError(f"PostgreSQL needs a driver; {install('postgres')}") from None
        return PostgresStore(url)
    return SqliteStore(_path(url))


def _path(url: str) -> Path:
    if not url.startswith(_SQLITE):
        raise SettingsError(
            f"no store is called {url.partition(':')[0]!r}; use memory:, sqlite:///file.db or postgresql://…"
        )
    path = url.removeprefix(_SQLITE)
    if not path or path.endswith("/"):
        raise SettingsError(f"{url} names no file; use sqlite:///relative.db or sqlite:////absolute.db")
    return Path(path)


def _secret(settings: Settings) -> Secret:
    """Answer the secret of the settings, or the one that an embedded store keeps beside itself (mode 0600)."""
    if settings.secret is not None:
        return Secret(settings.secret.encode())
    if settings.store == "memory:":
        return Secret(secrets.token_bytes(32))
    if settings.store.startswith(_POSTGRES):
        raise SettingsError("TEMPPASS_SECRET is missing; set the same one for every server and command of this store")
    path = _path(settings.store)
    file = path.with_name(path.name + ".secret")
    if not file.exists():
        _create_secret(file)
    return Secret(_read_secret(file))


def _create_secret(file: Path) -> None:
    """Write a new secret whole before it gets its name, so that of two processes both read the same one."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(secrets.token_hex(32).encode())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        draft.unlink()
    except OSError as error:
        raise SettingsError(f"cannot write {file}: {error.strerror}; name a folder that can be written") from None


def _read_secret(file: Path) -> bytes:
    try:
        value = file.read_bytes().strip()
        Secret(value)
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot use {file}: {error}; restore it, or set TEMPPASS_SECRET") from None
    return value


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
