"""
Access tokens a second against npm's oidc-provider 9 (peers/oidc): client_credentials with the secret in the form, the
token a JWT signed with RS256 by a 2048-bit key, one core each.

What differs: we look the client up in a durable SQLite store at every request; oidc-provider has it in memory. It is
asked for both scopes by name; our tokens carry the scopes of the application.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import HERE, BenchError, Served, ask, claim, empty_store, in_turn, ratio, run, serving, temppass, wrk
from traffic import render

BOUND = 1.2
#: where the peer is installed: in the virtual environment, so that the tree stays as it is
PEER = Path(sys.prefix) / "bench-oidc"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def install() -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise BenchError("node and npm are missing; install Node.js 20 or later")
    shutil.copytree(HERE / "peers/oidc", PEER, dirs_exist_ok=True)
    command = [npm, "install", "--no-package-lock", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(command, cwd=PEER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"npm cannot install oidc-provider: {done.stderr[-1000:]}")


@contextmanager
def peer() -> Iterator[tuple[Served, dict[str, str]]]:
    """Run oidc-provider; answer it and the credentials of its client."""
    with serving(["node", str(PEER / "server.mjs")], {"NODE_ENV": "production"}) as served:
        (client,) = re.findall(r"^CLIENT='(.+)'$", served.output, re.MULTILINE)
        yield served, {**json.loads(client), "scope": "api:client:v2 temporary:passes:owner"}


def form(client: dict[str, str], *names: str) -> str:
    chosen = {name: client[name] for name in ("client_id", "client_secret", *names)}
    return urllib.parse.urlencode({"grant_type": "client_credentials", **chosen})


def check_signature(served: Served, path: str, body: str) -> None:
    """Prove that the token is what is compared: an RS256 JWT of 2048 bits."""
    token = json.loads(ask(served, "POST", path, body, FORM)[1])["access_token"]
    header, _, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    if json.loads(header)["alg"] != "RS256" or len(signature) != 256:
        raise BenchError(f"{served.url}{path} answers another kind of token: {header!r}")


def main() -> None:
    install()
    print("access tokens a second")
    with empty_store("sqlite") as url, temppass(url) as ours, peer() as (theirs, their_client):
        asked = {
            "temppass": (ours.served, "/o/client/token", form(ours.client)),
            "oidc-provider": (theirs, "/token", form(their_client, "scope")),
        }
        variants = {}
        for name, (served, path, body) in asked.items():
            check_signature(served, path, body)
            requests = [render("POST", path, FORM, body)]
            variants[name] = lambda served=served, requests=requests: wrk(served, requests)
        for warm_up in variants.values():
            warm_up()
        figures = in_turn(variants)
    claim("access tokens, times oidc-provider", ratio(figures["temppass"], figures["oidc-provider"]), BOUND, " x")


if __name__ == "__main__":
    run(main)
