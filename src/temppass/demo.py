"""
What `temppass serve --demo` adds: a catalogue with the documented ids in each of the vendor's four environments, and
a walk through the wire to paste into a shell.
"""

from importlib import resources

from temppass.core.act import ByShell
from temppass.core.catalogue import EMPTY
from temppass.core.catalogue_file import parse
from temppass.service import Service

ENVIRONMENTS = ("release-production", "release-staging", "prequal-production", "prequal-staging")
APPLICATION = "demo"
#: how long what it prints registers, in milliseconds: each start prints another
STATEMENT_MS = 90 * 86_400_000


async def prepare(service: Service, environment: str) -> str:
    """Apply the demo catalogue where there is none yet; answer a software statement of `environment`."""
    source = resources.files("temppass") / "demo.toml"
    catalogue = parse(source.read_text("utf-8"), source.name)
    for name in dict.fromkeys([*ENVIRONMENTS, environment]):
        if await service.catalogues.catalogue(name) == EMPTY:
            await service.catalogues.apply(name, catalogue, "demo", ByShell("demo"))
    ends_at = service.context.clock() + STATEMENT_MS
    return (await service.statements.mint(environment, APPLICATION, ByShell("demo"), ends_at)).statement


def walk(url: str, statement: str, curl: str = "curl -s") -> str:
    """Write the whole walk as shell commands: register, token, permit, deny, reset, permit."""
    script = (resources.files("temppass") / "demo.sh").read_text("utf-8")
    for name, value in {"@STATEMENT@": statement, "@URL@": url, "@CURL@": curl}.items():
        script = script.replace(name, value)
    return script
