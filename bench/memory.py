"""
Memory of the server under a steady mix of decisions on new and known subjects, profiles and resets. What is claimed is
that the second half does not grow: the first fills caches, which is why the store begins with more ledgers than they
hold. TEMPPASS_BENCH_SOAK_SECONDS=3600 is the hour that design §7 speaks of.
"""

import os
import re
import statistics
import threading
import time
from pathlib import Path

from bulk import fill
from harness import STORES, BenchError, Ours, ask, claim, empty_store, run, temppass, wrk
from traffic import AUTHORIZE, authorize, known, profile, reset

SOAK_S = int(os.environ.get("TEMPPASS_BENCH_SOAK_SECONDS", "120"))
LEDGERS = int(os.environ.get("TEMPPASS_BENCH_LEDGERS", "1000000")) * 2
SAMPLES = 40
#: growth of the second half, in per cent of what the server uses
BOUND = 2


def mixed(token: str) -> list[bytes]:
    """Of a hundred: 30 decisions on new devices, 45 on known ones, 20 profiles, 5 resets of one device."""
    new, old = [authorize(token, "@NEW@")] * 6, [authorize(token, "@KNOWN@")] * 9
    profiles = [profile(token, "@KNOWN@")] * 4
    return [
        request for number in range(100) for request in (*new, *old, *profiles, reset(token, known(number * 7 + 3)))
    ]


def resident_mib(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def soak(ours: Ours) -> list[tuple[float, float]]:
    """Answer (seconds, MiB) over the load."""
    rates: list[float] = []
    failures: list[BenchError] = []

    def load() -> None:
        try:
            rates.append(wrk(ours.served, mixed(ours.token), seconds=SOAK_S))
        except BenchError as error:
            failures.append(error)

    loading, start, samples = threading.Thread(target=load), time.monotonic(), []
    loading.start()
    while loading.is_alive():
        samples.append((time.monotonic() - start, resident_mib(ours.served.pid)))
        loading.join(SOAK_S / SAMPLES)
    if failures:
        raise failures[0]
    print(f"  {rates[0]:,.0f} requests a second; MiB: {' '.join(f'{mib:.1f}' for _, mib in samples)}")
    return samples


def main() -> None:
    for kind in STORES:
        print(f"memory of the server over {SOAK_S} s of load, {kind}")
        with empty_store(kind) as url:
            with temppass(url) as ours:
                headers = {"Authorization": f"Bearer {ours.token}", "AP-Device-Identifier": f"fingerprint {known(1)}"}
                ask(ours.served, "POST", AUTHORIZE, '{"resources":["R1"]}', headers)
            fill(url, LEDGERS)
            with temppass(url) as ours:
                samples = soak(ours)
        second_half = samples[len(samples) // 2 :]
        slope = statistics.linear_regression(*zip(*second_half, strict=True)).slope
        used = statistics.mean(mib for _, mib in second_half)
        grown = 100 * slope * (second_half[-1][0] - second_half[0][0]) / used
        print(f"  second half: {used:.1f} MiB, slope {slope * 1024:+.1f} KiB a second")
        claim(f"growth of memory in the second half, {kind}", grown, BOUND, " %", at_most=True)


if __name__ == "__main__":
    run(main)
