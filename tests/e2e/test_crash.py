"""
Nothing that was acknowledged is lost: the server is killed in the middle of its work, started again on the same file,
and asked about every permit and every reset it has answered.
"""

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2

from temppass import server as listening
from temppass.store import StoreUnavailable

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder, Server, Wire

#: what a title is denied with while the store cannot write
AWAY = "maximum_execution_time_exceeded"
VIEWERS = 8
ROUNDS = 3

#: (device, user key or "", pass) -> (end of the trial, or None where it was reset; titles used)
Told = dict[tuple[str, str, str], tuple[int | None, list[str]]]


class Load:
    """What some viewers were told until, after `answers_max` answers, one of them has the server killed."""

    def __init__(self, wire: "Wire", answers_max: int, kill: Callable[[], Any]) -> None:
        self.told: Told = {}
        self._wire = wire
        self._answers_left = answers_max
        self._kill = kill
        self._lock = threading.Lock()

    def run(self, name: str) -> None:
        with ThreadPoolExecutor(VIEWERS) as viewers:
            list(viewers.map(self._view, [f"{name}-{number}" for number in range(VIEWERS)]))

    def _view(self, name: str) -> None:
        wire, number = self._wire, 0
        try:
            while self._answers_left > 0:
                number += 1
                device, key = f"tv-{name}-{number}", f"{name}-{number}@example.net"
                basic, promo = (device, "", "Basic"), (device, key, "Promo")
                self._answered(basic, _permitted(wire.decide(device, "FILM-1")))
                self._answered(promo, _permitted(wire.decide(device, "FILM-2", "Promo", key), "FILM-2"))
                if number % 3 == 0:
                    self._reset(basic, device_id=device)
                if number % 3 == 1:
                    self._reset(promo, device_id=device)
                    self._reset(promo, key=key)
        except httpx2.TransportError:
            pass  # the server is gone

    def _reset(self, subject: tuple[str, str, str], **target: str) -> None:
        before = self.told.pop(subject, None)  # while a reset is under way, either is right
        assert self._wire.reset(subject[2], **target) == 204
        if before is None or subject[2] == "Basic":  # a promotional viewer is known by device and key
            self._answered(subject, (None, []))

    def _answered(self, subject: tuple[str, str, str], state: tuple[int | None, list[str]]) -> None:
        with self._lock:
            self.told[subject] = state
            self._answers_left -= 1
            last = self._answers_left == 0
        if last:
            self._kill()


def _permitted(decision: dict[str, Any], *used: str) -> tuple[int, list[str]]:
    return decision["notAfter"], list(used)


def test_what_was_acknowledged_is_there_after_kill_9(folder: "Folder") -> None:
    folder.declare()
    server = folder.serve()
    wire = folder.application(server)
    told: Told = {}
    for number in range(ROUNDS):
        load = Load(wire, random.randrange(30, 300), lambda: server.end(signal.SIGKILL))
        load.run(str(number))
        told |= load.told
        assert found_after_start(server, wire, told) == told


def test_what_was_acknowledged_is_there_after_the_disk_was_full(folder: "Folder") -> None:
    folder.declare()
    server = folder.serve()
    wire = folder.application(server)
    server.end()
    server.start(file_kib_max=256)
    wire.move(server.url)
    told: Told = {}
    for number in range(1_000):
        decision = wire.decide(f"tv-{number}", "FILM-1")
        if not decision["authorized"]:
            break
        told[f"tv-{number}", "", "Basic"] = _permitted(decision)
    assert (decision["error"]["code"], wire.reset("Basic", device_id="tv-0")) == (AWAY, 503)
    server.end()
    assert (len(told) > 1, found_after_start(server, wire, told)) == (True, told)


def found_after_start(server: "Server", wire: "Wire", told: Told) -> Told:
    """Start the server again and answer what it knows of those who were told something."""
    started_at = time.time_ns() // 1_000_000
    server.start()
    wire.move(server.url)

    def state(device: str, key: str, pass_id: str) -> tuple[int | None, list[str]]:
        profile = wire.profile(device, pass_id, key)
        used = profile["attributes"].get("used_assets", {"value": []})["value"]
        return (profile["notAfter"] if profile["notBefore"] < started_at else None), used

    return {subject: state(*subject) for subject in told}


def test_a_tick_that_fails_is_not_the_last() -> None:
    """Else a store that was away for a moment would end all recurring resets until the next start."""
    times = 0

    async def tick() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise OSError("away")
        raise asyncio.CancelledError

    with asyncio.Runner() as runner:
        ticking = runner.get_loop().create_task(listening._every(0, tick))
        runner.run(asyncio.wait_for(asyncio.wait([ticking]), 10))
    assert times == 2


def test_upkeep_that_found_the_store_away_is_taken_up_again_soon() -> None:
    """A sweep that an outage broke off need not wait for its turn; upkeep that failed for good has to."""
    ends: list[Exception | None] = [None, StoreUnavailable(), StoreUnavailable(), None, OSError(), None]
    paused_s = []

    async def tick() -> None:
        if (end := ends.pop(0)) is not None:
            raise end

    async def pause(pause_s: float) -> None:
        paused_s.append(pause_s)
        if not ends:
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(listening._every(30, tick, pause))
    assert paused_s == [30, 30, listening.RETRY_S, listening.RETRY_S, 30, 30, 30]
