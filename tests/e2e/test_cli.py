"""
The command line in a stranger's hands: data on stdout, words on stderr, every mistake named with what to do next, and
a running server that honours what a command changed at its next decision.
"""

import asyncio
import select
import signal
import socket
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from tests.e2e.conftest import WAIT_S, surroundings

from temppass import cli
from temppass.core.act import Act, CatalogueApply, read_record
from temppass.core.catalogue_file import parse
from temppass.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from tests.e2e.conftest import Certificate, Folder

OTHER_SECRET = {"TEMPPASS_SECRET": "another secret, and a long one too"}
MISTAKES = """
[[channel]]
id = "ACME1"
programmer = "nobody"

[[pass]]
id = "Basic"
kind = "basic"
ttl = "half an hour"
channels = ["ACME1", "ACME9"]
colour = "blue"
"""


@pytest.fixture(scope="module")
def settled(shared: "Folder", certificate: "Certificate") -> "Folder":
    """A folder with a store, and with files to make mistakes with."""
    shared.declare()
    (shared.path / "mistakes.toml").write_text(MISTAKES)
    (shared.path / "latin.toml").write_bytes("# für alle\n".encode("latin-1"))
    (shared.path / "half.toml").write_text("[[pass]\n")
    (shared.path / "cert.pem").write_bytes(certificate.chain.read_bytes())
    return shared


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("statement mint nobody", 1, ["no application 'nobody' (it has: ops)", "hint: "]),
        ("statement mint ops --environment elsewhere", 1, ["'elsewhere'", "it has: none"]),
        ("statement revoke nobody", 1, ["no application 'nobody' (it has: ops)", "hint: "]),
        ("statement mint", 2, ["APPLICATION"]),
        ("statement mint ops --expires soon", 2, ["--expires"]),
        ("statement list nobody", 1, ["no application 'nobody' (it has: ops)", "hint: "]),
        (
            "statement revoke ops --statement nothing",
            1,
            ["no statement 'nothing'", "hint: `temppass statement list ops"],
        ),
        ("client list nobody", 1, ["no application 'nobody' (it has: ops)", "hint: "]),
        ("client revoke nobody", 1, ["no client 'nobody'", "hint: `temppass client list"]),
        ("catalogue show --environment No_Name", 2, ["--environment 'No_Name'", "use a-z"]),
        ("catalogue plan missing.toml", 2, ["missing.toml", "No such file"]),
        ("catalogue apply missing.toml", 2, ["missing.toml", "No such file"]),
        ("catalogue apply latin.toml", 1, ["latin.toml is not UTF-8", "hint: "]),
        ("catalogue apply half.toml", 1, ["half.toml: not TOML", "line 1"]),
        ("store check --store bogus:x", 1, ["'bogus'", "use memory:"]),
        ("store check --store sqlite:///", 1, ["sqlite:/// names no file"]),
        ("store migrate --store sqlite:///no/such/folder.db", 1, ["no/such/folder.db", "No such file"]),
        ("store migrate --slots 2", 2, ["--slots says into how many parts --citus"]),
        ("store migrate --citus", 1, ["only PostgreSQL with Citus can be spread"]),
        ("store check --store sqlite:///latin.toml", 1, ["latin.toml", "not a database", "hint: "]),
        ("serve --trusted-proxy 10.0.0.0/33", 2, ["--trusted-proxy", "10.0.0.0/33", "write an address"]),
        ("serve --trusted-proxy 0.0.0.0/0", 2, ["--trusted-proxy", "0.0.0.0/0 is everybody"]),
        ("serve --port 65536", 2, ["--port", "65536"]),
        ("serve --workers 2", 1, ["one process", "hint: "]),
        ("serve --host 192.0.2.1 --port 0", 1, ["cannot listen on 192.0.2.1:0", "Cannot assign"]),
        ("serve --tls-cert cert.pem", 2, ["--tls-cert and --tls-key go together"]),
        ("serve --tls-key cert.pem", 2, ["--tls-cert and --tls-key go together"]),
        ("serve --tls-cert cert.pem --tls-key latin.toml", 1, ["cannot use cert.pem with latin.toml", "hint: "]),
        ("serve --tls-cert cert.pem --tls-key missing.pem", 2, ["--tls-key", "missing.pem"]),
        ("bogus", 2, ["No such command 'bogus'"]),
    ],
)
def test_a_mistake_is_named_on_stderr_alone(settled: "Folder", command: str, code: int, words: list[str]) -> None:
    done = settled.temppass(*command.split())
    assert (done.code, done.out, [word for word in words if word not in done.err]) == (code, "", []), done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["store check", "statement mint ops", "serve --port 0"])
