"""
Which host a request names, and which environment it belongs to by that: the vendor's host names have theirs,
`<name>.localhost` is environment `<name>`, and any other host is the default.

Source: contract §2, design §6 and decision 8.21, RFC 9112 §3.2.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

from temppass.core.catalogue import is_environment_name
from temppass.core.refusal import InvalidRequest

RELEASE_PRODUCTION = "release-production"

#: the vendor's host names (contract §2)
HOSTS = {
    f"{service}{build_suffix}.auth{profile_suffix}.adobe.com": f"{build}-{profile}"
    for service in ("sp", "api", "mgmt", "console", "entitlement")
    for build, build_suffix in (("release", ""), ("prequal", "-prequal"))
    for profile, profile_suffix in (("production", ""), ("staging", "-staging"))
}

#: a name of 253 characters, a dot and a port (RFC 1035 §2.3.4)
HOST_CHARACTERS_MAX = 260
_PORT_MAX = 65_535

_NAME = rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
#: `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2); of addresses in brackets the one kind that there is
_HOST = re.compile(rb"(?:" + _NAME + rb"|\[(?P<literal>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{0,5}))?")
#: a target in absolute form (RFC 9112 §3.2.2), of a scheme that we speak
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


def host_of(given: Sequence[bytes], target: bytes, http_version: str) -> str:
    """
    Answer the one host that a request names, with its port, "" where HTTP/1.0 names none; all that depends on a host
    goes by it.

    `given` are the values of its `Host` headers. A target in absolute form wins over them, but excuses none of them.
    Refuses: InvalidRequest, also where the target has a fragment: parsers drop it, be it half of a device id.
    Source: RFC 9112 §3.2 and §3.2.2, design decisions 8.20 and 8.21.
    """
    if b"#" in target:
        raise InvalidRequest("Send a # in a request target as %23.")
    if len(given) != 1 and (given or http_version != "1.0"):
        raise InvalidRequest("Send one Host header.")
    host = read_host(given[0]) if given else ""
    if target[:1] == b"/" or target == b"*":
        return host
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise InvalidRequest("Send a path, or a URL of http or https.")
    return read_host(absolute[1])


@lru_cache(maxsize=1024)
def read_host(value: bytes) -> str:
    """
    Answer the host in a value of `Host`, with its port, without white space around it. Refuses: InvalidRequest.

    What is refused is not remembered, so that what is remembered has a bound.
    """
    parts = _HOST.fullmatch(value.strip(b" \t")) if len(value) <= HOST_CHARACTERS_MAX else None
    if parts is None or int(parts["port"] or 0) > _PORT_MAX or not _is_literal(parts["literal"]):
        raise InvalidRequest("Send a Host that is a name or an address, with or without a port.")
    return parts[0].decode()


def _is_literal(value: bytes | None) -> bool:
    """Tell whether what stands in brackets, if anything does, is an address."""
    try:
        return value is None or bool(IPv6Address(value.decode()))
    except ValueError:
        return False


def base_url(scope: Mapping[str, Any]) -> str:
    """Answer the beginning of the URL that a request was sent to, as the client has it: scheme, host and port."""
    return f"{scope['scheme']}://{scope['host'] or 'localhost'}"


@lru_cache(maxsize=1024)
def environment_of_host(host: str, default: str) -> str:
    """Answer the environment of a host, with or without a port."""
    name = _without_port(host)
    if name in HOSTS:
        return HOSTS[name]
    label, dot, rest = name.partition(".")
    return label if dot and rest == "localhost" and is_environment_name(label) else default


def profile_of_host(host: str) -> str | None:
    """Answer `staging` or `production` for one of the vendor's host names, None for any other."""
    environment = HOSTS.get(_without_port(host))
    return environment.rpartition("-")[2] if environment else None


def _without_port(host: str) -> str:
    name = host.lower()
    return name.rstrip(".") if name.startswith("[") else name.partition(":")[0].rstrip(".")
