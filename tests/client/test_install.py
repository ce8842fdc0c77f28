"""
Who installs temppass without extras has the whole client, and nothing of the server is imported for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
NOT_INSTALLED = sorted(
    re.split(r"[^a-z0-9-]", requirement)[0].replace("-", "_")
    for requirement in chain.from_iterable(EXTRAS[name] for name in EXTRAS if name != "dev")
)

_USER = """
import asyncio, json, sys

blocked = set(json.loads(sys.argv[1]))
asked = []

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            asked.append(name)
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, NotInstalled())

import httpx2
import temppass

ANSWERS = {
    "/o/client/register": httpx2.Response(201, json={"client_id": "i", "client_secret": "s"}),
    "/o/client/token": httpx2.Response(201, json={"access_token": "t"}),
}
asking = httpx2.MockTransport(lambda request: ANSWERS.get(request.url.path, httpx2.Response(204)))
names = {name: getattr(temppass, name) for name in temppass.__all__}
here, vault = temppass.place_at("http://pass.example"), temppass.MemoryVault()

async def reset():
    async with temppass.AsyncClient(here, "statement", vault=vault, transport=asking) as client:
        return await client.reset_key("REF", "P", temppass.ALL_KEYS)

with temppass.Client(here, "statement", vault=vault, transport=asking) as client:
    done = client.reset_device("REF", "P", "tv") == asyncio.run(reset()) == temppass.ResetDone()

ours = {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("temppass.")}
print(json.dumps([done, asked, sorted(ours)]))
"""


@pytest.mark.process
def test_the_double_says_what_to_install_where_nothing_of_the_server_is() -> None:
    program = _USER.partition("import httpx2")[0] + "import temppass.testing"
    command = [sys.executable, "-c", program, json.dumps(NOT_INSTALLED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: temppass.testing needs temppass[server], of which structlog is not installed; "
        "pip install '.[server]' in the folder of the source"
    )


@pytest.mark.process
def test_the_client_works_where_nothing_of_the_server_is_installed() -> None:
    command = [sys.executable, "-W", "error", "-c", _USER, json.dumps(NOT_INSTALLED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, json.loads(done.stdout or "null")) == (
        "",
        [True, [], ["temppass.client", "temppass.core", "temppass.private"]],
    )
