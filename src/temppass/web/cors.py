"""
Which pages of other origins may read an answer, and what their browsers are told. Knows worlds, and no route.

Source: contract §6.10, design decision 8.17.
"""

import re
from urllib.parse import urlsplit

from temppass.core.oauth import is_within
from temppass.core.world import World
from temppass.service import Service
from temppass.store import StoreUnavailable

_ALLOWED_HEADERS = (
    "authorization, content-type, accept, AP-Device-Identifier, AP-Session-Identifier, AP-SDK-Identifier, "
    "AP-TempPass-Identity, AP-Visitor-Identifier, X-Device-Info, X-Forwarded-For, pass_sfp"
)
_EXPOSED_HEADERS = (
    "pass_sfp, Authzf-Error-Code, Authzf-Sub-Error-Code, Authzf-Error-Details, TempPass-Reset-Id, TempPass-Matched, "
    "TempPass-Trial, TempPass-Titles"
)
#: a browser may remember a preflight this long, in seconds
_PREFLIGHT_AGE_S = "600"
_LOOPBACK = ("localhost", "127.0.0.1")


async def cors_headers(service: Service, environment: str, origin: str) -> list[tuple[bytes, bytes]]:
    """Answer the CORS headers of a browser's request (contract §6.10); only a `Vary` to a stranger."""
    headers = {"Vary": "Origin"}
    try:
        known = is_known_origin(origin, await service.world(environment))
    except StoreUnavailable:
        known = False  # nobody can tell; the answer itself says what is wrong
    if known:
        headers |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": "POST,GET,OPTIONS,DELETE",
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
            "Access-Control-Max-Age": _PREFLIGHT_AGE_S,
        }
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def is_known_origin(origin: str, world: World) -> bool:
    """Tell whether an `Origin` is a page of a channel or application: over https, or on this machine."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    host = parts.hostname or ""
    trusted = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    plain_origin = re.fullmatch(r"[a-z]+://[A-Za-z0-9.-]+(?::[0-9]{1,5})?", origin) is not None
    return trusted and plain_origin and is_within(host, world.domains)
