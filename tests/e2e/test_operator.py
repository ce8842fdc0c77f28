"""`temppass operator` from a shell: the token is all that is printed, and one that was revoked is good for nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("TEMPPASS_")}

_STATUS = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1]).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "temppass.cli", "operator", *arguments],
        cwd=folder,
        env=ENVIRON,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_an_operator_is_created_listed_and_revoked(tmp_path: Path) -> None:
    code, token, said = run(tmp_path, "create", "anna", "--role", "support", "--channel", "REF", "--expires", "12h")
    assert (code, token.startswith("tpo_"), len(token.strip()), said) == (0, True, 47, "")
    _, listed, _ = run(tmp_path, "list")
    name, role, until, where, which = listed.strip().split("\t")
    assert (name, role, until[:6], where, which) == ("anna", "support", "until ", "every environment", "REF")
    assert run(tmp_path, "revoke", "anna") == (0, "", "the token of anna has ended\n")
    assert "revoked" in run(tmp_path, "list")[1]


def test_what_cannot_be_is_refused_with_what_to_do(tmp_path: Path) -> None:
    told = [
        run(tmp_path, "create", "anna@acme.example", "--role", "viewer")[::2],
        run(tmp_path, "create", "root", "--role", "admin", "--channel", "REF")[::2],
        run(tmp_path, "revoke", "nobody")[::2],
    ]
    hint = "hint: `temppass operator list` shows who there is\n"
    assert [(code, said.endswith(hint)) for code, said in told] == [(1, True)] * 3


def test_a_list_makes_no_store(tmp_path: Path) -> None:
    run(tmp_path, "list")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("own_port", [True, False])
def test_a_server_keeps_the_control_api_to_its_port_or_leaves_it_out(tmp_path: Path, own_port: bool) -> None:  # noqa: FBT001
    options = ["--control-port", "0"] if own_port else ["--no-control"]
    command = [sys.executable, "-m", "temppass.cli", "serve", "--port", "0", *options]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRON, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said: list[str] = []
        while not said or not said[-1].startswith("listening"):
            said.append(server.stderr.readline())
        urls = [line.split()[-1] for line in said]
        told = []
        for url in urls:
            for path in ("/control/v1/whoami", "/healthz"):
                answer = subprocess.run(
                    [sys.executable, "-c", _STATUS, url + path], capture_output=True, text=True, check=True
                )
                told.append(int(answer.stdout))
        server.terminate()
    assert told == ([401, 200, 404, 200] if own_port else [404, 200])
