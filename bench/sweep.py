"""
Decisions a second while the sweeper removes dead ledgers, against the same server with nothing to sweep.

Everybody in a full store is reset, and the server with something to sweep is told that a reset can be undone for no
time at all, so that it begins at once; it is stopped (SIGSTOP) while the other one is measured. That it swept all
through each measurement is read from its metrics.

The other server is measured twice a round: its figures against one another, which should be 1, say what this machine
alone does to such a ratio.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bulk import fill
from harness import (  # fmt: skip
    ROUNDS,
    SECONDS,
    STORES,
    BenchError,
    Ours,
    ask,
    claim,
    empty_store,
    in_turn,
    ratio,
    run,
    temppass,
    waited_s,
    wrk,
)
from reset import EVERYBODY
from traffic import authorize

BOUND = 0.9
KINDS = ("known", "new")
#: a sweep that the stop broke off has gone on by then
GOES_ON_S = 10
#: more than a sweep takes in all measurements of one kind of store, at 5,000 a second
LEDGERS = 6_000 * (ROUNDS + 2) * (SECONDS + 1) * len(KINDS)
#: our program, where a reset of everybody is final at once and looked for often
EAGER = (
    sys.executable,
    "-c",
    """
from temppass import cli
from temppass.core import reset
from temppass.service import upkeep
reset.UNDO_KEPT_MS, upkeep.TICK_S = 0, 0.2
cli.main()
""",
)


class Sweep(NamedTuple):
    """What is swept, and by which program; how many of them there are, and the metric that counts those that went."""

    what: str
    program: Sequence[str]
    of: int
    metric: str


SWEEP = Sweep("ledgers", EAGER, LEDGERS, "temppass_swept_ledgers_total")


def swept(ours: Ours, sweep: Sweep) -> int:
    """Answer how many the server has removed."""
    _, metrics = ask(ours.served, "GET", "/metrics")
    found = re.search(rf"^{re.escape(sweep.metric)} (\S+)$".encode(), metrics, re.MULTILINE)
    if found is None:
        raise BenchError(f"the server has no metric of swept {sweep.what}")
    return int(float(found[1]))


def measure(ours: Ours, kind: str) -> float:
    before = waited_s(ours.served.pid)
    figure = wrk(ours.served, [authorize(ours.token, f"@{kind.upper()}@")])
    print(f"    {(waited_s(ours.served.pid) - before) / SECONDS:.0%} of the time others had the server's core")
    return figure


def measure_swept(ours: Ours, kind: str, sweep: Sweep) -> float:
    """
    Measure between SIGCONT and SIGSTOP. Raises BenchError unless some went meanwhile.

    A server that was stopped in the middle of a chunk finds that the store took too long, and goes on a second later.
    """
    os.kill(ours.served.pid, signal.SIGCONT)
    try:
        before, deadline = swept(ours, sweep), time.monotonic() + GOES_ON_S
        while swept(ours, sweep) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        before = swept(ours, sweep)
        figure = measure(ours, kind)
        after = swept(ours, sweep)
    finally:
        os.kill(ours.served.pid, signal.SIGSTOP)
    print(f"    {(after - before) / SECONDS:,.0f} {sweep.what} swept a second")
    if after == before or after >= sweep.of:
        raise BenchError(f"nothing was swept, or all of it: {before} before, {after} after")
    return figure


def compare(quiet_url: str, url: str, sweep: Sweep) -> dict[str, list[float]]:
    """Measure a server with nothing to sweep, twice a round, and one that sweeps."""
    with temppass(quiet_url) as quiet, temppass(url, program=sweep.program) as sweeping:
        os.kill(sweeping.served.pid, signal.SIGSTOP)
        variants: dict[str, Callable[[], float]] = {}
        for kind in KINDS:
            variants[f"{kind}, quiet"] = lambda kind=kind: measure(quiet, kind)
            variants[f"{kind}, sweeping"] = lambda kind=kind: measure_swept(sweeping, kind, sweep)
            variants[f"{kind}, quiet again"] = lambda kind=kind: measure(quiet, kind)
        try:
            for warm_up in variants.values():
                warm_up()
            return in_turn(variants)
        finally:
            os.kill(sweeping.served.pid, signal.SIGCONT)  # or it could not end


def tell(figures: dict[str, list[float]], sweep: Sweep, store: str, bound: float) -> None:
    for kind in KINDS:
        share = ratio(figures[f"{kind}, sweeping"], figures[f"{kind}, quiet"])
        claim(f"{kind} subjects while {sweep.what} are swept / not, {store}", share, bound)
        noise = ratio(figures[f"{kind}, quiet again"], figures[f"{kind}, quiet"])
        claim(f"  not sweeping / not, {store}", noise, None)


def main() -> None:
    for store in STORES:
        print(f"decisions a second beside the sweeper, {store}")
        with empty_store(store) as url, empty_store(store) as quiet_url:
            with temppass(url) as ours:
                measure(ours, "known")
            fill(url, LEDGERS)
            with temppass(url) as ours:
                ask(ours.served, "DELETE", EVERYBODY, headers={"Authorization": f"Bearer {ours.token}"})
            figures = compare(quiet_url, url, SWEEP)
        tell(figures, SWEEP, store, BOUND)


if __name__ == "__main__":
    run(main)
