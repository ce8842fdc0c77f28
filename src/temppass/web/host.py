"""
Which environment a request belongs to: the vendor's host names have theirs, `<name>.localhost` is environment
`<name>`, and any other host is the default.

Source: contract §2, design §6.
"""

from functools import lru_cache

from temppass.core.catalogue import is_environment_name

RELEASE_PRODUCTION = "release-production"

#: the vendor's host names (contract §2)
HOSTS = {
    f"{service}{build_suffix}.auth{profile_suffix}.adobe.com": f"{build}-{profile}"
    for service in ("sp", "api", "mgmt", "console", "entitlement")
    for build, build_suffix in (("release", ""), ("prequal", "-prequal"))
    for profile, profile_suffix in (("production", ""), ("staging", "-staging"))
}


@lru_cache(maxsize=1024)
def environment_of_host(host: str, default: str) -> str:
    """Answer the environment of a `Host` header, with or without a port."""
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
