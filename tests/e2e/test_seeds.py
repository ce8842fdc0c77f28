"""
The documented curl commands, word for word, against a server that has the documented host names: only where those
names lead (`connect-to`) and whom to trust (`cacert`) is said beside them, and they tell the status they saw.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Certificate, Folder

DOCUMENTED = Path(__file__).parents[1] / "examples" / "seed_curls.txt"
CURLS = [line for line in DOCUMENTED.read_text().splitlines() if line and not line.startswith("#")]
assert len(CURLS) == 3


@pytest.fixture(scope="module")
def token(shared: "Folder", certificate: "Certificate") -> str:
    """An access token from the documented host; afterwards every curl of the folder leads to the server."""
    server = shared.serve("--demo", "--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key))
    leads = [f'connect-to = "::127.0.0.1:{server.port}"', f'cacert = "{certificate.chain}"']
    (shared.path / ".curlrc").write_text("\n".join([*leads, 'write-out = "%{http_code}"', "silent"]))
    (statement,) = re.findall(r"^STATEMENT='(.*)'$", server.out, re.MULTILINE)

    def post(path: str, fields: dict[str, str]) -> dict[str, str]:
        answer = curl(shared, f"curl https://sp.auth.adobe.com/o/client/{path} --json '{json.dumps(fields)}'")
        assert answer.endswith("201"), answer
        return dict(json.loads(answer.removesuffix("201")))

    made = post("register", {"software_statement": statement})
    credentials = {name: made[name] for name in ("client_id", "client_secret")}
    return post("token", {**credentials, "grant_type": "client_credentials"})["access_token"]


def curl(folder: "Folder", command: str) -> str:
    return folder.bash(command, CURL_HOME=str(folder.path))


@pytest.mark.parametrize("command", CURLS)
def test_a_documented_curl_is_answered_with_204(shared: "Folder", token: str, command: str) -> None:
    assert curl(shared, command.removeprefix("$ ").replace("<access_token_here>", token)) == "204"


@pytest.mark.parametrize("command", CURLS)
def test_a_documented_curl_without_its_token_is_denied(shared: "Folder", token: str, command: str) -> None:
    answer = curl(shared, command.removeprefix("$ "))
    assert (json.loads(answer[:-3])["error"], answer[-3:]) == ("access_denied", "401")
