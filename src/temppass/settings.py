"""
What the surroundings decide: environment variables, read once and passed on. Nothing reads them at import.

docs/reference.md lists every variable; a test holds the two together.
"""

from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from msgspec import Struct

from temppass.core.catalogue import is_environment_name
from temppass.core.secret import SECRET_BYTES_MIN
from temppass.core.tokens import ALGORITHMS, ISSUER


class SettingsError(Exception):
    """A variable or option cannot be used; the message names it and says what to set."""


class Settings(Struct, frozen=True):
    #: where ledgers are kept: memory:, sqlite:///relative.db or sqlite:////absolute.db
    store: str
    #: keys and peppers are derived from it; None where an embedded store makes its own
    secret: str | None
    #: the one of before, while another takes its place
    secret_previous: str | None
    #: the environment of hosts that name none
    environment: str
    #: `iss` of statements and access tokens
    issuer: str
    #: lifetime of an access token, in seconds
    access_token_s: int
    #: lifetime of a media token, in seconds
    media_token_s: int
    #: ES256 or RS256
    media_algorithm: str
    #: sessions that one application may open in each process, a second
    sessions_per_s: int
    #: how long records of acts are kept, in days
    audit_days: int
    #: whether clients come by https although this server does not speak it
    https: bool
    #: how long others may keep a copy of the key set, in seconds
    jwks_s: int
    #: how old the newest signing key becomes, in days; None makes no other by itself
    key_rotation_days: int | None
    #: how long a client is kept that asks for no token, in days
    client_idle_days: int
    #: a log line for each request
    log_requests: bool


class Variable(NamedTuple):
    name: str
    default: str | None
    meaning: str


VARIABLES = (
    Variable("TEMPPASS_STORE", "sqlite:///temppass.db", "where ledgers are kept"),
    Variable("TEMPPASS_SECRET", None, "at least 32 bytes, from which all keys are derived"),
    Variable("TEMPPASS_SECRET_PREVIOUS", None, "the secret of before, while another takes its place"),
    Variable("TEMPPASS_ENVIRONMENT", "release-production", "the environment of hosts that name none"),
    Variable("TEMPPASS_ISSUER", ISSUER, "iss of statements, access tokens and media tokens"),
    Variable("TEMPPASS_ACCESS_TOKEN_SECONDS", "21600", "lifetime of an access token"),
    Variable("TEMPPASS_MEDIA_TOKEN_SECONDS", "420", "lifetime of a media token"),
    Variable("TEMPPASS_MEDIA_ALGORITHM", "ES256", "ES256 or RS256"),
    Variable("TEMPPASS_SESSIONS_PER_SECOND", "50", "sessions that an application may open"),
    Variable("TEMPPASS_AUDIT_DAYS", "400", "how long records of acts are kept"),
    Variable("TEMPPASS_HTTPS", "0", "1 where a proxy ends TLS, so that URLs begin with https"),
    Variable("TEMPPASS_JWKS_SECONDS", "300", "how long a copy of the key set is kept"),
    Variable("TEMPPASS_KEY_ROTATION", "off", "off, or days after which signing keys are rotated"),
    Variable("TEMPPASS_CLIENT_IDLE_DAYS", "400", "how long a client is kept that asks for no token"),
    Variable("TEMPPASS_LOG_REQUESTS", "0", "1 writes a line for each request"),
)

_SECONDS_MAX = 31_536_000
_SESSIONS_MAX = 10_000
_DAYS_MAX = 36_500
#: of a copy of the key set: a rotation takes twice as long
_JWKS_SECONDS_MAX = 86_400


