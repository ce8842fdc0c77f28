"""
The reset of everybody over one ledger and over a million: the time of `DELETE …/reset?device_id=all`, and what
decisions notice of one that happens among them. Before each round the floor is lowered again, so that there is
something to reset.
"""

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence

from bulk import fill, lower_floor
from harness import (
    ROUNDS,
    SECONDS,
    STORES,
    BenchError,
    Ours,
    ask,
    claim,
    empty_store,
    percentile,
    ratio,
    run,
    show,
    temppass,
    wrk,
)
from traffic import AUTHORIZE, CHANNEL, PASS, Answer, authorize, known, known_authorizes, paced, play

LEDGERS = int(os.environ.get("TEMPPASS_BENCH_LEDGERS", "1000000"))
BOUND = 1.5
RESETS = 40
EVERYBODY = f"/reset-tempass/v3/reset?device_id=all&requestor_id={CHANNEL}&mvpd_id={PASS}"


def authorized(ours: Ours, device: str) -> int:
    """Authorize one device; answer when its trial ends."""
    headers = {"Authorization": f"Bearer {ours.token}", "AP-Device-Identifier": f"fingerprint {device}"}
    _, body = ask(ours.served, "POST", AUTHORIZE, '{"resources":["R1"]}', headers)
    return int(json.loads(body)["decisions"][0]["notAfter"])


@contextlib.contextmanager
def filled_server(kind: str, ledgers: int) -> Iterator[tuple[str, Ours]]:
    """Run a server over a store with one ledger of our own and the rest of strangers."""
    with empty_store(kind) as url:
        with temppass(url) as ours:
            authorized(ours, known(0))
        fill(url, ledgers - 1)
        with temppass(url) as ours:
            yield url, ours


def resets_ms(stores: Sequence[tuple[str, Ours]]) -> list[float]:
    """Reset everybody in each of `stores` in turn, many times; answer the median time for each."""
    device = f"{secrets.randbelow(10**16):016d}"  # no round has seen it: the floor was lower then
    before, took_ms = [], [[] for _ in stores]
    with contextlib.ExitStack() as stack:
        connections = []
        for url, ours in stores:
            lower_floor(url)
            before.append(authorized(ours, device))
            connection = http.client.HTTPConnection(*ours.served.address, timeout=10)
            connections.append(stack.enter_context(contextlib.closing(connection)))
        for number in range(RESETS * len(stores)):
            which = number % len(stores)
            start = time.perf_counter()
            connections[which].request(
                "DELETE", EVERYBODY, headers={"Authorization": f"Bearer {stores[which][1].token}"}
            )
            response = connections[which].getresponse()
            response.read()
            took_ms[which].append((time.perf_counter() - start) * 1000)
            if response.status != 204:
                raise BenchError(f"a reset answered {response.status}")
    if any(authorized(ours, device) <= ended for (_, ours), ended in zip(stores, before, strict=True)):
        raise BenchError("a reset of everybody left a trial as it was")
    return [statistics.median(times) for times in took_ms]


async def around(ours: Ours, rate: float) -> list[Answer]:
    """Ask for decisions for three seconds, with a reset of everybody in the middle; answer the second around it."""
    headers = {"Authorization": f"Bearer {ours.token}"}
    start = time.perf_counter()
    load = asyncio.create_task(paced(ours.served, known_authorizes(ours.token), rate, 3))
    await asyncio.sleep(1.5)
    middle = time.perf_counter()
    await asyncio.to_thread(ask, ours.served, "DELETE", EVERYBODY, None, headers)
    answers = await load
    assert middle - start < 2.5, "this machine is too busy to tell seconds apart"
    return [answer for answer in answers if abs(answer.due - middle) <= 0.5]


def main() -> None:
    for kind in STORES:
        print(f"a reset of everybody, {kind}, milliseconds")
        with filled_server(kind, 1) as small, filled_server(kind, LEDGERS) as large:
            one, many = zip(*(resets_ms([small, large]) for _ in range(ROUNDS)), strict=True)
            show({"over 1 ledger": one, f"over {LEDGERS:,} ledgers": many})
            claim(f"reset of everybody, {LEDGERS:,} ledgers / 1, {kind}", ratio(many, one), BOUND, at_most=True)

            lower_floor(large[0])
            known_load = [authorize(large[1].token, "@KNOWN@")]
            rate = wrk(large[1].served, known_load, seconds=max(1, SECONDS // 2)) / 2
            for name, measure in (("quiet", quiet), ("around a reset", around)):
                latency = [a.latency_ms for _ in range(ROUNDS) for a in play(measure(large[1], rate))]
                p50, p99 = percentile(latency, 0.5), percentile(latency, 0.99)
                print(f"  a second of decisions at {rate:,.0f}/s, {name:<15} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms")
            claim(f"p99 of decisions around a reset of {LEDGERS:,}, {kind}", p99, None, " ms")


async def quiet(ours: Ours, rate: float) -> list[Answer]:
    return await paced(ours.served, known_authorizes(ours.token), rate, 1)


if __name__ == "__main__":
    run(main)
