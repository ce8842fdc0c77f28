"""
The reset of everybody over one ledger and over a million: the time of `DELETE …/reset?device_id=all`, and what
decisions notice of one that happens among them. Before each round of resets the floor is lowered again, so that there
is something to reset.

Whoever is known has to be written down anew after it, with the next ask: as many ask as before, and all of them write.
So decisions on new subjects, at the same rate and without a reset, are measured beside it: what is slower than that is
the reset's. Two sorts of viewers: a thousand of them, who all ask again and again, and as many as there are asks, so
that every one of these has to write. `waited` is for how much of the time server, generator and all processes of the
database were ready to run while others had the core. Where server or database waited for more than WAITED_MAX of it,
what was measured is this machine, so it is said and measured once more.
"""

import asyncio
import contextlib
import http.client
import json
import math
import os
import secrets
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from bulk import fill, lower_floor
from harness import (
    ROUNDS,
    SECONDS,
    STORES,
    BenchError,
    Ours,
    ask,
    claim,
    database_pids,
    empty_store,
    percentile,
    ratio,
    run,
    show,
    temppass,
    waited_s,
    wrk,
)
from traffic import AUTHORIZE, CHANNEL, PASS, Answer, authorize, known, known_authorizes, paced, play

LEDGERS = int(os.environ.get("TEMPPASS_BENCH_LEDGERS", "1000000"))
BOUND, P99_MS = 1.5, 50
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


# --- what decisions notice

#: how long the load runs in which a reset of everybody happens
AROUND_S = 3
#: the share of the time that server or database may wait for a core, where a p99 is to say anything of them; of an
#: embedded database nobody can tell, because its threads are the server's and wait for one another
WAITED_MAX = 0.05
TRIES_MAX = 6 * ROUNDS


async def around(ours: Ours, requests: Sequence[bytes], rate: float) -> list[Answer]:
    """Ask for decisions for three seconds, with a reset of everybody in the middle; answer the second around it."""
    headers = {"Authorization": f"Bearer {ours.token}"}
    start = time.perf_counter()
    load = asyncio.create_task(paced(ours.served, requests, rate, AROUND_S))
    await asyncio.sleep(AROUND_S / 2)
    middle = time.perf_counter()
    await asyncio.to_thread(ask, ours.served, "DELETE", EVERYBODY, None, headers)
    answers = await load
    assert middle - start < AROUND_S - 0.5, "this machine is too busy to tell seconds apart"
    return [answer for answer in answers if abs(answer.due - middle) <= 0.5]


def strangers(token: str, count: float) -> list[bytes]:
    """Answer asks of viewers that nobody has seen before."""
    first = secrets.randbelow(10**15)
    return [authorize(token, f"{first + number:016d}") for number in range(math.ceil(count))]


def noticed(url: str, ours: Ours, kind: str) -> None:
    """Measure decisions at half load, on known subjects, on new ones, and around a reset, in turn."""
    lower_floor(url)
    known_load, new_load = ([authorize(ours.token, what)] for what in ("@KNOWN@", "@NEW@"))
    wrk(ours.served, known_load)
    processes = {"server": [ours.served.pid], "generator": [os.getpid()], "database": database_pids(url)}

    def others(rate: float) -> Coroutine[Any, Any, list[Answer]]:
        viewers = strangers(ours.token, rate * AROUND_S)
        play(paced(ours.served, viewers, rate, AROUND_S))  # now they are known
        return around(ours, viewers, rate)

    measures: dict[str, Callable[[float], Coroutine[Any, Any, list[Answer]]]] = {
        "known, no reset": lambda rate: paced(ours.served, known_authorizes(ours.token), rate, 1),
        "new, no reset": lambda rate: paced(ours.served, strangers(ours.token, rate), rate, 1),
        "around a reset, of 1,000 viewers": lambda rate: around(ours, known_authorizes(ours.token), rate),
        "around a reset, of others each": others,
    }
    p99_ms: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(TRIES_MAX):
        rate, new = (wrk(ours.served, load, seconds=max(1, SECONDS // 2)) for load in (known_load, new_load))
        print(f"  half load is {rate / 2:,.0f}/s; as writes that is {rate / 2 / new:.0%} of what this server carries")
        for name, measure in measures.items():
            if len(p99_ms[name]) == ROUNDS:
                continue
            work = measure(rate / 2)
            before, start = {who: sum(map(waited_s, pids)) for who, pids in processes.items()}, time.perf_counter()
            latency = [answer.latency_ms for answer in play(work)]
            took_s = time.perf_counter() - start
            waited = {who: (sum(map(waited_s, pids)) - before[who]) / took_s for who, pids in processes.items()}
            counts = not processes["database"] or max(waited["server"], waited["database"]) <= WAITED_MAX
            if counts:
                p99_ms[name].append(percentile(latency, 0.99))
            print(
                f"  {name:<34} p50 {percentile(latency, 0.5):6.2f} ms   p99 {percentile(latency, 0.99):6.2f} ms   "
                f"waited: {', '.join(f'{who} {share:.0%}' for who, share in waited.items())}"
                f"{'' if counts else '; does not count'}"
            )
        if all(len(figures) == ROUNDS for figures in p99_ms.values()):
            break
    for name, figures in p99_ms.items():
        if len(figures) < ROUNDS:
            raise BenchError(f"this machine is too busy to say what decisions {name} take")
        bound = P99_MS if name.startswith("around") and processes["database"] else None
        claim(f"p99 of decisions, {name}, worst of {ROUNDS}, {kind}", max(figures), bound, " ms", at_most=True)


def main() -> None:
    for kind in STORES:
        print(f"a reset of everybody, {kind}, milliseconds")
        with filled_server(kind, 1) as small, filled_server(kind, LEDGERS) as large:
            one, many = zip(*(resets_ms([small, large]) for _ in range(ROUNDS)), strict=True)
            show({"over 1 ledger": one, f"over {LEDGERS:,} ledgers": many})
            claim(f"reset of everybody, {LEDGERS:,} ledgers / 1, {kind}", ratio(many, one), BOUND, at_most=True)
            noticed(*large, kind)


if __name__ == "__main__":
    run(main)