def read_settings(environ: Mapping[str, str], *, store: str | None = None) -> Settings:
    """Read all variables; `store` is the option that goes before TEMPPASS_STORE. Raises SettingsError."""
    values = {name: environ.get(name) or default for name, default, _ in VARIABLES}

    def text(name: str) -> str:
        value = values[name]
        assert value is not None
        return value

    secret, secret_previous = values["TEMPPASS_SECRET"], values["TEMPPASS_SECRET_PREVIOUS"]
    if secret is not None and len(secret.encode()) < SECRET_BYTES_MIN:
        _refuse("TEMPPASS_SECRET", f"needs at least {SECRET_BYTES_MIN} bytes", "set it to `openssl rand -hex 32`")
    if secret_previous is not None:
        _check_previous(secret_previous, secret)
    environment = text("TEMPPASS_ENVIRONMENT")
    if not is_environment_name(environment):
        _refuse("TEMPPASS_ENVIRONMENT", f"{environment!r} is no name", "use a-z, 0-9 and -, at most 64 characters")
    if text("TEMPPASS_MEDIA_ALGORITHM") not in ALGORITHMS:
        _refuse("TEMPPASS_MEDIA_ALGORITHM", "is not known", f"use {' or '.join(ALGORITHMS)}")
    for name in ("TEMPPASS_HTTPS", "TEMPPASS_LOG_REQUESTS"):
        if text(name) not in {"0", "1"}:
            _refuse(name, "is not known", "use 0 or 1")
    return Settings(
        store=store or text("TEMPPASS_STORE"),
        secret=secret,
        secret_previous=secret_previous,
        environment=environment,
        issuer=text("TEMPPASS_ISSUER"),
        access_token_s=_seconds("TEMPPASS_ACCESS_TOKEN_SECONDS", text("TEMPPASS_ACCESS_TOKEN_SECONDS")),
        media_token_s=_seconds("TEMPPASS_MEDIA_TOKEN_SECONDS", text("TEMPPASS_MEDIA_TOKEN_SECONDS")),
        media_algorithm=text("TEMPPASS_MEDIA_ALGORITHM"),
        sessions_per_s=_sessions("TEMPPASS_SESSIONS_PER_SECOND", text("TEMPPASS_SESSIONS_PER_SECOND")),
        audit_days=_count("TEMPPASS_AUDIT_DAYS", text("TEMPPASS_AUDIT_DAYS"), _DAYS_MAX, "number of days"),
        https=text("TEMPPASS_HTTPS") == "1",
        jwks_s=_count("TEMPPASS_JWKS_SECONDS", text("TEMPPASS_JWKS_SECONDS"), _JWKS_SECONDS_MAX, "number of seconds"),
        key_rotation_days=_rotation(text("TEMPPASS_KEY_ROTATION")),
        client_idle_days=_count(
            "TEMPPASS_CLIENT_IDLE_DAYS", text("TEMPPASS_CLIENT_IDLE_DAYS"), _DAYS_MAX, "number of days"
        ),
        log_requests=text("TEMPPASS_LOG_REQUESTS") == "1",
    )


def _check_previous(previous: str, secret: str | None) -> None:
    name = "TEMPPASS_SECRET_PREVIOUS"
    if len(previous.encode()) < SECRET_BYTES_MIN:
        _refuse(name, f"needs at least {SECRET_BYTES_MIN} bytes", "set it to what TEMPPASS_SECRET was before")
    if secret is None:
        _refuse(name, "is set without TEMPPASS_SECRET", "set that to the new secret, or set neither")
    if secret == previous:
        _refuse(name, "is the same as TEMPPASS_SECRET", "set one of them to the new secret, or leave this one out")


def _seconds(name: str, value: str) -> int:
    return _count(name, value, _SECONDS_MAX, "number of seconds")


def _sessions(name: str, value: str) -> int:
    return _count(name, value, _SESSIONS_MAX, "number of sessions")


def _rotation(value: str) -> int | None:
    name = "TEMPPASS_KEY_ROTATION"
    return None if value == "off" else _count(name, value, _DAYS_MAX, "number of days nor off")


def _count(name: str, value: str, most: int, what: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:12]) <= most:
        _refuse(name, f"{value[:32]!r} is no {what}", f"use 1 to {most}")
    return int(value)


def _refuse(name: str, what: str, remedy: str) -> NoReturn:
    raise SettingsError(f"{name} {what}; {remedy}")