def test_a_secret_that_does_not_open_the_keys_is_told_at_once(settled: "Folder", command: str) -> None:
    done = settled.temppass(*command.split(), **OTHER_SECRET)
    assert (done.code, done.out, done.err.splitlines()) == (
        1,
        "",
        [
            "error: the keys of environment 'release-production' were stored under another TEMPPASS_SECRET",
            "hint: set the secret that the store is sealed under",
        ],
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TEMPPASS_SECRET", "short"),
        ("TEMPPASS_ENVIRONMENT", "No Name"),
        ("TEMPPASS_ACCESS_TOKEN_SECONDS", "six hours"),
        ("TEMPPASS_MEDIA_ALGORITHM", "none"),
        ("TEMPPASS_AUDIT_DAYS", "0"),
        ("TEMPPASS_STORE", "bogus:x"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(settled: "Folder", variable: str, value: str) -> None:
    done = settled.temppass("store", "check", **{variable: value})
    named = variable if variable != "TEMPPASS_STORE" else "'bogus'"
    assert (done.code, done.out, named in done.err, done.err.count("\n")) == (1, "", True, 1)


def test_every_mistake_of_a_catalogue_is_told_at_once_and_nothing_is_applied(settled: "Folder") -> None:
    before = settled.temppass("catalogue", "show")
    done = settled.temppass("catalogue", "apply", "mistakes.toml")
    told = {tuple(line.split(": ")[:3]) for line in done.err.splitlines()[1:]}
    assert (done.code, done.out, settled.temppass("catalogue", "show")) == (1, "", before)
    assert told == {
        ("mistakes.toml", "channel ACME1", "programmer"),
        ("mistakes.toml", "pass Basic", "ttl"),
        ("mistakes.toml", "pass Basic", "channels"),
        ("mistakes.toml", "pass Basic", "colour"),
    }


def test_a_catalogue_is_planned_applied_and_shown_as_it_was_written(folder: "Folder") -> None:
    empty = folder.temppass("catalogue", "show")
    folder.declare()
    (folder.path / "copy.toml").write_text(folder.temppass("catalogue", "show").out)
    written, copied = ((folder.path / name).read_text() for name in ("catalogue.toml", "copy.toml"))
    assert (empty.out, parse(copied, "it") == parse(written, "it")) == ("", True)
    assert folder.temppass("catalogue", "plan", "copy.toml") == (0, "", "no differences\n")

    (folder.path / "copy.toml").write_text(copied.replace('"30m"', '"10m"'))
    planned = folder.temppass("catalogue", "plan", "copy.toml")
    applied = folder.temppass("catalogue", "apply", "copy.toml", "--description", "shorter")
    again = folder.temppass("catalogue", "apply", "copy.toml")
    assert (planned.out, planned.err, planned.out.count("Basic")) == (applied.out, "", 1)
    assert (applied.err, again) == ("version 2 holds\n", (0, "", "no differences\nversion 2 holds\n"))
    (basic, _) = tomllib.loads(folder.temppass("catalogue", "show").out)["pass"]
    assert basic["ttl"] == "10m"


async def _acts(path: Path) -> list[Act]:
    store = SqliteStore(path)
    try:
        return [read_record(document).act for document in await store.unsealed("release-production", 10)]
    finally:
        await store.close()


def test_what_was_applied_and_why_is_in_the_audit_trail(folder: "Folder") -> None:
    folder.declare()
    (folder.path / "catalogue.toml").write_text("")
    folder.temppass("catalogue", "apply", "catalogue.toml", "--description", "the end")
    acts = asyncio.run(_acts(folder.path / "temppass.db"))
    assert [(act.version, act.description, act.differences[0]) for act in acts if isinstance(act, CatalogueApply)] == [
        (1, "", "+ programmer acme"),
        (2, "the end", "- programmer acme"),
    ]


def test_a_catalogue_may_come_from_stdin(folder: "Folder") -> None:
    assert "+ programmer acme" in folder.bash(
        f"printf '[[programmer]]\\nid = \"acme\"\\n' | {folder.command} catalogue apply -"
    )


def test_minting_prints_the_statement_and_nothing_else(settled: "Folder") -> None:
    done = settled.temppass("statement", "mint", "ops")
    assert (done.code, done.out.count("."), done.out.count("\n"), done.err[:10]) == (0, 2, 1, "statement ")


def test_the_store_may_be_migrated_and_checked_at_any_time(folder: "Folder") -> None:
    commands = [("store", "migrate"), ("store", "migrate"), ("store", "check")]
    assert [folder.temppass(*command) for command in commands] == [
        (0, "", "the schema is up to date\n"),
        (0, "", "the schema is up to date\n"),
        (0, "", "good; environments: none yet\n"),
    ]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:hush@{address}/preview?sslmode=disable", "{address}/preview"),
        ("postgresql:///preview?user=me&password=hush&sslmode=disable&host={host}&port={port}", "{address}/preview"),
    ],
)
def test_a_migration_says_what_it_waits_for_and_goes_on(folder: "Folder", url: str, place: str) -> None:
    """The database takes connections and says nothing until it goes away, as one that was frozen."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        names = {"host": host, "port": port, "address": f"{host}:{port}"}
        command = [sys.executable, "-m", "temppass.cli", "store", "migrate", "--store", url.format(**names)]
        variables = surroundings(folder.path, OTHER_SECRET)
        with subprocess.Popen(command, env=variables, cwd=folder.path, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said, still = "", ""
            if select.select([process.stderr], [], [], WAIT_S)[0]:
                said, still = process.stderr.readline(), str(process.poll())
            process.send_signal(signal.SIGINT)
            code, rest = process.wait(WAIT_S), process.stderr.read().strip()
    why = "it does not answer, or is busy with this or another migration"
    told = f"waiting for {place.format(**names)}: {why} (Ctrl-C gives up and changes nothing)\n"
    assert (said, still, code, rest) == (told, "None", 130, "")


def test_the_secret_of_an_embedded_store_is_for_its_owner_only(settled: "Folder") -> None:
    file = settled.path / "temppass.db.secret"
    assert (stat.S_IMODE(file.stat().st_mode), len(file.read_bytes())) == (0o600, 64)


def test_a_running_server_honours_a_revocation_at_its_next_decision(folder: "Folder") -> None:
    folder.declare()
    wire = folder.application(folder.serve())
    before = wire.authorize("tv", "FILM-1").status_code
    done = folder.temppass("statement", "revoke", "ops")
    after = [wire.authorize("tv", "FILM-1").status_code, wire.reset("Basic", device_id="tv")]
    form = {**wire.credentials, "grant_type": "client_credentials"}
    refused = wire.http.post("/o/client/token", data=form)
    assert (before, done.code, done.out, after, refused.json()["error"]) == (200, 0, "", [401, 403], "invalid_client")


def test_a_running_server_honours_a_catalogue_at_its_next_decision(folder: "Folder") -> None:
    folder.declare()
    wire = folder.application(folder.serve())
    before = wire.decide("tv-1", "FILM-1")
    declared = (folder.path / "catalogue.toml").read_text()
    folder.declare(
        declared.replace('"30m"\nchannels = ["ACME1"]', '"30m"\nchannels = [{ id = "ACME1", enabled = false }]')
    )
    refused = wire.authorize("tv-2", "FILM-1").json()
    folder.declare(declared.replace('"30m"', '"10m"'))
    shorter = wire.decide("tv-2", "FILM-1")
    assert (refused["code"], shorter["notAfter"] - shorter["notBefore"]) == ("invalid_integration", 600_000)
    assert wire.decide("tv-1", "FILM-1")["notAfter"] == before["notAfter"]


def test_environments_do_not_know_each_other(folder: "Folder") -> None:
    folder.declare()
    done = folder.temppass("catalogue", "apply", "catalogue.toml", "--environment", "qa-1")
    server = folder.serve()
    wire = folder.application(server)
    foreign = wire.http.get("/api/v2/ACME1/configuration", headers={"Host": "qa-1.localhost"})
    known = folder.temppass("store", "check").err
    assert (done.code, foreign.status_code, known) == (0, 401, "good; environments: qa-1, release-production\n")


def test_a_port_in_use_is_an_error_with_a_way_out(folder: "Folder") -> None:
    server = folder.serve()
    done = folder.temppass("serve", "--port", str(server.port), "--store", "memory:")
    assert (done.code, done.out, done.err.splitlines()) == (
        1,
        "",
        [
            f"error: cannot listen on 127.0.0.1:{server.port}: Address already in use",
            "hint: stop what listens there, or try --port 0",
        ],
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_asked_to_stop_says_nothing_more(folder: "Folder", number: int) -> None:
    server = folder.serve()
    assert (server.end(number), server.out, server.log.decode()) == (0, "", f"listening on {server.url}\n")


def test_a_server_that_stops_is_not_cut_off_by_another_signal(folder: "Folder") -> None:
    """It still has to bring to the store what it counted, and to say that it serves no more."""
    assert folder.serve().insist() == 0


def test_a_request_under_way_is_finished_before_the_server_stops(folder: "Folder") -> None:
    server = folder.serve()
    body = b'{"software_statement":"none"}'
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST /o/client/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        begun = connection.recv(100)  # the server waits for the body now
        server.send(signal.SIGTERM)
        assert any(not listens(server.port) for _ in range(20_000))
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert (begun[:12], answer[:12], b"invalid_software_statement" in answer) == (
        b"HTTP/1.1 100",
        b"HTTP/1.1 400",
        True,
    )
    assert server.end() == 0


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionError:  # refused, or reset where it closes at this moment
        return False
    return True


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    return [path] + [
        name
        for word, command in group.commands.items()
        for name in (commands(command, *path, word) if isinstance(command, click.Group) else [(*path, word)])
    ]


@pytest.mark.parametrize("command", commands(cli.temppass), ids=" ".join)
def test_the_help_of_every_command_shows_how_to_call_it(settled: "Folder", command: tuple[str, ...]) -> None:
    done = settled.temppass(*command, "--help")
    example = "  " + " ".join(["temppass", *command])
    assert (done.code, done.err, [line for line in done.out.splitlines() if line.startswith(example)] != []) == (
        0,
        "",
        True,
    )


def test_a_reader_that_goes_away_is_no_bug(settled: "Folder") -> None:
    printed = settled.bash(
        f"{settled.command} catalogue show 2>&1 | head -n 1; {settled.command} --help 2>&1 | true; echo end"
    )
    assert (printed.splitlines()[-1], "Traceback" in printed) == ("end", False)
