"""
What `temppass serve --demo` prints is the whole walk, and it can be pasted into a shell as it is.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Certificate, Folder

CONTROL = "/control/v1/environments/release-production"
WALK = ["permit", "permit", "temporary_access_resources_limit_exceeded", "204", "204", "permit"]


def verdicts(printed: str) -> list[str]:
    """Answer in one word each what the lines of a walk say."""
    words = []
    for line in printed.splitlines():
        if not line.startswith("{"):
            words.append(line)
            continue
        (decision,) = json.loads(line)["decisions"]
        words.append("permit" if decision["authorized"] else decision["error"]["code"])
    return words


def test_the_printed_walk_can_be_taken_again_and_again(folder: "Folder") -> None:
    walk = folder.serve("--demo").out
    assert [verdicts(folder.bash(walk)) for _ in range(2)] == [WALK, WALK]


def test_the_walk_of_a_server_with_tls_says_whom_to_trust(folder: "Folder", certificate: "Certificate") -> None:
    walk = folder.serve("--demo", "--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key)).out
    assert verdicts(folder.bash(walk)) == WALK


@pytest.mark.parametrize("option", ["memory:", "sqlite:///elsewhere.db"])
def test_the_demo_may_be_kept_elsewhere(folder: "Folder", option: str) -> None:
    walk = folder.serve("--demo", "--store", option).out
    assert (verdicts(folder.bash(walk)), (folder.path / "temppass-demo.db").exists()) == (WALK, False)


@pytest.mark.parametrize("options", [(), ("--control-port", "0")], ids=["beside the wire", "on a port of its own"])
def test_an_operator_finds_somebody_who_was_denied_after_each_start(folder: "Folder", options: tuple[str, ...]) -> None:
    found = []
    for _ in range(2):
        server = folder.serve("--demo", *options)
        told = re.search(r"^# The console: (http\S+)/console, .* denied: (\S+)\n# (tpo_\S+)$", server.out, re.MULTILINE)
        assert told is not None
        url, email, token = told.groups()
        question = {"email": email, "channel": "REF", "pass": "flexibleTempPass"}
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx2.post(f"{url}{CONTROL}/explain", json=question, headers=headers)
        found.append(answer.json()["next"])
        server.end()
    assert found == [{"authorized": False, "code": "temporary_access_resources_limit_exceeded"}] * 2


def test_without_a_console_no_token_is_printed(folder: "Folder") -> None:
    assert "tpo_" not in folder.serve("--demo", "--no-control").out


TUTORIAL = Path(__file__).parents[2] / "docs/tutorial.md"


def test_the_tutorial_ends_in_a_reset(folder: "Folder") -> None:
    """Every command of its second shell, as it stands there, but for the port."""
    server = folder.serve("--demo")
    blocks = re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    commands = [block for block in blocks if "PATH=" not in block and "temppass serve" not in block]
    script = f'set -e\ntemppass() {{ {folder.command} "$@"; }}\n{"".join(commands)}echo arrived'
    printed = folder.bash(script.replace("http://127.0.0.1:8080", server.url))
    verdicts = re.findall(r"^(FILM-\d) +(permit|deny)", printed, re.MULTILINE)
    resets = re.findall(r"^(device|key) +(\d) ", printed, re.MULTILINE)
    assert verdicts == [("FILM-1", "permit"), ("FILM-2", "permit"), ("FILM-3", "deny"), ("FILM-3", "permit")]
    assert (resets, printed.splitlines()[-1]) == ([("device", "1"), ("key", "1")], "arrived")
