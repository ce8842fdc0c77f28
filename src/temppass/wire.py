"""
The JSON shapes of the wire, in both directions: the server encodes them, the client decodes them.

Names are the vendor's (contract §3, §6, §7). Moments are Unix milliseconds unless a line says seconds; the windows
of sessions are texts, because the vendor's are (contract §12 #23).
"""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

encode = msgspec.json.Encoder().encode


# --- registration and tokens (contract §3)


class RegistrationAnswer(Struct, frozen=True):
    """`client_id_issued_at` is in seconds; a secret that does not expire expires at 0 (RFC 7591 §3.2.1)."""

    client_id: str
    client_secret: str
    client_id_issued_at: int
    client_secret_expires_at: int
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]


class TokenAnswer(Struct, frozen=True):
    """`created_at` is in milliseconds, `expires_in` in seconds; `scope` is space separated (RFC 6749 §5.1)."""

    id: str
    access_token: str
    created_at: int
    expires_in: int
    token_type: str
    scope: str


class Introspection(Struct, frozen=True):
    """
    What a token is good for; of one that is not, `active` alone (RFC 7662 §2.2). `exp`, `iat` and `nbf` are in seconds,
    `scope` is space separated, `sub` is the client, `aud` the environment.
    """

    active: bool
    scope: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    token_type: str | UnsetType = UNSET
    exp: int | UnsetType = UNSET
    iat: int | UnsetType = UNSET
    nbf: int | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    aud: str | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    jti: str | UnsetType = UNSET


class ServerMetadata(Struct, frozen=True):
    """RFC 8414 §2. Where nothing is answered by redirection `response_types_supported` is empty, yet required."""

    issuer: str
    token_endpoint: str
    registration_endpoint: str
    introspection_endpoint: str
    jwks_uri: str
    scopes_supported: tuple[str, ...]
    response_types_supported: tuple[str, ...]
    grant_types_supported: tuple[str, ...]
    token_endpoint_auth_methods_supported: tuple[str, ...]
    introspection_endpoint_auth_methods_supported: tuple[str, ...]


class OAuthError(Struct, frozen=True):
    error: str
    error_description: str


class PlainError(Struct, frozen=True):
    """What the reset API and the paths without a vendor's shape answer."""

    error: str
    message: str
    status: int


# --- REST v2 (contract §6)


class Error(Struct, frozen=True, rename="camel"):
    """An enhanced error: the whole body at the top level, or one item's `error` (contract §6.1, §7)."""

    action: str
    status: int
    code: str
    message: str
    help_url: str
    trace: str


class AuthorizeBody(Struct, frozen=True):
    resources: list[str]


class MediaTokenShape(Struct, frozen=True, rename="camel"):
    not_before: int
    not_after: int
    serialized_token: str


class DecisionShape(Struct, frozen=True, rename="camel"):
    resource: str
    service_provider: str
    mvpd: str
    source: str
    authorized: bool
    token: MediaTokenShape | UnsetType = UNSET
    not_before: int | UnsetType = UNSET
    not_after: int | UnsetType = UNSET
    error: Error | UnsetType = UNSET


class Decisions(Struct, frozen=True, rename="camel"):
    decisions: list[DecisionShape]


class Attribute(Struct, frozen=True, rename="camel"):
    value: Any
    state: str = "plain"


class ProfileShape(Struct, frozen=True, rename="camel"):
    not_before: int
    not_after: int
    issuer: str
    type: str
    attributes: dict[str, Attribute]


class Profiles(Struct, frozen=True, rename="camel"):
    profiles: dict[str, ProfileShape]


class Domain(Struct, frozen=True, rename="camel"):
    name: str
    mvpd_initiated: bool


class Mvpd(Struct, frozen=True, rename="camel"):
    """One enabled integration; `isTempPass` is left out where it is false."""

    id: str
    display_name: str
    logo_url: str
    auth_per_aggregator: bool
    is_temp_pass: bool | UnsetType = UNSET


class Requestor(Struct, frozen=True, rename="camel"):
    id: str
    name: str
    domains: list[Domain]
    mvpds: list[Mvpd]


class Configuration(Struct, frozen=True, rename="camel"):
    requestor: Requestor
    device: str | UnsetType = UNSET
    client_type: str | UnsetType = UNSET
    os: str | UnsetType = UNSET


class SessionAnswer(Struct, frozen=True, rename="camel"):
    """What creating or resuming a session says to do next."""

    action_name: str
    action_type: str
    reason_type: str
    url: str
    session_id: str
    service_provider: str
    missing_parameters: list[str] | UnsetType = UNSET
    code: str | UnsetType = UNSET
    mvpd: str | UnsetType = UNSET
    not_before: str | UnsetType = UNSET
    not_after: str | UnsetType = UNSET


class VersionShape(Struct, frozen=True, rename="camel"):
    """A version as the vendor writes each one; what is unknown is 0 or "" (contract §6.8)."""

    major: int = 0
    minor: int = 0
    patch: int = 0
    profile: str = ""


class HardwareShape(Struct, frozen=True, rename="camel"):
    name: str | None
    vendor: str | None
    manufacturer: str | None
    version: VersionShape


class SystemShape(Struct, frozen=True, rename="camel"):
    name: str | None
    family: str | None
    vendor: str | None
    version: VersionShape


class BrowserShape(Struct, frozen=True, rename="camel"):
    name: str | None
    vendor: str | None
    version: VersionShape
    user_agent: str | None
    original_user_agent: str | None


class DisplayShape(Struct, frozen=True, rename="camel"):
    width: int
    height: int
    ppi: int
    name: str | None
    vendor: str | None
    diagonal_size: float
    version: VersionShape


class ConnectionShape(Struct, frozen=True, rename="camel"):
    """`ipAddress` is left out: no address of a viewer is kept."""

    type: str | None
    secure: bool
    port: str | None


class DeviceShape(Struct, frozen=True, rename="camel"):
    type: str
    model: str | None
    version: VersionShape
    hardware: HardwareShape
    operating_system: SystemShape
    browser: BrowserShape
    display: DisplayShape
    application_id: str | None
    connection: ConnectionShape


class SessionState(Struct, frozen=True, rename="camel"):
    existing_parameters: dict[str, str]
    device: DeviceShape
    not_before: str
    not_after: str
    #: left out where nothing is missing
    missing_parameters: list[str] | UnsetType = UNSET


class LogoutAction(Struct, frozen=True, rename="camel"):
    action_name: str
    action_type: str
    mvpd: str


class Logouts(Struct, frozen=True, rename="camel"):
    logouts: dict[str, LogoutAction]
