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
from collections.abc import Callable

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


def swept(ours: Ours) -> int:
    """Answer how many ledgers the server's sweeper has removed."""
    _, metrics = ask(ours.served, "GET", "/metrics")
    found = re.search(rb"^temppass_swept_ledgers_total (\S+)$", metrics, re.MULTILINE)
    if found is None:
        raise BenchError("the server has no metric of swept ledgers")
    return int(float(found[1]))


def measure(ours: Ours, kind: str) -> float:
    before = waited_s(ours.served.pid)
    figure = wrk(ours.served, [authorize(ours.token, f"@{kind.upper()}@")])
    print(f"    {(waited_s(ours.served.pid) - before) / SECONDS:.0%} of the time others had the server's core")
    return figure


def measure_swept(ours: Ours, kind: str) -> float:
    """
    Measure between SIGCONT and SIGSTOP. Raises BenchError unless ledgers went meanwhile.

    A server that was stopped in the middle of a chunk finds that the store took too long, and goes on a second later.
    """
    os.kill(ours.served.pid, signal.SIGCONT)
    try:
        before, deadline = swept(ours), time.monotonic() + GOES_ON_S
        while swept(ours) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        before = swept(ours)
        figure = measure(ours, kind)
        after = swept(ours)
    finally:
        os.kill(ours.served.pid, signal.SIGSTOP)
    print(f"    {(after - before) / SECONDS:,.0f} ledgers swept a second")
    if after == before or after >= LEDGERS:
        raise BenchError(f"nothing was swept, or all of it: {before} before, {after} after")
    return figure


def main() -> None:
    for store in STORES:
        print(f"decisions a second beside the sweeper, {store}")
        with empty_store(store) as url, empty_store(store) as quiet_url:
            with temppass(url) as ours:
                measure(ours, "known")
            fill(url, LEDGERS)
            with temppass(url) as ours:
                ask(ours.served, "DELETE", EVERYBODY, headers={"Authorization": f"Bearer {ours.token}"})
            with temppass(quiet_url) as quiet, temppass(url, program=EAGER) as sweeping:
                os.kill(sweeping.served.pid, signal.SIGSTOP)
                variants: dict[str, Callable[[], float]] = {}
                for kind in KINDS:
                    variants[f"{kind}, quiet"] = lambda kind=kind: measure(quiet, kind)
                    variants[f"{kind}, sweeping"] = lambda kind=kind: measure_swept(sweeping, kind)
                    variants[f"{kind}, quiet again"] = lambda kind=kind: measure(quiet, kind)
                try:
                    for warm_up in variants.values():
                        warm_up()
                    figures = in_turn(variants)
                finally:
                    os.kill(sweeping.served.pid, signal.SIGCONT)  # or it could not end
        for kind in KINDS:
            share = ratio(figures[f"{kind}, sweeping"], figures[f"{kind}, quiet"])
            claim(f"{kind} subjects while sweeping / not, {store}", share, BOUND)
            noise = ratio(figures[f"{kind}, quiet again"], figures[f"{kind}, quiet"])
            claim(f"  not sweeping / not, {store}", noise, None)


if __name__ == "__main__":
    run(main)
