"""
What the desk costs. Over a million ledgers: how long a plan takes, and what decisions at half load notice of one; the
undo of a reset of everybody, over one ledger and over a million. And decisions per second with everything on (control
API, counters, sealing, ten readers of the event stream, an act a second) beside a server without any of it
(deskless.py), in turn.
"""

import asyncio
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from harness import (
    ENVIRON,
    HERE,
    PROGRAM,
    ROUNDS,
    SECONDS,
    STORES,
    BenchError,
    Ours,
    Served,
    ask,
    claim,
    empty_store,
    in_turn,
    percentile,
    ratio,
    run,
    show,
    temppass,
    wrk,
)
from reset import EVERYBODY, LEDGERS, filled_server
from traffic import CHANNEL, PASS, Answer, authorize, known_authorizes, paced, play

DESKLESS = (sys.executable, str(HERE / "deskless.py"))
CONTROL = "/control/v1/environments/release-production"
READERS = 10
UNDOS = 20
PLAN_S, P99_MS, UNDO, SPEED = 1.2, 20, 1.5, 0.95


def operator(url: str, name: str = "bench", role: str = "operator") -> str:
    """Create an operator on the store; answer the token."""
    command = [*PROGRAM, "operator", "create", name, "--role", role, "--store", url]
    return subprocess.run(command, env=ENVIRON, check=True, capture_output=True, text=True).stdout.strip()


def control(served: Served, token: str, what: str, **body: object) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    _, answer = ask(served, "POST", f"{CONTROL}/{what}", json.dumps(body), headers)
    return dict(json.loads(answer))


# --- plans


def plan(served: Served, token: str) -> tuple[float, dict[str, object]]:
    """Plan a reset of every device; answer the seconds that it took, and what it said."""
    start = time.perf_counter()
    said = control(served, token, "plans", channel=CHANNEL, everybody="devices", **{"pass": PASS})
    return time.perf_counter() - start, said


async def around(ours: Ours, token: str, rate: float) -> tuple[list[Answer], float, bool]:
    """Ask for decisions for four seconds, with a plan among them; answer those that it met, its time, its exactness."""
    load = asyncio.create_task(paced(ours.served, known_authorizes(ours.token), rate, 4))
    await asyncio.sleep(1)
    start = time.perf_counter()
    took_s, said = await asyncio.to_thread(plan, ours.served, token)
    answers = [answer for answer in await load if start <= answer.due <= start + took_s]
    return answers, took_s, bool(said["exact"])


