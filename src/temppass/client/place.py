"""
Where a service is: the vendor's four environments by name, or one's own by its URL.

Source: contract §2.
"""

from urllib.parse import urlsplit

from msgspec import Struct

from temppass.client.errors import InvalidTarget


class Place(Struct, frozen=True):
    """`service` answers registration, tokens and REST v2, `management` resets: URLs without a slash at the end."""

    name: str
    service: str
    management: str


def _vendors(build: str, profile: str) -> Place:
    host = f"{'-prequal' if build == 'prequal' else ''}.auth{'-staging' if profile == 'staging' else ''}.adobe.com"
    return Place(f"{build}-{profile}", f"https://sp{host}", f"https://mgmt{host}")


#: nothing is sent there unless a caller names one; every use needs the vendor's licence
ENVIRONMENTS = {
    place.name: place
    for place in (_vendors(build, profile) for build in ("release", "prequal") for profile in ("production", "staging"))
}


def place_at(url: str) -> Place:
    """Answer the place of a self-hosted server. Raises InvalidTarget."""
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        is_one = parts.scheme in {"http", "https"} and host != b"" and parts.port != 0
    except (ValueError, UnicodeError):
        is_one = False
    if not is_one or not url.isprintable() or " " in url:
        raise InvalidTarget("that is no base URL", hint="write it as https://temppass.example")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidTarget("a base URL has no user, query or fragment", hint="write it as https://temppass.example")
    return Place(url, url, url)
