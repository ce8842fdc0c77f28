"""
`temppass statement` and `temppass client`, on a store and with an operator's profile, beside a server: each way does
and says the same.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from click.testing import CliRunner
from tests.test_tidy import ROOT, blocks
from tests.web.test_control_applications import older_statement

from temppass.cli import temppass
from temppass.failure import Failure
from temppass.testing import Double, serving

SECRET = "s" * 32
CATALOGUE = 'application = [{ id = "ops", channels = "all", scopes = ["api:client:v2"] }]'


class Ran(NamedTuple):
    code: int
    out: str
    said: str


def run(*arguments: str, stdin: str | None = None) -> Ran:
    result = CliRunner().invoke(temppass, arguments, input=stdin)
    error = result.exception
    if isinstance(error, Failure):
        return Ran(error.code, result.stdout, f"{result.stderr}{error}\n{error.hint}")
    assert error is None or isinstance(error, SystemExit), result.exc_info
    return Ran(result.exit_code, result.stdout, result.stderr)


class Shell:
    """A command line beside a server, which acts there by `way`."""

    def __init__(self, double: Double, folder: Path, way: tuple[str, str]) -> None:
        self.double = double
        self.folder = folder
        self._way = way

    def run(self, *arguments: str) -> Ran:
        return run(*arguments, *self._way)

    def mint(self, *more: str) -> tuple[str, str]:
        """Answer a new statement, which is in a file of that name too, and its id."""
        done = self.run("statement", "mint", "ops", *more)
        (id_,) = re.findall(r"^statement ([0-9a-f-]{36})", done.said)
        (self.folder / f"{id_}.jwt").write_text(done.out)
        return done.out.strip(), id_

    def statements(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("statement", "list", "ops", "--json").out)
        return found

    def registers(self, statement: str) -> bool:
        return _registers(self.double, statement)


@pytest.fixture(params=["store", "profile"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("TEMPPASS_SECRET", SECRET)
    store = f"sqlite:///{tmp_path}/store.db"
    with serving(CATALOGUE, store=store, TEMPPASS_SECRET=SECRET) as double:
        login = ("login", "--profile", "desk", "--url", double.url, "--operator")
        assert run(*login, stdin=double.operator("root", "admin")).code == 0
        way = ("--store", store) if request.param == "store" else ("--profile", "desk")
        yield Shell(double, tmp_path, way)


def test_minting_prints_the_statement_alone_and_says_its_id(shell: Shell) -> None:
    done = shell.run("statement", "mint", "ops", "--expires", "90d")
    (id_, until) = re.fullmatch(r"statement ([0-9a-f-]{36}), good until (\S+Z)\n", done.said).groups()  # type: ignore[union-attr]
    (listed,) = shell.statements()
    assert (shell.registers(done.out.strip()), done.out.count("\n"), listed["id"]) == (True, 1, id_)
    assert (listed["ends_at"] - listed["minted_at"]) // 3_600_000 in {90 * 24, 90 * 24 - 1}
    assert shell.run("statement", "list", "ops").out.split()[-3] == until


def test_statements_are_listed_with_their_clients(shell: Shell) -> None:
    minted = [shell.mint() for _ in range(2)]
    told = [shell.registers(minted[1][0]), shell.registers(shell.double._run(older_statement(shell.double)))]
    listed = [(each["id"], each["clients"]) for each in shell.statements()]
    shown = shell.run("statement", "list", "ops").out.splitlines()
    assert (told, listed) == ([True, True], [("older", 1), (minted[0][1], 0), (minted[1][1], 1)])
    assert (shown[0].split(), shown[1].split()) == (
        ["STATEMENT", "MINTED", "BY", "UNTIL", "LAST", "USE", "CLIENTS"],
        ["older", "-", "-", "-", "-", "1"],
    )


@pytest.mark.parametrize("by", ["id", "file", "older", "all"])
def test_as_much_is_revoked_as_was_named(shell: Shell, by: str) -> None:
    older, (kept, _), (gone, id_) = shell.double._run(older_statement(shell.double)), shell.mint(), shell.mint()
    named = {"id": id_, "file": str(shell.folder / f"{id_}.jwt"), "older": "older"}
    done = shell.run("statement", "revoke", "ops", *(("--statement", named[by]) if by in named else ()))
    left = {"id": [True, True, False], "file": [True, True, False], "older": [False, True, True], "all": [False] * 3}
    assert (done.code, done.out, [shell.registers(each) for each in (older, kept, gone)]) == (0, "", left[by])


@pytest.mark.parametrize(
    ("which", "code", "words"),
    [
        ("nobody's", 1, ["'ops' has no statement", "temppass statement list ops"]),
        ("", 2, ["--statement is empty"]),
        ("no/such.jwt", 1, ["cannot read no/such.jwt"]),
        ("older.jwt", 2, ["of before statements were listed", "temppass statement revoke ops --statement older"]),
        ("eyJ.eyJ.x", 2, ["takes no statement", "history"]),
        ("no.jwt", 1, ["no.jwt holds no software statement"]),
    ],
)
def test_what_names_no_statement_ends_none(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, which: str, code: int, words: list[str]
) -> None:
    monkeypatch.chdir(shell.folder)
    Path("older.jwt").write_text(shell.double._run(older_statement(shell.double)))
    Path("no.jwt").write_text("no statement")
    statement, _ = shell.mint()
    done = shell.run("statement", "revoke", "ops", "--statement", which)
    assert (done.code, [word for word in words if word not in done.said]) == (code, []), done.said
    assert shell.registers(statement)


def test_a_statement_of_another_application_is_not_revoked_by_mistake(shell: Shell) -> None:
    shell.double.apply(CATALOGUE.replace("]\n", "").replace("}]", '}, { id = "two", channels = "all", scopes = [] }]'))
    statement, id_ = shell.mint()
    done = shell.run("statement", "revoke", "two", "--statement", id_)
    assert (done.code, "'two' has no statement" in done.said, shell.registers(statement)) == (1, True, True)


def test_a_client_is_listed_and_ended_alone(shell: Shell) -> None:
    statement, id_ = shell.mint()
    shell.registers(statement), shell.registers(statement)
    found = json.loads(shell.run("client", "list", "ops", "--statement", id_, "--json").out)
    done = shell.run("client", "revoke", found[0]["id"])
    again = shell.run("client", "revoke", found[0]["id"])
    left = shell.run("client", "list", "ops").out.splitlines()
    told = (done.code, again.code, "There is no client" in again.said, "client list" in again.said)
    assert (len(found), {each["statement"] for each in found}, told[:3]) == (2, {id_}, (0, 1, True))
    assert [line.split()[0] for line in left] == ["CLIENT", found[1]["id"]]


def test_what_an_application_lacks_is_said(shell: Shell) -> None:
    told = [shell.run(*command, "ops") for command in (("statement", "list"), ("client", "list"))]
    assert [(each.code, each.out, each.said) for each in told] == [
        (0, "", "ops has no statement\n"),
        (0, "", "no client may ask for tokens\n"),
    ]


def test_what_is_not_there_is_said_with_what_to_look_at(shell: Shell) -> None:
    commands = (("statement", "list", "nobody"), ("statement", "revoke", "nobody"), ("client", "revoke", "nobody"))
    told = [shell.run(*command) for command in commands]
    assert [(each.code, "'nobody'" in each.said, "passes of a channel" in each.said) for each in told] == [
        (1, True, False)
    ] * 3


def test_a_store_and_a_profile_are_two_places() -> None:
    done = run("statement", "list", "ops", "--store", "memory:", "--profile", "desk")
    assert (done.code, "give one of them" in done.said) == (2, True)


@pytest.mark.parametrize("empty", ["--profile", "--environment"])
def test_a_variable_that_is_unset_is_no_place(shell: Shell, empty: str) -> None:
    """Not the default profile, nor the profile's own environment."""
    statement, _ = shell.mint()
    others = () if empty == "--profile" else ("--profile", "desk")
    done = run("statement", "revoke", "ops", *others, empty, "")
    assert (done.code, f"{empty} is empty" in done.said, shell.registers(statement)) == (2, True, True)


