"""
The client's commands as an operator uses them: real processes against a real server, from one folder, with no profile
and with one; interrupted, without a terminal, with wrong input.
"""

import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.client.vendor import vendor
from tests.e2e.conftest import WAIT_S, Done, Folder, Server, Wire, surroundings

DEVICE, MAIL = "tv-1", "viewer@example.com"
LINES = 1_000


class Desk(NamedTuple):
    """A server, a statement of it in a file, and the folder in which an operator sits."""

    folder: Folder
    server: Server
    wire: Wire

    def __call__(self, *arguments: str, **variables: str) -> Done:
        return self.folder.temppass(*arguments, **self.variables(**variables))

    def variables(self, **more: str) -> dict[str, str]:
        return {
            "TEMPPASS_URL": self.server.url, "TEMPPASS_STATEMENT_FILE": "statement.jwt",
            "TEMPPASS_REQUESTOR": "ACME1", "TEMPPASS_MVPD": "Basic", **more,
        }  # fmt: skip

    @property
    def secrets(self) -> list[str]:
        """What must never be seen: the statement, and what the vault holds."""
        held = [json.loads(path.read_bytes()) for path in self.folder.path.rglob(".local/state/temppass/*.json")]
        kept = [str(value) for entry in held for name, value in entry.items() if name in {"client_secret", "token"}]
        return [(self.folder.path / "statement.jwt").read_text().strip(), *kept]

    def window(self, device: str = DEVICE) -> int:
        """Authorize over the wire; answer when the trial ends."""
        return int(self.wire.decide(device, "FILM")["notAfter"])


@pytest.fixture(scope="module")
def desk(shared: Folder) -> Desk:
    shared.declare()
    server = shared.serve()
    (shared.path / "statement.jwt").write_text(shared.temppass("statement", "mint", "ops").out)
    return Desk(shared, server, shared.application(server))


def resets_answered(desk: Desk) -> int:
    metrics = httpx2.get(f"{desk.server.url}/metrics", trust_env=False).text
    found = re.search(r'^temppass_requests_total\{endpoint="reset_device",status="204"\} (\S+)', metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


# --- one viewer


def test_one_viewer_is_reset_and_the_answer_says_what_was_matched(desk: Desk) -> None:
    before = desk.window()
    done = desk("reset", "--device", DEVICE, "--json")
    (answer,) = json.loads(done.out)
    assert (done.code, answer["target"], answer["matched"], desk.window() > before) == (0, "device", 1, True)
    first, remark = done.err.splitlines()
    assert first == f"about to reset device {DEVICE} of ACME1 / Basic ({desk.server.url})"
    assert "reset the other half too: --key or --email" in remark


def test_a_promotional_viewer_is_new_after_both_halves_were_reset(desk: Desk) -> None:
    def watched() -> list[bool]:
        return [desk.wire.decide("tv-2", title, "Promo", MAIL)["authorized"] for title in "ABCD"]

    before = watched()
    done = desk("reset", "--mvpd", "Promo", "--device", "tv-2", "--email", MAIL)
    assert (before, done.code, watched()) == ([True, True, True, False], 0, [True, True, True, False])


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("reset", 2, "name one viewer"),
        ("reset --device=", 2, "would mean everybody"),
        ("reset --key=", 2, "would mean everybody"),
        ("reset --device all", 2, "--all-devices"),
        ("reset --device a --all-devices", 2, "name one viewer"),
        ("reset --key a --email b@c.d", 2, "both name a user key"),
        ("reset --device a --requestor=", 2, "--requestor is empty"),
        ("reset --device a --resume", 2, "--resume goes with --from"),
        ("reset --all-devices", 2, "add --yes"),
        ("reset --all-keys --all-devices", 2, "add --yes"),
        ("reset --from lines.csv", 2, "add --yes"),
        ("reset --from - --as device", 2, "--journal"),
        ("reset --email nobody", 2, "--key hashes any text"),
        (f"reset --device {'x' * 1025}", 2, "at most 1024 bytes"),
        ("authorize FILM --device a --email nobody", 2, "--key hashes any text"),
        ("login --profile x --url=", 2, "--url is empty"),
        ("reset --from - --statement-file - --journal j", 2, "only one of --from and --statement-file"),
        ("reset --from nothing.csv --yes", 1, "cannot read nothing.csv"),
        ("reset --device a --mvpd Nothing", 1, "invalid_request"),
        ("reset --device a --requestor Nobody", 1, "invalid_request"),
        ("reset --device a --environment production", 2, "release-production"),
        ("reset --device a --url http://127.0.0.1:9 --environment release-staging", 2, "not both"),
        ("reset --device a --profile nobody", 1, "there is no profile 'nobody'"),
        ("reset --device a --statement-file nothing.jwt", 1, "cannot read nothing.jwt"),
        ("reset --device a --statement-file lines.csv", 1, "no software statement"),
        ("authorize FILM --device=", 2, "--device is empty"),
        ("authorize --device a", 2, "Missing argument"),
        ("profile", 2, "--device"),
        ("login --profile x --url http://127.0.0.1:9 --environment prequal-staging", 2, "either --url or"),
        ("logout nobody", 1, "there is no profile"),
        ("completion tcsh", 2, "is not one of"),
    ],
)
def test_a_command_that_cannot_be_meant_says_so_and_sends_nothing(
    desk: Desk, arguments: str, code: int, told: str
) -> None:
    (desk.folder.path / "lines.csv").write_text("device\ntv-1\n")
    before, window = resets_answered(desk), desk.window()
    done = desk(*(["reset", "--device", ""] if arguments == "reset --device=" else arguments.split()))
    assert (done.code, told in done.err, done.out) == (code, True, ""), done.err
    assert (resets_answered(desk), desk.window()) == (before, window)


