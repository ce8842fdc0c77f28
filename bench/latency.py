"""
Latency of decisions on known subjects at half of the throughput that was measured just before, on one server core.
The load is open-loop and latency counts from the moment that a request was due (traffic.py).
"""

import statistics

from harness import ROUNDS, SECONDS, STORES, claim, empty_store, percentile, run, temppass, wrk
from traffic import authorize, known_authorizes, paced, play

BOUNDS = {"sqlite": 10, "postgres": 15}


def main() -> None:
    for store in STORES:
        print(f"latency of decisions on known subjects, {store}")
        p50s, p99s = [], []
        with empty_store(store) as url, temppass(url) as ours:
            load = [authorize(ours.token, "@KNOWN@")]
            wrk(ours.served, load)
            for _ in range(ROUNDS):
                rate = wrk(ours.served, load) / 2
                answers = play(paced(ours.served, known_authorizes(ours.token), rate, SECONDS))
                latency_ms = [answer.latency_ms for answer in answers]
                p50s.append(percentile(latency_ms, 0.50))
                p99s.append(percentile(latency_ms, 0.99))
                print(f"  at {rate:>7,.0f}/s   p50 {p50s[-1]:6.2f} ms   p99 {p99s[-1]:6.2f} ms")
        claim(f"p50 at half of the maximum, {store}", statistics.median(p50s), None, " ms")
        claim(f"p99 at half of the maximum, {store}", statistics.median(p99s), BOUNDS[store], " ms", at_most=True)


if __name__ == "__main__":
    run(main)