# --- the double


def test_a_double_ends_one_statement_of_two_and_one_at_its_time() -> None:
    now = 1_767_261_600_000
    with serving(CATALOGUE, now=now) as double:
        given = [double.mint("ops"), double.mint("ops"), double.mint("ops", ends_at=now + 1000)]
        told = [[_registers(double, each) for each in given]]
        double.revoke("ops", statement=given[0])
        double.clock.advance(1000)
        told.append([_registers(double, each) for each in given])
        double.revoke("ops")
        told.append([_registers(double, each) for each in given])
    assert told == [[True, True, True], [False, True, False], [False, False, False]]


# --- docs/incidents.md

_ID = r"[0-9a-f]{8}-[0-9a-f-]{27}"


def test_the_page_on_leaks_is_a_walk_that_can_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command in its order; the ids of the page are those of two clients."""
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.delenv("TEMPPASS_SECRET", raising=False)
    monkeypatch.setenv("TEMPPASS_STORE", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.chdir(tmp_path)
    script = "\n".join(blocks(ROOT / "docs" / "incidents.md", "sh"))
    lines, codes = [line for line in script.splitlines() if line], []
    with serving(CATALOGUE, store=f"sqlite:///{tmp_path}/store.db") as double:
        login = ("login", "--profile", "desk", "--url", double.url, "--operator")
        assert run(*login, stdin=double.operator("root", "admin")).code == 0
        double.operator("anna", "support")
        statement, leaked = double.mint("ops"), double.mint("ops")
        Path("leaked.jwt").write_text(leaked)
        clients = [_client(double, each) for each in (leaked, statement, statement)]
        Path("token.jwt").write_text(_token(double, clients[2]))
        ids = dict(
            zip(dict.fromkeys(re.findall(_ID, script)), (each["client_id"] for each in clients[1:]), strict=True)
        )
        for line in lines:
            command, _, file = re.sub(_ID, lambda found: ids[found[0]], line).partition(" > ")
            done = run(*shlex.split(command)[1:])
            codes.append((line, done.code, done.said if done.code else ""))
            if file:
                Path(file).write_text(done.out)
            if "--statement leaked.jwt" in line and "revoke" in line:
                assert (_registers(double, leaked), _registers(double, statement)) == (False, True)
        assert _registers(double, Path("fresh.jwt").read_text().strip())
    assert codes == [(line, 0, "") for line in lines]


def _registers(double: Double, statement: str) -> bool:
    return "client_id" in _client(double, statement)


def _client(double: Double, statement: str) -> dict[str, str]:
    asked = {"software_statement": statement}
    made: dict[str, str] = httpx2.post(f"{double.url}/o/client/register", json=asked).json()
    return made


def _token(double: Double, client: dict[str, str]) -> str:
    form = {"grant_type": "client_credentials", **{name: client[name] for name in ("client_id", "client_secret")}}
    token: str = httpx2.post(f"{double.url}/o/client/token", data=form).json()["access_token"]
    return token
