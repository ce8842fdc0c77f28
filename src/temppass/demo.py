"""
What `temppass serve --demo` adds: a catalogue with the documented ids in each of the vendor's four environments, an
operator, a viewer who has been denied, and a walk through the wire to paste into a shell.
"""

import base64
import hashlib
import json
from importlib import resources
from typing import NamedTuple

from temppass.core.act import ByShell
from temppass.core.catalogue import EMPTY
from temppass.core.catalogue_file import parse
from temppass.core.oauth import RegistrationRequest, TokenRequest
from temppass.core.operator import Role
from temppass.service import Service
from temppass.service.context import Caller
from temppass.service.decisions import Viewer
from temppass.service.operators import NewOperator

ENVIRONMENTS = ("release-production", "release-staging", "prequal-production", "prequal-staging")
APPLICATION = OPERATOR = "demo"
#: how long what it prints registers, in milliseconds: each start prints another
STATEMENT_MS = 90 * 86_400_000
#: who has watched the two free titles of a pass, and asked for a third
CHANNEL, PASS, TITLES = "REF", "flexibleTempPass", ("FILM-1", "FILM-2", "FILM-3")
EMAIL, DEVICE = "viewer@example.com", b"kitchen-tv"

_DEMO = ByShell("demo")


class Prepared(NamedTuple):
    """A software statement of the demo application, and the token of an operator; each start makes others."""

    statement: str
    operator_token: str


async def prepare(service: Service, environment: str) -> Prepared:
    """Apply the demo catalogue where there is none yet, and have somebody denied, in `environment`."""
    source = resources.files("temppass") / "demo.toml"
    catalogue = parse(source.read_text("utf-8"), source.name)
    for name in dict.fromkeys([*ENVIRONMENTS, environment]):
        if await service.catalogues.catalogue(name) == EMPTY:
            await service.catalogues.apply(name, catalogue, "demo", _DEMO)
    ends_at = service.context.clock() + STATEMENT_MS
    statement = (await service.statements.mint(environment, APPLICATION, _DEMO, ends_at)).statement
    if any(each.name == OPERATOR and not each.revoked for each in await service.operators.everyone()):
        await service.operators.revoke_here(OPERATOR, _DEMO)
    operator = await service.operators.create_here(NewOperator(OPERATOR, Role.ADMIN), _DEMO)
    await _watch(service, environment, statement)
    return Prepared(statement, operator.token)


async def _watch(service: Service, environment: str, statement: str) -> None:
    """Ask for one title after the other, as an application does."""
    client = await service.credentials.register(environment, RegistrationRequest(statement, None))
    request = TokenRequest(client.client_id, client.client_secret, frozenset())
    token = (await service.credentials.issue_token(environment, request)).access_token
    identity = {"email": hashlib.sha256(EMAIL.encode()).hexdigest()}
    viewer = Viewer(DEVICE, base64.b64encode(json.dumps(identity).encode()).decode())
    for title in TITLES:
        await service.decisions.authorize(Caller(environment, token, CHANNEL), PASS, (viewer, (title,)))


def walk(url: str, prepared: Prepared, console: str | None, curl: str = "curl -s") -> str:
    """
    Write the whole walk as shell commands: register, token, permit, deny, reset, permit; and where the console is, if
    it is anywhere.
    """
    script = (resources.files("temppass") / "demo.sh").read_text("utf-8")
    for name, value in {"@STATEMENT@": prepared.statement, "@URL@": url, "@CURL@": curl}.items():
        script = script.replace(name, value)
    if console is None:
        return script
    return f"""{script}
# The console: {console}/console, where this operator token signs in. Somebody there was denied: {EMAIL}
# {prepared.operator_token}
"""
