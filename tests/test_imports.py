"""
The import contracts of pyproject.toml notice what they forbid: wrong imports are planted in a copy of the source, and
the linter has to find every one of them. That the tree as it is breaks none is a step of `make check`.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]

#: by contract: a module, and what it may not import; one line at least for each contract
PLANTED = {
    "layers: nothing looks up": {
        "core.trial": "temppass.store temppass.wire",
        "store": "temppass.service temppass.wire",
        "service.decisions": "temppass.web.problems temppass.wiring",
        "web.v2": "temppass.storage.memory temppass.settings temppass.demo",
        "storage.memory": "temppass.server",
        "settings": "temppass.wiring",
        "wiring": "temppass.testing",
        "testing": "temppass.cli",
        "commands.access": "temppass.cli",
    },
    "the core is pure": {
        "core.reset": "temppass.service temppass.client temppass.failure asyncio time os sqlite3 starlette click",
    },
    "only the tokens know cryptography": {
        "core.calendar": "cryptography",
        "core.world": "joserfc",
        "core.keys": "joserfc",
        "service.sessions": "joserfc",
        "web.dcr": "cryptography",
    },
    "the port knows the core's nouns alone": {"store": "temppass.storage.memory temppass.client.place sqlite3"},
    "adapters know only the core, the port and their driver": {
        "storage.sqlite": "temppass.service temppass.settings temppass.failure structlog",
    },
    "the use cases know no HTTP and no adapter": {
        "service.resets": "temppass.wire temppass.storage temppass.web starlette httpx2 asyncpg temppass.client",
    },
    "the wire's shapes know nothing": {"wire": "temppass.core temppass.store temppass.service starlette"},
    "the edge knows no adapter, no socket and no client": {
        "web.reset": "temppass.storage temppass.server temppass.client uvicorn asyncpg",
    },
    "sockets know no use case": {"server": "temppass.service temppass.storage temppass.wiring temppass.client"},
    "a connection knows no room but the crowd and the wire": {
        "connection": "temppass.core temppass.service temppass.web temppass.server temppass.settings",
        "crowd": "temppass.store temppass.client",
    },
    "what knows nothing": {
        "failure": "temppass.core temppass.client",
        "private": "temppass.storage temppass.settings",
        "workers": "temppass.server temppass.service",
    },
    "only the wiring knows an adapter": {
        "testing": "temppass.storage.memory",
        "demo": "temppass.storage.sqlite temppass.client",
        "settings": "temppass.storage temppass.commands",
    },
    "the client knows the core alone": {
        "client.flow": "temppass.service temppass.store temppass.wire temppass.tools temppass.failure click starlette",
    },
    "the tools know the client and the core alone": {
        "tools.doctor": "temppass.commands temppass.wiring temppass.testing temppass.private httpx2 click",
    },
    "only the commands know the tools": {
        "core.act": "temppass.tools",
        "client.vault": "temppass.tools.profiles",
        "web.app": "temppass.tools.curl",
        "demo": "temppass.tools",
    },
    "commands know no database and no edge": {
        "commands.shared": "temppass.storage.sqlite temppass.web starlette uvicorn sqlite3",
        "commands.local": "temppass.storage.memory",
        "commands.serve": "temppass.web.app",
    },
    "only two commands open a store": {
        "commands.catalogue": "temppass.wiring temppass.settings",
        "commands.local": "temppass.server",
        "commands.reset": "temppass.wiring temppass.demo temppass.workers",
    },
}


class Wrong(NamedTuple):
    """An import, and the lines on which it stands."""

    importer: str
    imported: str
    lines: str


def plant(source: Path, module: str, imported: str) -> Wrong:
    """Add an import to a module, once for all of it and once late, within a function."""
    file = source / f"{module.replace('.', '/')}.py"
    file = file if file.exists() else source / module.replace(".", "/") / "__init__.py"
    text = file.read_text("utf-8") + f"\nimport {imported}\n\ndef _late() -> None:\n    import {imported}\n"
    file.write_text(text, "utf-8")
    last = len(text.splitlines())
    return Wrong(f"temppass.{module}", imported, f"l.{last - 3}, l.{last}")


def found(report: str) -> dict[str, set[Wrong]]:
    """Answer what the linter's report says of each contract that is broken; no chain by way of another room."""
    told: dict[str, set[Wrong]] = defaultdict(set)
    names = {contract["name"] for contract in CONTRACTS}
    name = ""
    for paragraph in report.partition("Broken contracts")[2].split("\n\n"):
        name = next((line for line in paragraph.splitlines() if line in names), name)
        if wrong := re.fullmatch(r"-\s+(\S+) -> (\S+) \((.+)\)", paragraph.strip()):
            told[name].add(Wrong(*wrong.groups()))
    return told


def test_every_contract_has_a_planted_import() -> None:
    assert list(PLANTED) == [contract["name"] for contract in CONTRACTS]


@pytest.mark.process
def test_every_planted_import_is_found(tmp_path: Path) -> None:
    source = tmp_path / "temppass"
    shutil.copytree(ROOT / "src" / "temppass", source, ignore=shutil.ignore_patterns("__pycache__"))
    planted = {
        name: {plant(source, module, imported) for module, imports in rows.items() for imported in imports.split()}
        for name, rows in PLANTED.items()
    }
    linter = Path(sys.executable).with_name("lint-imports")
    run = [str(linter), "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    place = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "500"}
    done = subprocess.run(run, env=place, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = found(done.stdout)
    assert {name: wrong - told[name] for name, wrong in planted.items()} == {name: set() for name in planted}