def test_who_is_not_let_in_is_told_with_an_exit_code_of_its_own(desk: Desk) -> None:
    (desk.folder.path / "foreign.jwt").write_text("eyJhbGciOiJSUzI1NiJ9.e30.AAAA")
    done = desk("reset", "--device", DEVICE, "--statement-file", "foreign.jwt")
    assert (done.code, "invalid_software_statement" in done.err) == (4, True)


def test_no_service_at_all_is_told_and_that_nothing_was_sent(desk: Desk) -> None:
    done = desk("reset", "--device", DEVICE, "--url", "http://127.0.0.1:9")
    assert (done.code, "the request was not sent" in done.err) == (1, True), done.err


def test_a_dry_run_says_what_would_be_done_and_does_nothing(desk: Desk) -> None:
    window = desk.window()
    done = desk("reset", "--device", DEVICE, "--all-keys", "--dry-run"), desk("reset", "--all-devices", "--dry-run")
    assert [(one.code, one.out) for one in done] == [(2, ""), (0, "")]
    assert ("nothing was sent" in done[1].err, desk.window()) == (True, window)


# --- everybody


def typed(desk: Desk, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command at a terminal, type one line, and answer its exit code and all that it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "temppass.cli", *arguments],
        cwd=desk.folder.path,
        env=surroundings(desk.folder.path, desk.variables()),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # so that Ctrl-C is an interrupt
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - it takes no lock
    )
    os.close(theirs)
    shown, answered, deadline = b"", False, time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        # an interrupt that comes just before a read is not seen by it: one presses Ctrl-C once more
        is_pressed_again = answered and answer == "\x03" and not select.select([ours], [], [], 0.5)[0]
        if (b"to go on" in shown and not answered) or is_pressed_again:
            os.write(ours, answer.encode())
            answered = True
        try:
            piece = os.read(ours, 4096) if select.select([ours], [], [], 0.5)[0] else None
        except OSError:  # nobody holds the other end any more
            break
        if piece == b"":
            break
        shown += piece or b""
    os.close(ours)
    process.kill()
    return process.wait(WAIT_S), shown.decode()