def plans(kind: str) -> None:
    with filled_server(kind, LEDGERS) as (url, ours):
        token = operator(url)
        quiet = [plan(ours.served, token) for _ in range(ROUNDS)]
        show({"quiet": [took_s * 1000 for took_s, _ in quiet]})
        for _, said in quiet:
            if abs(int(str(said["running"])) - LEDGERS) > LEDGERS * (0 if said["exact"] else 0.01):
                raise BenchError(f"a plan over {LEDGERS:,} ledgers said {said}")
        wrk(ours.served, [authorize(ours.token, "@KNOWN@")])
        rate = wrk(ours.served, [authorize(ours.token, "@KNOWN@")], seconds=max(1, SECONDS // 2)) / 2
        without = [
            a.latency_ms for _ in range(ROUNDS) for a in play(paced(ours.served, known_authorizes(ours.token), rate, 1))
        ]
        met = [play(around(ours, token, rate)) for _ in range(ROUNDS)]
        during = [answer.latency_ms for answers, _, _ in met for answer in answers]
        show({f"while {rate:,.0f} decisions a second": [took_s * 1000 for _, took_s, _ in met]})
        exact = sum(each for _, _, each in met)
        claim(f"plan over {LEDGERS:,}, longest, {kind}", max(t for t, _ in quiet), PLAN_S, " s", at_most=True)
        claim(f"  beside decisions, longest, {kind}", max(t for _, t, _ in met), PLAN_S, " s", at_most=True)
        claim(f"  exact, of {ROUNDS} quiet, {kind}", sum(bool(said["exact"]) for _, said in quiet), None)
        claim(f"  exact, of {ROUNDS} beside decisions, {kind}", exact, None)
        claim(f"p99 of decisions at half load, no plan, {kind}", percentile(without, 0.99), None, " ms")
        claim(f"p99 of decisions that a plan meets, {kind}", percentile(during, 0.99), P99_MS, " ms", at_most=True)


# --- undo


def undos_ms(stores: list[tuple[Ours, str]]) -> tuple[list[float], list[float]]:
    """Reset everybody over the wire and undo it, in each of `stores` in turn; answer the medians of either."""
    resets, undos = [[[] for _ in stores] for _ in range(2)]
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(contextlib.closing(http.client.HTTPConnection(*ours.served.address, timeout=10)))
            for ours, _ in stores
        ]

        def timed(
            which: int, method: str, path: str, token: str, wanted: int
        ) -> tuple[float, http.client.HTTPResponse]:
            start = time.perf_counter()
            connections[which].request(method, path, headers={"Authorization": f"Bearer {token}"})
            response = connections[which].getresponse()
            response.read()
            if response.status != wanted:
                raise BenchError(f"{method} {path.partition('?')[0]} answered {response.status}")
            return (time.perf_counter() - start) * 1000, response

        for number in range(UNDOS * len(stores)):
            which = number % len(stores)
            ours, token = stores[which]
            took, done = timed(which, "DELETE", EVERYBODY, ours.token, 204)
            resets[which].append(took)
            took, _ = timed(which, "POST", f"{CONTROL}/resets/{done.headers['TempPass-Reset-Id']}/undo", token, 201)
            undos[which].append(took)
    return [statistics.median(each) for each in resets], [statistics.median(each) for each in undos]


def undoing(kind: str) -> None:
    with filled_server(kind, 1) as small, filled_server(kind, LEDGERS) as large:
        stores = [(ours, operator(url)) for url, ours in (small, large)]
        resets, undos = zip(*(undos_ms(stores) for _ in range(ROUNDS)), strict=True)
        for what, took in (("reset", resets), ("undo", undos)):
            one, many = zip(*took, strict=True)
            show({f"{what} over 1 ledger": one, f"{what} over {LEDGERS:,}": many})
            claim(f"{what} of everybody, {LEDGERS:,} ledgers / 1, {kind}", ratio(many, one), UNDO, at_most=True)


# --- everything on


@contextlib.contextmanager
def busy(ours: Ours, token: str) -> Iterator[None]:
    """Ten readers of the event stream, and an act a second that they hear."""
    ended = threading.Event()
    heard = [0] * READERS

    def read(number: int) -> None:
        connection = http.client.HTTPConnection(*ours.served.address, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", f"{CONTROL}/events", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            while not ended.is_set() and (line := response.readline()):
                heard[number] += line.startswith(b"event: act")

    def act() -> None:
        while not ended.wait(1):
            control(ours.served, token, "resets", channel=CHANNEL, device=f"nobody-{time.time_ns()}", **{"pass": PASS})

    threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(READERS)]
    threads.append(threading.Thread(target=act, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if not all(heard):
            raise BenchError(f"not every reader heard of acts: {heard}")
        threads[-1].join(10)


def speed(kind: str) -> None:
    with (
        empty_store(kind) as plain,
        empty_store(kind) as whole,
        temppass(plain, program=DESKLESS) as without,
        temppass(whole) as ours,
        busy(ours, operator(whole)),
    ):
        servers = {"without": without, "with the desk": ours}
        for each in servers.values():
            wrk(each.served, [authorize(each.token, "@KNOWN@")], seconds=2)
        for what in ("KNOWN", "NEW"):
            figures = in_turn(
                {
                    name: lambda each=each, what=what: wrk(each.served, [authorize(each.token, f"@{what}@")])
                    for name, each in servers.items()
                }
            )
            wanted = f"{what.lower()} subjects, with the desk / without, {kind}"
            claim(wanted, ratio(figures["with the desk"], figures["without"]), SPEED)


def main() -> None:
    for kind in STORES:
        print(f"plans over {LEDGERS:,} ledgers, {kind}, milliseconds")
        plans(kind)
        print(f"reset of everybody and its undo, {kind}, milliseconds")
        undoing(kind)
        print(f"decisions a second, {kind}")
        speed(kind)


if __name__ == "__main__":
    run(main)
