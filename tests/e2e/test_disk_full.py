"""
The disk of an embedded store fills up under load: nothing that was acknowledged is lost, what is said meanwhile is
what the contract has for it, and service returns by itself when room is made.
"""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.e2e.conftest import Folder, Server
from tests.e2e.load import CONTRACTED, Load, found

MIB = 1024 * 1024


class Disk(NamedTuple):
    """Where there is room for some hundred commits of a server that starts with this bound, until more is made."""

    path: Path
    file_kib_max: int | None
    make_room: Callable[[Server], None]


def small_disk(path: Path) -> Disk:
    """Fill a file system of 4 MiB up to the last MiB."""
    ballast = path / "ballast"
    ballast.write_bytes(bytes(3 * MIB))
    return Disk(path, None, lambda _server: ballast.unlink())


def limited(path: Path) -> Disk:
    """Let no file of the server grow beyond half a MiB."""

    def lift(server: Server) -> None:
        _, highest = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (highest, highest))

    return Disk(path, 512, lift)


@pytest.fixture(params=["small disk", "limited files"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk of its own where these tests may mount one; else, and the second time, a limit stands for it."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    wanted = request.param == "small disk" and os.geteuid() == 0
    if wanted and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield small_disk(place)
        subprocess.run(["umount", str(place)], check=True)
    else:
        yield limited(place)


@pytest.fixture
def folder(tmp_path: Path, disk: Disk) -> Iterator[Folder]:
    folder = Folder(tmp_path, TEMPPASS_STORE=f"sqlite:///{disk.path}/preview.db")
    yield folder
    folder.close()


def test_the_disk_fills_up_under_load(disk: Disk, folder: Folder) -> None:
    folder.declare()
    server = folder.serve()
    wire = folder.application(server)
    server.end()
    server.start(disk.file_kib_max)
    wire.move(server.url)
    with Load([wire]) as load:
        load.wait_for_faults()
        disk.make_room(server)
        load.wait_for_answers()
    assert (load.faults.total() > 0, load.faults.keys() - CONTRACTED) == (True, set())
    assert found(wire, load.told) == load.told
    server.end()
    server.start()
    wire.move(server.url)
    assert found(wire, load.told) == load.told
