"""
What `temppass serve --demo` adds: a catalogue with the documented ids in each of the vendor's four environments, and
a walk through the wire to paste into a shell.
"""

from importlib import resources

from temppass.administration import Administration
from temppass.core.catalogue import EMPTY, parse

ENVIRONMENTS = ("release-production", "release-staging", "prequal-production", "prequal-staging")
APPLICATION = "demo"


async def prepare(administration: Administration, environment: str) -> str:
    """Apply the demo catalogue where there is none yet; answer a software statement of `environment`."""
    source = resources.files("temppass") / "demo.toml"
    catalogue = parse(source.read_text("utf-8"), source.name)
    for name in dict.fromkeys([*ENVIRONMENTS, environment]):
        if await administration.catalogue(name) == EMPTY:
            await administration.apply(name, catalogue, "demo")
    return await administration.mint(environment, APPLICATION)


def walk(url: str, statement: str, curl: str = "curl -s") -> str:
    """Write the whole walk as shell commands: register, token, permit, deny, reset, permit."""
    script = (resources.files("temppass") / "demo.sh").read_text("utf-8")
    for name, value in {"@STATEMENT@": statement, "@URL@": url, "@CURL@": curl}.items():
        script = script.replace(name, value)
    return script