@pytest.mark.parametrize(
    ("answer", "code", "resets"),
    [("Basic\n", 0, 1), ("basic\n", 2, 0), ("\n", 2, 0), ("yes\n", 2, 0), ("\x03", 130, 0)],
)
def test_everybody_is_reset_only_when_the_id_of_the_pass_is_typed(
    desk: Desk, answer: str, code: int, resets: int
) -> None:
    before = resets_answered(desk)
    exit_code, shown = typed(desk, answer, "reset", "--all-devices")
    assert (exit_code, resets_answered(desk) - before) == (code, resets), shown


def test_everybody_is_reset_without_a_terminal_when_one_says_so(desk: Desk) -> None:
    before = desk.window()
    done = desk("reset", "--all-devices", "--yes")
    assert (done.code, desk.window() > before) == (0, True)


# --- a file


def run(desk: Desk, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "temppass.cli", *arguments],
        cwd=desk.folder.path,
        env=surroundings(desk.folder.path, desk.variables()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done_lines(journal: Path) -> Counter[int]:
    records = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    return Counter(record["line"] for record in records if record["result"] == "done")


def test_a_file_of_a_thousand_lines_that_is_killed_anywhere_is_reset_line_by_line_exactly_once(desk: Desk) -> None:
    path, chance = desk.folder.path / "thousand.csv", random.Random(7)
    path.write_text("device\n" + "".join(f"bulk-{number}\n" for number in range(LINES)))
    command = ("reset", "--from", path.name, "--rate", "1000", "--yes")
    before, kills, code = resets_answered(desk), 0, -1
    extra: tuple[str, ...] = ()
    while code != 0:
        process = run(desk, *command, *extra)
        try:
            code = process.wait(chance.uniform(0.2, 0.9) if kills < 8 else WAIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(chance.choice([signal.SIGKILL, signal.SIGINT]))
            process.wait(WAIT_S)
            kills += 1
        told = process.communicate()[1]
        extra = ("--resume",) if (desk.folder.path / "thousand.csv.journal").exists() else ()
    answered = resets_answered(desk) - before
    assert kills > 2, told
    assert done_lines(desk.folder.path / "thousand.csv.journal") == Counter(range(2, LINES + 2))
    assert LINES <= answered <= LINES + kills  # a line whose answer was not seen was repeated


def test_an_interrupted_file_says_how_to_go_on(desk: Desk) -> None:
    (desk.folder.path / "slow.csv").write_text("device\n" + "".join(f"slow-{number}\n" for number in range(50)))
    process = run(desk, "reset", "--from", "slow.csv", "--rate", "1", "--yes")
    journal = desk.folder.path / "slow.csv.journal"
    until(lambda: journal.exists() and len(journal.read_bytes().splitlines()) > 1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=WAIT_S)
    assert (process.returncode, "--resume (journal slow.csv.journal)" in told) == (130, True), told


def test_lines_that_are_refused_are_named_and_the_others_reset(desk: Desk) -> None:
    lines = [{"device": "m-1"}, {"device": "m-2", "email": MAIL}]
    (desk.folder.path / "mixed.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = desk("reset", "--from", "mixed.jsonl", "--yes", "--json")
    again = desk("reset", "--from", "mixed.jsonl", "--yes")
    wrong = desk("reset", "--from", "mixed.jsonl", "--yes", "--mvpd", "Nothing", "--journal", "wrong.journal", "--json")
    assert (done.code, json.loads(done.out)["done"], again.code) == (0, 2, 1)
    assert (wrong.code, [line["line"] for line in json.loads(wrong.out)["failed"]]) == (1, [1, 2])


def test_a_file_whose_first_lines_are_all_refused_is_not_tried_to_its_end(desk: Desk) -> None:
    (desk.folder.path / "wrong.csv").write_text("device\n" + "".join(f"w-{number}\n" for number in range(20)))
    done = desk("reset", "--from", "wrong.csv", "--yes", "--mvpd", "Nothing", "--json")
    assert (done.code, len(json.loads(done.out)["failed"])) == (1, 5), done.err
    assert "There is no pass 'Nothing'" in done.err


def test_a_dry_run_of_a_file_says_what_was_understood_and_what_is_done_before(desk: Desk) -> None:
    (desk.folder.path / "seen.csv").write_text(f"Device;E-Mail;Ticket\ns-1;;7\ns-2;{MAIL};8\n")
    dry = ("reset", "--from", "seen.csv", "--mvpd", "Promo", "--dry-run", "--json")
    before = desk(*dry)
    desk("reset", "--from", "seen.csv", "--mvpd", "Promo", "--yes")
    after, resumed = desk(*dry), desk(*dry, "--resume")
    assert json.loads(before.out)["would"] == "reset 2 lines: 2 devices, 1 user key of ACME1 / Promo"
    assert (after.code, "there is a journal already" in after.err) == (1, True)
    assert (resumed.code, "2 lines of them done before" in resumed.err) == (0, True)


def test_an_answer_that_cannot_be_written_is_told_and_that_the_rest_was_done(desk: Desk) -> None:
    before = desk.window("full-1")
    told = desk.folder.bash(
        "set +e\n" + f'{desk.folder.command} reset --device full-1 2>&1 >/dev/full; echo "code $?"', **desk.variables()
    )
    assert ("code 1" in told, "cannot write the answer" in told, "Traceback" in told) == (True, True, False), told
    assert desk.window("full-1") > before


def test_without_the_server_its_commands_say_what_to_install(folder: Folder) -> None:
    """A module of that name that cannot be imported stands for one that is not installed."""
    (folder.path / "block" / "structlog").mkdir(parents=True)
    missing = "raise ModuleNotFoundError(\"No module named 'structlog'\", name='structlog')"
    (folder.path / "block" / "structlog" / "__init__.py").write_text(missing)
    told = [folder.temppass(*command, PYTHONPATH=str(folder.path / "block")) for command in (
        ("serve", "--port", "0"), ("statement", "mint", "ops"), ("catalogue", "show"),
    )]  # fmt: skip
    assert [(done.code, "pip install '.[server]'" in done.err) for done in told] == [(1, True)] * 3


def test_a_name_under_localhost_is_this_machine(desk: Desk) -> None:
    url = desk.server.url.replace("127.0.0.1", "anna.localhost")
    done = desk("reset", "--device", "a", TEMPPASS_URL=url)
    assert (done.code, "invalid_software_statement" in done.err) == (4, True)  # another environment's


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


# --- what an application would see


def test_decisions_and_profiles_are_shown_as_a_table_and_as_json(desk: Desk) -> None:
    permit = desk("authorize", "FILM", "--device", "tv-3")
    json_ = [desk(*call, "--device", "tv-3", "--json") for call in (("preauthorize", "A", "B"), ("profile",))]
    verdicts, state = (json.loads(done.out) for done in json_)
    assert [line.split()[:2] for line in permit.out.splitlines()] == [["TITLE", "VERDICT"], ["FILM", "permit"]]
    assert ([verdict["authorized"] for verdict in verdicts], state["available"]) == ([True, True], True)


def test_a_profile_says_where_each_ledger_stands(desk: Desk) -> None:
    for title in ("A", "B", "C"):
        desk.wire.decide("tv-9", title, "Promo", "nine@example.com")
    promo = ("profile", "--mvpd", "Promo")
    both = desk(*promo, "--device", "tv-9", "--email", "stranger@example.com")
    alone = desk(*promo, "--email", "nine@example.com", "--json")
    state = json.loads(alone.out)
    assert [line.split()[:2] for line in both.out.splitlines()[-3:]] == [
        ["LEDGER", "STATE"], ["device", "used"], ["user", "key"],
    ]  # fmt: skip
    assert (both.code, both.out.count("A, B, C"), "new" in both.out.splitlines()[-1]) == (0, 2, True)
    assert (state["available"], state["state"], state["used"]) == (False, "used up", ["A", "B", "C"])


def test_a_key_says_nothing_of_a_basic_pass(desk: Desk) -> None:
    done = desk("profile", "--email", "nine@example.com")
    assert (done.code, done.out, "knows viewers by device only" in done.err) == (2, "", True)


@pytest.mark.parametrize("command", ["reset", "authorize A", "preauthorize A", "profile", "doctor"])
def test_white_space_around_a_device_is_refused_as_in_a_file(desk: Desk, command: str) -> None:
    done = [desk(*command.split(), "--device", device) for device in (" tv-1", "tv-1\t")]
    told = "error: --device has white space around it, which would be hashed with it"
    assert [(each.code, each.out, each.err.splitlines()[0]) for each in done] == [(2, "", told)] * 2


def test_a_title_that_is_denied_is_an_answer(desk: Desk) -> None:
    titles = ["A", "B", "C", "D"]
    done = desk("authorize", *titles, "--mvpd", "Promo", "--device", "tv-4", "--email", "other@example.com", "--json")
    last: dict[str, Any] = json.loads(done.out)[-1]
    assert (done.code, last["authorized"], last["code"]) == (0, False, "temporary_access_resources_limit_exceeded")


def test_the_passes_of_a_channel_are_listed(desk: Desk) -> None:
    done = desk("configuration")
    assert [line.split()[0] for line in done.out.splitlines()] == ["ID", "Basic", "Promo"]


# --- profiles


def test_a_profile_stands_for_all_the_options(desk: Desk, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    statement = (desk.folder.path / "statement.jwt").read_text()
    options = ("--url", desk.server.url, "--requestor", "ACME1", "--mvpd", "Basic", "--default")
    login = subprocess.run(
        [sys.executable, "-m", "temppass.cli", "login", "--profile", "local", *options],
        cwd=tmp_path, env=surroundings(tmp_path, {}), input=statement, text=True, capture_output=True, check=False,
    )  # fmt: skip
    told = [folder.temppass(*command) for command in (
        ("whoami", "--json"), ("profiles", "--json"), ("reset", "--device", "tv-5"),
        ("reset", "--device", "tv-5", "--profile", "local", "--url", "http://127.0.0.1:9"), ("logout", "local"),
        ("whoami",),
    )]  # fmt: skip
    assert (login.returncode, "the statement is taken" in login.stderr) == (0, True), login.stderr
    assert [done.code for done in told] == [0, 0, 0, 2, 0, 1]
    assert (json.loads(told[0].out)["usable"], json.loads(told[1].out)[0]["name"]) == (True, "local")
    assert f"(profile local, {desk.server.url})" in told[2].err
    assert "has one for another place only" in told[3].err


@pytest.mark.parametrize(
    "command",
    ["reset --device tv-8", "authorize A --device tv-8", "profile --device tv-8", "configuration", "token", "doctor",
     "whoami", "reset --from one.csv --yes"],
)  # fmt: skip
def test_every_command_takes_the_statement_from_stdin(desk: Desk, tmp_path: Path, command: str) -> None:
    (tmp_path / "one.csv").write_text("device\none\n")
    with (desk.folder.path / "statement.jwt").open() as statement:
        done = subprocess.run(
            [sys.executable, "-m", "temppass.cli", *command.split()], cwd=tmp_path, stdin=statement, text=True,
            env=surroundings(tmp_path, desk.variables(TEMPPASS_STATEMENT_FILE="-")), capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_login_that_is_only_shown_saves_nothing_and_sends_nothing(desk: Desk, tmp_path: Path) -> None:
    login = ("login", "--profile", "x", "--url", desk.server.url, "--statement-file", "nothing.jwt")
    folder, statement = Folder(tmp_path), desk.folder.path / "statement.jwt"
    shown = folder.temppass(*login, "--show-request")
    dry = folder.temppass(*login[:-1], str(statement), "--dry-run")
    assert (shown.code, [line.split()[4] for line in shown.out.splitlines()]) == (
        0, [f"{desk.server.url}/o/client/register", f"{desk.server.url}/o/client/token"],
    )  # fmt: skip
    assert ('"$CLIENT_SECRET"' in shown.out, dry.code, "would save" in dry.err) == (True, 0, True)
    assert json.loads(folder.temppass("profiles", "--json").out) == []


def test_a_statement_that_is_not_taken_is_not_saved(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "foreign.jwt").write_text("eyJhbGciOiJSUzI1NiJ9.e30.AAAA")
    folder = Folder(tmp_path)
    login = folder.temppass("login", "--profile", "x", "--url", desk.server.url, "--statement-file", "foreign.jwt")
    assert (login.code, json.loads(folder.temppass("profiles", "--json").out)) == (4, [])


# --- secrets


def test_no_secret_is_shown_or_written_where_it_does_not_belong(desk: Desk) -> None:
    """Nor can one be given in argv: no option takes one."""
    (desk.folder.path / "few.csv").write_text("device\nf-1\nf-2\n")
    commands = [
        ("reset", "--device", "tv-6"), ("reset", "--device", "tv-6", "--show-request"), ("token", "--show-request"),
        ("authorize", "FILM", "--device", "tv-6", "--show-request"), ("profile", "--device", "tv-6", "--show-request"),
        ("configuration", "--show-request"), ("whoami",), ("whoami", "--json"), ("token", "--dry-run"),
        ("reset", "--from", "few.csv", "--yes"), ("reset", "--device", "tv-6", "--mvpd", "Nothing"),
        ("reset", "--from", "few.csv", "--show-request"),
    ]  # fmt: skip
    shown = [desk(*command) for command in commands]
    written = [(desk.folder.path / "few.csv.journal").read_text(), desk.server.log.decode(), desk.server.out]
    everything = "".join([*written, *(done.out + done.err for done in shown)])
    assert [secret in everything for secret in desk.secrets] == [False] * len(desk.secrets)
    assert len(desk.secrets) >= 3


def test_a_shown_request_works_when_the_shell_holds_the_secrets(desk: Desk) -> None:
    before = desk.window("tv-7")
    line = desk("reset", "--device", "tv-7", "--show-request").out
    token = desk("token").out.strip()
    desk.folder.bash(f"set -e\n{line}\necho done", ACCESS_TOKEN=token)
    assert desk.window("tv-7") > before


def test_the_journal_names_nobody(desk: Desk) -> None:
    (desk.folder.path / "named.csv").write_text(f"device,email\nsecret-device,{MAIL}\n")
    desk("reset", "--from", "named.csv", "--yes", "--mvpd", "Promo")
    journal = (desk.folder.path / "named.csv.journal").read_text()
    assert ["secret-device" in journal, MAIL in journal] == [False, False]


# --- a service that misbehaves


@pytest.mark.parametrize(
    ("script", "code", "told", "done"),
    [
        (["good", "good", "good", "400 request", "good"], 5, "1 of 3 lines were refused", [2, 4]),
        (["good", "good", "400 request", "400 request", "400 request"], 1, "400 invalid_request: requestor_id", []),
        (["good", "good", "good", "429 after an hour"], 6, "go on with --resume", [2]),
        (["good", "good", "good", "403 scope"], 4, "go on with --resume", [2]),
        (["good", "good", "good", "cut", "good"], 0, "3 reset", [2, 3, 4]),
        (["good", "good", "good", "500 page", "good"], 0, "3 reset", [2, 3, 4]),
        (["good", "good", "401 reset", "good", "good"], 0, "3 reset", [2, 3, 4]),
        (["400 statement"], 4, "unapproved_software_statement", []),
        (["malformed"], 1, "not a JSON object", []),
    ],
)
def test_a_file_against_a_service_that_misbehaves_ends_with_a_code_that_says_how(
    folder: Folder, script: list[str], code: int, told: str, done: list[int]
) -> None:
    (folder.path / "three.csv").write_text("device\na\nb\nc\n")
    (folder.path / "statement.jwt").write_text("aaaa.bbbb.cccc")
    command = ("reset", "--from", "three.csv", "--yes", "--requestor", "REF", "--mvpd", "TempPassREF")
    with vendor(*script) as played:
        place = {"TEMPPASS_URL": played.place.service, "TEMPPASS_STATEMENT_FILE": "statement.jwt"}
        first = folder.temppass(*command, **place)
        again = folder.temppass(*command, "--resume", **place)
    journal = folder.path / "three.csv.journal"
    assert (first.code, told in first.err) == (code, True), first.err
    assert (again.code, sorted(done_lines(journal))) == (0, [2, 3, 4]), again.err
    assert max(done_lines(journal).values()) == 1
    assert f"{len(done)} before" in again.err or not done
