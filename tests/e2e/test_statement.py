"""
`temppass statement revoke` and `temppass client revoke` beside servers: what came from one statement, or one client, is
refused at the next request on each of them, and nothing else is.
"""

import json
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Folder, Server, Wire, identity

#: what token endpoint, decision and reset answer to whom all is well with, and to whom it has ended
GOOD = [(201, ""), (200, ""), (204, "")]
ENDED = [(400, "invalid_client"), (401, "invalid_access_token_client_application"), (403, "invalid_client")]


def answers(wire: Wire, server: Server) -> list[tuple[int, str]]:
    """Ask a server for another token; with the present one, which any server may have written, decide and reset."""
    form = {**wire.credentials, "grant_type": "client_credentials"}
    decide = f"{server.url}/api/v2/ACME1/decisions/authorize/Basic"
    reset = f"{server.url}/reset-tempass/v3/reset?requestor_id=ACME1&mvpd_id=Basic&device_id=tv"
    told = (
        wire.http.post(f"{server.url}/o/client/token", data=form),
        wire.http.post(decide, headers=identity("tv", ""), json={"resources": ["FILM-1"]}),
        wire.http.delete(reset),
    )
    return [(each.status_code, word(each.json() if each.content else {})) for each in told]


def word(body: dict[str, Any]) -> str:
    return str(body.get("error") or body.get("code") or "")


def mint(place: Folder, name: str) -> str:
    statement = place.temppass("statement", "mint", "ops").out
    (Path(place.path) / name).write_text(statement)
    return statement.strip()


def test_of_two_statements_one_ends_on_every_server_and_the_other_goes_on(place: Folder) -> None:
    """Each has a client at each server, with a token that was written there."""
    place.declare()
    servers = [place.serve() for _ in range(1 if place.database is None else 2)]
    statements = [mint(place, name) for name in ("leaked.jwt", "kept.jwt")]
    wires = [[Wire(server.url, statement) for server in servers] for statement in statements]

    def everywhere() -> list[list[list[tuple[int, str]]]]:
        return [[answers(wire, server) for wire in each for server in servers] for each in wires]

    before = everywhere()
    done = place.temppass("statement", "revoke", "ops", "--statement", "leaked.jwt")
    after = everywhere()
    listed = json.loads(place.temppass("statement", "list", "ops", "--json").out)
    asked = [{"software_statement": statement} for statement in statements]
    register = [wires[1][0].http.post(f"{server.url}/o/client/register", json=it) for it in asked for server in servers]
    for wire in (*wires[0], *wires[1]):
        wire.close()
    times = len(servers) ** 2
    assert (before, done.code, after) == ([[GOOD] * times] * 2, 0, [[ENDED] * times, [GOOD] * times])
    assert [each["clients"] for each in listed] == [len(servers)]
    assert [each.status_code for each in register] == [400] * len(servers) + [201] * len(servers)


def test_one_client_ends_on_every_server_and_another_of_its_statement_goes_on(place: Folder) -> None:
    """Whoever it was may register again."""
    place.declare()
    servers = [place.serve() for _ in range(1 if place.database is None else 2)]
    statement = mint(place, "statement.jwt")
    gone, kept = Wire(servers[0].url, statement), Wire(servers[-1].url, statement)
    told = [[answers(wire, server) for server in servers] for wire in (gone, kept)]
    done = place.temppass("client", "revoke", gone.credentials["client_id"])
    told += [[answers(wire, server) for server in servers] for wire in (gone, kept)]
    again = Wire(servers[-1].url, statement)
    told.append([answers(again, server) for server in servers])
    for wire in (gone, kept, again):
        wire.close()
    count = len(servers)
    assert (done.code, told) == (0, [[GOOD] * count, [GOOD] * count, [ENDED] * count, [GOOD] * count, [GOOD] * count])
