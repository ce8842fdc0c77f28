"""
The walk of a support agent from a shell: denied, explained, reset, permitted, taken back, on record; and nothing of
the viewer stays behind.
"""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx2
from tests.e2e.conftest import TITLES_MAX, WAIT_S
from tests.e2e.test_privacy import forms

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder, Server

DEVICE, EMAIL = "tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02", "anna@viewers.example"
VIEWER = ("--device", DEVICE, "--email", EMAIL)


def test_a_denied_viewer_is_explained_reset_and_denied_again_and_all_of_it_is_on_record(place: "Folder") -> None:
    place.declare()
    server = place.serve(TEMPPASS_LOG_REQUESTS="1")
    sign_in = f"""
        temppass() {{ {place.command} "$@"; }}
        temppass operator create ann --role support | tee ann.token |
            temppass login --profile desk --operator --url {server.url} --requestor ACME1 --mvpd Promo --default
        echo "signed in"
    """
    assert place.bash(sign_in) == "signed in\n"
    token = (place.path / "ann.token").read_text().strip()
    (place.path / "ann.token").unlink()
    wire = place.application(server)

    def watches(title: str) -> bool:
        return bool(wire.decide(DEVICE, title, "Promo", EMAIL)["authorized"])

    watched = [watches(f"FILM-{number}") for number in range(TITLES_MAX + 1)]
    denied = desk(place, "explain", *VIEWER)["explanations"][0]
    (done,) = desk(place, "reset", *VIEWER, "--reason", "ticket 7")
    permitted = watches("ANOTHER")
    hindered = place.temppass("undo", done["reset_id"], "--reason", "wrong viewer")
    undone = desk(place, "undo", done["reset_id"], "--reason", "wrong viewer", "--replace")
    again = watches("ANOTHER")
    acts = desk(place, "acts", *VIEWER)
    verified = place.temppass("audit", "verify")
    told = [(act["id"], act["kind"], act["actor"], act["reason"]) for act in acts]
    assert (watched, denied["code"], permitted, again) == (
        [True] * TITLES_MAX + [False],
        "temporary_access_resources_limit_exceeded",
        True,
        False,
    )
    assert denied["because"].startswith("The 3 titles of the trial are used up")
    assert (done["matched"], hindered.code, "--replace" in hindered.err) == (2, 1, True)
    assert told == [
        (undone["id"], "undo", "operator:ann", "wrong viewer"),
        (done["reset_id"], "reset", "operator:ann", "ticket 7"),
    ]
    assert (verified.code, verified.err) == (0, "")
    # the one file that is to keep it, of the one who signed in
    assert left_behind(place, server, token) == {("token", "desk.token")}


def desk(place: "Folder", *arguments: str) -> Any:
    """Run a command of the desk and read what it prints as JSON."""
    done = place.temppass(*arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def left_behind(place: "Folder", server: "Server", token: str) -> set[tuple[str, str]]:
    """Tell what names the viewer, or lets somebody act, and where that is."""
    kept = {"arguments": Path(f"/proc/{server.pid}/cmdline").read_bytes()}
    server.end()
    kept |= {"log": server.log, "tables": tables(place)}
    kept |= {file.name: file.read_bytes() for file in place.path.rglob("*") if file.is_file()}
    assert b'"/control/v1/environments/release-production/explain"' in kept["log"]
    viewer = {form: name for name in (DEVICE, EMAIL) for form in forms(name.encode())}
    found = {(name, where) for form, name in viewer.items() for where, held in kept.items() if form in held}
    return found | {("token", where) for where, held in kept.items() if token.encode() in held}


def tables(place: "Folder") -> bytes:
    """Answer every row of every table, where the database is no file."""

    async def read(url: str) -> bytes:
        connection = await asyncpg.connect(url)
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'temppass'")
        rows = [
            row["held"]
            for (name,) in names
            for row in await connection.fetch(f"SELECT t::text AS held FROM temppass.{name} t")
        ]
        await connection.close()
        assert any("reset" in row for row in rows)
        return "\n".join(rows).encode()

    return asyncio.run(read(place.database)) if place.database else b""


# --- a token that is good no more


def test_a_revoked_token_is_good_on_no_server_and_ends_its_stream_on_the_other(cluster: "Folder") -> None:
    cluster.declare()
    tokens = [
        cluster.temppass("operator", "create", name, "--role", role).out.strip()
        for name, role in (("eve", "viewer"), ("root", "admin"))
    ]
    eve, root = ({"Authorization": f"Bearer {token}"} for token in tokens)
    one, other = cluster.serve().url, cluster.serve().url
    with httpx2.Client(trust_env=False, timeout=WAIT_S) as http:

        def told() -> list[int]:
            return [http.get(f"{url}/control/v1/whoami", headers=eve).status_code for url in (one, other)]

        before = told()
        stream = f"{other}/control/v1/environments/release-production/events"
        with http.stream("GET", stream, headers=eve) as heard:
            lines = heard.iter_lines()
            next(lines)  # it has begun
            revoked = http.delete(f"{one}/control/v1/operators/eve", headers=root).status_code
            after = told()
            said = "".join(lines)  # until it ends, within 5 s; a test that hangs fails
    assert (before, revoked, after, "event: act" in said) == ([200, 200], 200, [401, 401], False)
