"""
The commands of an operator: what they send, show and refuse, against a service that is played by script.
"""

import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from tests.client.test_control import DIGEST, EXPLANATION, HASHED, IN, MOMENT, OPERATOR, RECORD

from temppass.cli import temppass
from temppass.failure import Failure
from temppass.testing import Double, serving

TOKEN = f"tpo_{'hush' * 8}"
DONE = {"id": "act-1", "matched": 1, "undo_until": MOMENT}
ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "/whoami": (200, OPERATOR),
    f"{IN}/explain": (200, EXPLANATION),
    f"{IN}/resets": (201, DONE),
    f"{IN}/grants": (201, DONE),
    f"{IN}/resets/act-1/undo": (201, DONE),
    f"{IN}/resets/act-2/undo": (409, {"status": 409, "code": "new_trial", "detail": "Begun since."}),
    f"{IN}/acts/search": (200, {"records": [RECORD, {**RECORD, "reason": "=1+1"}], "next": None}),
}


class Ran(NamedTuple):
    code: int
    out: str
    said: str


class Desk:
    """A service that answers by path and keeps what it was asked, and a command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, Any, str, str]] = []
        #: what is answered before ANSWERS
        self.next: list[tuple[int, dict[str, Any]]] = []
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.removeprefix("/control/v1")
                body = json.loads(raw) if raw else None
                desk.asked.append((path, body, self.headers["Authorization"], self.headers.get("Idempotency-Key", "")))
                none = (404, {"code": "not_found", "detail": "There is none."})
                status, document = desk.next.pop(0) if desk.next else ANSWERS.get(path, none)
                answer = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST  # noqa: N815 - as above

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def run(self, *arguments: str, stdin: str | None = None) -> Ran:
        result = CliRunner().invoke(temppass, arguments, input=stdin)
        error = result.exception
        if isinstance(error, Failure):
            return Ran(error.code, result.stdout, f"{result.stderr}{error}\n{error.hint}")
        assert error is None or isinstance(error, SystemExit), result.exc_info
        return Ran(result.exit_code, result.stdout, result.stderr)

    def login(self, *more: str) -> Ran:
        return self.run("login", "--profile", "desk", "--url", self.url, "--operator", *more, stdin=f"{TOKEN}\n")

    @property
    def bodies(self) -> list[tuple[str, Any]]:
        return [(path, body) for path, body, *_ in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def known(desk: Desk) -> Desk:
    """A desk whose operator has logged in for one pass."""
    desk.login("--requestor", "REF", "--mvpd", "P", "--default")
    desk.asked.clear()
    return desk


# --- who one is


def test_a_token_is_tried_and_kept_for_its_owner_alone(desk: Desk) -> None:
    done = desk.login()
    (kept,) = desk.folder.rglob("*.token")
    assert (done.code, "the token is taken: anna, support" in done.said) == (0, True)
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == (TOKEN, 0o600)
    told = (done.out, done.said, (kept.parent.parent / "profiles.toml").read_text())
    assert [text for text in told if TOKEN in text] == []


def test_a_token_comes_from_a_file_too_but_never_from_the_command_line(desk: Desk) -> None:
    (desk.folder / "anna.token").write_text(TOKEN)
    from_file = desk.login("--token-file", str(desk.folder / "anna.token"))
    typed = desk.login("--token-file", TOKEN)
    assert (from_file.code, typed.code, TOKEN in typed.said, "revoked" in typed.said) == (0, 2, False, True)


@pytest.mark.parametrize(
    "more",
    [
        ["--operator", "--environment", "release-staging"],
        ["--operator", "--url", "http://a", "--statement-file", "f"],
        ["--url", "http://a", "--token-file", "f"],
        ["--url", "http://a", "--in", "qa"],
        ["--url", "http://a", "--operator", "--in", ""],
        ["--url", "http://a", "--operator", "--in", "No Name", "--show-request"],
    ],
)
def test_what_does_not_go_together_is_refused(desk: Desk, more: list[str]) -> None:
    assert (desk.run("login", "--profile", "x", *more, stdin=TOKEN).code, desk.asked) == (2, [])


def test_who_one_is_is_asked_of_the_service(known: Desk) -> None:
    told = json.loads(known.run("whoami", "--json").out)
    assert {name: told[name] for name in ("usable", "environment", "operator", "role", "channels")} == {
        "usable": True, "environment": "release-production", "operator": "anna", "role": "support", "channels": ["REF"],
    }  # fmt: skip


def test_what_is_forgotten_leaves_no_token(known: Desk) -> None:
    known.run("logout", "desk")
    assert [*known.folder.rglob("*.token")] == []


def test_a_profile_that_becomes_an_applications_keeps_no_token(known: Desk) -> None:
    known.run("login", "--profile", "desk", "--url", known.url, "--offline", stdin="aaaa.bbbb.cccc")
    assert [path.name for path in known.folder.rglob("desk.*")] == ["desk.jwt"]


@pytest.mark.parametrize("command", [["authorize", "FILM", "--device", "tv"], ["token"], ["doctor"]])
def test_an_operator_is_no_application(known: Desk, command: list[str]) -> None:
    done = known.run(*command)
    assert (done.code != 0, "is an operator's" in done.out + done.said, known.asked) == (True, True, [])


def test_an_application_is_no_operator(desk: Desk) -> None:
    desk.run("login", "--profile", "app", "--url", desk.url, "--offline", stdin="aaaa.bbbb.cccc")
    done = desk.run("explain", "--profile", "app", "--device", "tv")
    assert (done.code, "--operator" in done.said, desk.asked) == (1, True, [])


def test_a_token_goes_to_its_own_place_only(known: Desk) -> None:
    done = known.run("acts", "--profile", "desk", "--url", "http://127.0.0.1:1")
    assert (done.code, "no operator's token is named" in done.said, known.asked) == (2, True, [])


# --- commands

VIEWER = ["--device", "tv", "--email", "viewer@example.net"]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (["explain"], f"{IN}/explain"),
        (["reset", "--reason", "ticket 7"], f"{IN}/resets"),
        (["grant", "--minutes", "5"], f"{IN}/grants"),
        (["acts"], f"{IN}/acts/search"),
    ],
)
def test_a_viewer_is_named_by_digest_too(known: Desk, command: list[str], path: str) -> None:
    ran = known.run(*command, "--subject", DIGEST)
    ((asked, body),) = known.bodies
    assert (ran.code, asked, body.get("subject") or body["subjects"][0]) == (0, path, DIGEST)


@pytest.mark.parametrize(
    "more", [["--subject", ""], ["--subject", "tv"], ["--subject", DIGEST, "--device", "tv"], ["--subject", DIGEST[1:]]]
)
def test_a_digest_that_is_none_or_a_second_name_is_refused(known: Desk, more: list[str]) -> None:
    assert [(known.run(command, *more).code, known.asked) for command in ("explain", "reset")] == [(2, [])] * 2


BOTH = {"channel": "REF", "pass": "P", "device": "tv", "key": HASHED}
COMMANDS: dict[str, tuple[list[str], str, Any]] = {
    "explain": (
        [*VIEWER, "--title", "FILM"],
        f"{IN}/explain",
        {"device": "tv", "email": "viewer@example.net", "channel": "REF", "pass": "P", "title": "FILM"},
    ),
    "undo": (
        ["act-1", "--reason", "oops", "--replace"],
        f"{IN}/resets/act-1/undo",
        {"reason": "oops", "replace": True},
    ),
    "grant": ([*VIEWER, "--minutes", "15"], f"{IN}/grants", {**BOTH, "minutes": 15}),
    "reset": ([*VIEWER, "--reason", "asked"], f"{IN}/resets", {**BOTH, "reason": "asked"}),
    "acts": (
        ["--since", MOMENT, "--actor", "operator:anna", *VIEWER],
        f"{IN}/acts/search",
        {"since": MOMENT, "actors": ["operator:anna"], "channels": ["REF"], "pass": "P", "device": "tv", "key": HASHED,
         "limit": 100},
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_request_with_the_identity_in_its_body(known: Desk, command: str) -> None:
    arguments, path, body = COMMANDS[command]
    done = known.run(command, *arguments)
    ((asked, said, token, once),) = known.asked
    assert (done.code, asked, said, token, once != "") == (
        0, path, body, f"Bearer {TOKEN}", command in {"undo", "grant", "reset"}
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("only", ["--dry-run", "--show-request"])
def test_what_is_only_shown_sends_nothing_and_shows_no_token(known: Desk, command: str, only: str) -> None:
    done = known.run(command, *COMMANDS[command][0], only)
    shown = done.out + done.said
    assert (done.code, known.asked, TOKEN in shown, '"$TEMPPASS_OPERATOR_TOKEN"' in shown) == (
        0, [], False, only == "--show-request"
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_data_is_one_document(known: Desk, command: str) -> None:
    assert json.loads(known.run(command, *COMMANDS[command][0], "--json").out) != {}


def test_the_sentence_comes_first(known: Desk) -> None:
    done = known.run("explain", *VIEWER)
    lines = done.out.splitlines()
    assert (lines[0], lines[2], done.said) == ("The time is over.", "next  deny, over", "warning: Odd.\n")
    assert [line.split()[:2] for line in lines[3:5]] == [["LEDGER", "STATE"], ["device", "over"]]


def test_a_refused_undo_says_why_and_what_to_do(known: Desk) -> None:
    done = known.run("undo", "act-2")
    assert (done.code, "Begun since. (409 new_trial)" in done.said, "--replace" in done.said) == (1, True, True)


@pytest.mark.parametrize("command", ["undo", "grant", "reset"])
def test_an_act_that_wants_a_reason_says_how_to_give_one(known: Desk, command: str) -> None:
    known.next = [(400, {"status": 400, "code": "reason_required", "detail": "Pass 'P' asks for a reason."})]
    arguments = {"undo": ["act-1"], "grant": [*VIEWER, "--minutes", "15"], "reset": VIEWER}[command]
    done = known.run(command, *arguments)
    assert (done.code, "(400 reason_required)" in done.said, "--reason TEXT" in done.said) == (1, True, True)


def test_no_cell_is_a_formula(known: Desk) -> None:
    head, first, second = known.run("acts", "--csv").out.splitlines()
    assert (head.split(",")[:3], first.split(",")[5], second.split(",")[5]) == (["id", "sequence", "at"], "", "'=1+1")


def test_acts_are_followed_in_their_order_until_the_token_ends(known: Desk) -> None:
    def page(*sequences: int) -> tuple[int, dict[str, Any]]:
        return 200, {"records": [{**RECORD, "sequence": each, "id": f"act-{each}"} for each in sequences], "next": None}

    known.next = [page(2, 1), page(4, 3, 2, 1), page(4, 3), (401, {"code": "ended_operator", "detail": "Revoked."})]
    done = known.run("acts", "--follow")
    assert (done.code, [line.split("\t")[-1] for line in done.out.splitlines()]) == (
        4, ["act-1", "act-2", "act-3", "act-4"]
    )  # fmt: skip


def test_where_there_are_more_acts_it_is_said_how_to_see_them(known: Desk) -> None:
    """Those of the second of the last one too."""
    known.next = [(200, {"records": [RECORD], "next": 4})]
    assert "--until 2026-01-01T10:00:01Z" in known.run("acts").said


def test_acts_end_with_those_that_are_kept_no_more(known: Desk) -> None:
    known.next = [(200, {"records": [RECORD], "next": None, "kept_since": MOMENT})]
    assert known.run("acts").said == "what was done up to 2026-01-01T10:00:00Z is kept no more\n"


def test_a_list_that_is_refused_is_no_empty_one(known: Desk) -> None:
    known.next = [(403, {"code": "outside_limits", "detail": "No."})]
    assert known.run("acts", "--csv")[:2] == (4, "")


def test_each_line_of_a_file_is_an_act(known: Desk) -> None:
    (known.folder / "viewers.csv").write_text("device,email\ntv,viewer@example.net\nradio,\n")
    done = known.run("reset", "--from", str(known.folder / "viewers.csv"), "--yes", "--reason", "asked")
    assert (done.code, known.bodies) == (
        0,
        [
            (f"{IN}/resets", {**BOTH, "reason": "asked"}),
            (f"{IN}/resets", {"channel": "REF", "pass": "P", "device": "radio", "reason": "asked"}),
        ],
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain"],
        ["explain", "--device", ""],
        ["explain", "--key", HASHED, "--email", "viewer@example.net"],
        ["explain", "--device", " tv"],
        ["grant", "--device", "tv"],
        ["grant", "--device", "tv", "--minutes", "0"],
        ["grant", "--device", "tv", "--minutes", "1", "--titles", "1"],
        ["undo", ""],
        ["acts", "--since", "yesterday"],
        ["acts", "--actor", ""],
        ["acts", "--csv", "--json"],
        ["acts", "--csv", "--follow"],
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_and_sends_nothing(known: Desk, arguments: list[str]) -> None:
    assert (known.run(*arguments).code, known.asked) == (2, [])


# --- the real service


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with serving() as listening:
        yield listening


def test_a_revoked_operator_is_not_let_in(double: Double, desk: Desk) -> None:
    token = double.operator("bob", "viewer")
    login = ["login", "--profile", "bob", "--url", double.url, "--operator"]
    assert desk.run(*login, stdin=token).said.endswith("the token is taken: bob, viewer\n")
    assert desk.run("login", "--profile", "eve", "--url", double.url, "--operator", stdin=TOKEN).code == 4
    assert [path.name for path in desk.folder.rglob("*.token")] == ["bob.token"]
    assert DIGEST not in token
