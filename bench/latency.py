"""
Latency of decisions on known subjects at half of the throughput that was measured just before, on one server core.
The load is open-loop and latency counts from the moment that a request was due (traffic.py).

The columns tell whose the time is. `alone` is the same load against a server that does nothing (peers/echo.py): what
generator, kernel and machine take by themselves. `inside` is how long our server says that it had each request in hand
(timed.py), and `at work` for how much of that its threads had a core. `waited` is for how much of the time server and
generator were ready to run while others had the core: above a few per cent, this machine is too busy for a p99. And
before all, how much slower than usual work over much memory becomes for 50 ms on the server's core while nothing else
runs here: what neighbours take that no counter of this machine shows.
"""

import os
import random
import statistics
import sys
import time
from collections.abc import Sequence

from harness import (  # fmt: skip
    HERE,
    LOAD_CORES,
    ROUNDS,
    SECONDS,
    SERVER_CORES,
    STORES,
    Served,
    claim,
    empty_store,
    percentile,
    run,
    serving,
    temppass,
    waited_s,
    wrk,
)
from traffic import Answer, authorize, known_authorizes, paced, play

BOUNDS = {"sqlite": 10, "postgres": 15}
TIMED = (sys.executable, str(HERE / "timed.py"))
ECHO = (sys.executable, str(HERE / "peers/echo.py"))


def p99(values: Sequence[float]) -> float:
    return percentile(values, 0.99)


def measure(name: str, served: Served, token: str, rate: float) -> list[Answer]:
    processes = (served.pid, os.getpid())
    before = [waited_s(process) for process in processes]
    answers: list[Answer] = play(paced(served, known_authorizes(token), rate, SECONDS))
    server, generator = (
        (waited_s(process) - waited) / SECONDS for process, waited in zip(processes, before, strict=True)
    )
    latency_ms = [answer.latency_ms for answer in answers]
    print(
        f"  at {rate:>7,.0f}/s   {name:<6} p50 {percentile(latency_ms, 0.50):6.2f} ms   p99 {p99(latency_ms):6.2f} ms"
        f"   inside {p99([answer.inside_ms for answer in answers]):6.2f} ms"
        f"   at work {p99([answer.cpu_ms for answer in answers]):6.2f} ms"
        f"   asked late {p99([answer.late_ms for answer in answers]):6.2f} ms"
        f"   waited: server {server:4.0%}, generator {generator:4.0%}"
    )
    return answers


def slowest_window(seconds: float) -> float:
    """Answer by how much the slowest 50 ms of work over some 30 MB were slower than the median."""
    os.sched_setaffinity(0, SERVER_CORES)
    things = [[number, str(number), {number: number}] for number in range(60_000)]
    random.shuffle(things)
    windows: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        pieces = 0
        while time.perf_counter() < start + 0.05:
            for number, text, known in things[pieces * 1000 % 60_000 :][:1000]:
                assert known[number] + len(text) > number
            pieces += 1
        windows.append((time.perf_counter() - start) / pieces)
    os.sched_setaffinity(0, LOAD_CORES)
    return max(windows) / statistics.median(windows)


def main() -> None:
    claim("slowest 50 ms of this machine by itself", slowest_window(5 * SECONDS), None, " x")
    for store in STORES:
        print(f"latency of decisions on known subjects, {store}; inside, at work and late are p99 too")
        alone, whole = list[list[Answer]](), list[list[Answer]]()
        with empty_store(store) as url, serving(ECHO) as echo, temppass(url, program=TIMED) as ours:
            load = [authorize(ours.token, "@KNOWN@")]
            wrk(ours.served, load)
            for _ in range(ROUNDS):
                rate = wrk(ours.served, load) / 2
                alone.append(measure("alone", echo, ours.token, rate))
                whole.append(measure("ours", ours.served, ours.token, rate))

        def of(rounds: list[list[Answer]], column: str, share: float = 0.99) -> float:
            return statistics.median(percentile([getattr(a, column) for a in answers], share) for answers in rounds)

        claim(f"p50 at half of the maximum, {store}", of(whole, "latency_ms", 0.50), None, " ms")
        claim(f"p99 at half of the maximum, {store}", of(whole, "latency_ms"), BOUNDS[store], " ms", at_most=True)
        claim(f"  p99 of the generator alone, {store}", of(alone, "latency_ms"), None, " ms")
        claim(f"  p99 inside the server, {store}", of(whole, "inside_ms"), None, " ms")
        claim(f"  p99 at work in the server, {store}", of(whole, "cpu_ms"), None, " ms")


if __name__ == "__main__":
    run(main)
