"""
Latency of decisions for ordinary viewers beside 16 connections that ask for as much as they may, one ask after another:
a thousand titles in a call, titles of 2 KiB that JSON writes as 12 KiB, and single titles of ledgers that are full of
those. The hostile connections belong to a process of their own, beside the generator of the ordinary ones.
"""

import base64
import contextlib
import itertools
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from harness import (  # fmt: skip
    ENVIRON,
    ROUNDS,
    SECONDS,
    STORES,
    BenchError,
    Ours,
    Served,
    claim,
    empty_store,
    folder,
    percentile,
    run,
    temppass,
)
from traffic import known_authorizes, paced, play, render

BOUND = 20
HOSTILE_CONNECTIONS = 16
#: ordinary viewers' asks a second
RATE = 200
#: as large as a catalogue may declare them
PASSES = """
[[pass]]
id = "Many"
kind = "promotional"
ttl = "1h"
resources_max = 1000
resource_bytes_max = 65
resources_per_call_max = 1000
identity_key = "email"
channels = ["REF"]

[[pass]]
id = "Long"
kind = "promotional"
ttl = "1h"
resources_max = 32
resources_per_call_max = 32
identity_key = "email"
channels = ["REF"]
"""
#: five of these fill a body
LONG = "\x01" * 2044


def apply(url: str) -> None:
    """Add PASSES to the catalogue of a running server."""
    with folder() as path:
        file = path / "hostile.toml"
        program = (sys.executable, "-m", "temppass.cli", "catalogue")
        shown = subprocess.run([*program, "show", "--store", url], env=ENVIRON, check=True, capture_output=True)
        file.write_text(shown.stdout.decode() + PASSES)
        subprocess.run([*program, "apply", str(file), "--store", url], env=ENVIRON, check=True, capture_output=True)


def request(token: str, pass_id: str, viewer: str, titles: list[str]) -> bytes:
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json;charset=utf-8",
        "AP-Device-Identifier": f"fingerprint {base64.b64encode(viewer.encode()).decode()}",
        "AP-TempPass-Identity": base64.b64encode(json.dumps({"email": viewer}).encode()).decode(),
    }
    return render("POST", f"/api/v2/REF/decisions/authorize/{pass_id}", headers, json.dumps({"resources": titles}))


def many(token: str, connection: int) -> Iterator[bytes]:
    """A thousand titles in a call, always of a new viewer."""
    titles = [f"{number:055d}" for number in range(1000)]
    for number in itertools.count():
        yield request(token, "Many", f"many-{connection}-{number}", titles)


def long(token: str, connection: int) -> Iterator[bytes]:
    """Five long titles in a call, always of a new viewer."""
    titles = [f"{number:04d}{LONG}" for number in range(5)]
    for number in itertools.count():
        yield request(token, "Long", f"long-{connection}-{number}", titles)


def filling(token: str) -> Iterator[bytes]:
    """Fill one viewer's ledger with long titles."""
    for first in range(0, 32, 4):
        yield request(token, "Long", "full", [f"{number:04d}{LONG}" for number in range(first, first + 4)])


def full(token: str, _connection: int) -> Iterator[bytes]:
    """One title in a call, of the viewer whose ledger is full."""
    return itertools.repeat(request(token, "Long", "full", ["R1"]))


KINDS: dict[str, Callable[[str, int], Iterator[bytes]]] = {"many": many, "long": long, "full": full}


async def _connection(served: Served, requests: Iterator[bytes], until: float) -> int:
    import asyncio  # noqa: PLC0415 - of the child process

    reader, writer = await asyncio.open_connection(*served.address, limit=1 << 22)
    answered = 0
    for each in itertools.takewhile(lambda _: time.monotonic() < until, requests):
        writer.write(each)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        status = int(head[9:12])
        if status not in {200, 503}:
            raise BenchError(f"a hostile ask was answered {status}")
        answered += status == 200
    writer.close()
    return answered


def _attack(served: Served, token: str, kind: str, seconds: float, answered: "multiprocessing.Queue[int]") -> None:
    import asyncio  # noqa: PLC0415 - of the child process

    async def attack() -> int:
        until = time.monotonic() + seconds
        await _connection(served, filling(token), until)
        asks = [KINDS[kind](token, connection) for connection in range(HOSTILE_CONNECTIONS)]
        return sum(await asyncio.gather(*(_connection(served, each, until) for each in asks)))

    answered.put(asyncio.run(attack()))


@contextlib.contextmanager
def attacked(ours: Ours, kind: str) -> Iterator[None]:
    """Attack until the block ends; print how much was answered. Raises BenchError where nothing was."""
    context = multiprocessing.get_context("spawn")
    answered: multiprocessing.Queue[int] = context.Queue()
    seconds = SECONDS + 2
    process = context.Process(target=_attack, args=(ours.served, ours.token, kind, seconds, answered))
    process.start()
    try:
        time.sleep(1.5)  # until the ledger is full, and everybody has begun
        yield
        process.join(30)
    finally:
        process.kill()
    if process.exitcode != 0 or not (count := answered.get()):
        raise BenchError("nothing hostile was answered")
    print(f"    {count / seconds:,.0f} hostile asks answered a second")


def p50(ours: Ours) -> float:
    answers = play(paced(ours.served, known_authorizes(ours.token), RATE, SECONDS))
    return percentile([answer.latency_ms for answer in answers], 0.50)


def main() -> None:
    for store in STORES:
        print(f"p50 of ordinary viewers beside {HOSTILE_CONNECTIONS} hostile connections, {store}")
        with empty_store(store) as url, temppass(url) as ours:
            apply(url)
            figures: dict[str, list[float]] = {"alone": [], **{kind: [] for kind in KINDS}}
            p50(ours)
            for _ in range(ROUNDS):
                figures["alone"].append(p50(ours))
                for kind in KINDS:
                    with attacked(ours, kind):
                        figures[kind].append(p50(ours))
        for kind, of in figures.items():
            print(f"  {kind:<8} {statistics.median(of):8.2f} ms   median of {', '.join(f'{ms:.2f}' for ms in of)}")
        claim(f"p50 of ordinary viewers alone, {store}", statistics.median(figures["alone"]), None, " ms")
        for kind in KINDS:
            what = f"p50 of ordinary viewers beside hostile asks, {kind}, {store}"
            claim(what, statistics.median(figures[kind]), BOUND, " ms", at_most=True)


if __name__ == "__main__":
    run(main)
