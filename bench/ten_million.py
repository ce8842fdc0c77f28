"""
Decisions a second on one PostgreSQL with ten million ledgers, against one with a hundred thousand: known subjects, each
of which is another one, and new ones. First with the settings that PostgreSQL comes with, then with those of
docs/operate.md ("Size"). What is small is measured twice a round: its figures against one another, which should be 1,
say what this machine alone does to such a ratio.

Then how long a plan of a reset of everybody takes, what the reset does, and the speed while all of it is swept.
"""

import contextlib
import functools
import time
from collections.abc import Iterator
from typing import NamedTuple

from bulk import DAY_MS, fill_known
from desk import PLAN_S, operator, plan
from harness import (
    ROUNDS,
    SECONDS,
    BenchError,
    Ours,
    ask,
    claim,
    database_pids,
    in_turn,
    migrate,
    postgres,
    ratio,
    restart,
    run,
    show,
    sql,
    temppass,
    worked_s,
    wrk,
)
from reset import EVERYBODY, LEDGERS, authorized
from sweep import EAGER, SWEEP, compare, tell
from traffic import authorize

FEW, MANY = 100_000, 10 * LEDGERS
#: what docs/operate.md names for this many ledgers; the first is empty, for what PostgreSQL comes with
SETTINGS: dict[str, dict[str, str]] = {
    "default settings": {},
    "settings of operate.md": {"shared_buffers": "2GB", "max_wal_size": "8GB"},
}
BOUNDS = {"known": 0.9, "new": 0.85}
#: reads all by way of the index, as a database has done that has served for a while
WARM = (
    *(f"SET enable_{scan} = off" for scan in ("seqscan", "indexonlyscan", "bitmapscan")),
    "SELECT count(expires_at) FROM temppass.ledgers WHERE slot >= 0",
)
#: no known device is called so
STRANGER = "9" * 16


@contextlib.contextmanager
def filled(ledgers: int) -> Iterator[str]:
    """Answer the URL of a PostgreSQL of its own in which this many devices are known."""
    with postgres("bench") as (url,):
        migrate(url)
        with temppass(url) as ours:
            authorized(ours, STRANGER)
        start = time.monotonic()
        fill_known(url, ledgers)
        table, index = (sql(url, f"SELECT pg_{what}_size('temppass.ledgers')") for what in ("table", "indexes"))
        print(
            f"  {ledgers:,} ledgers: table {table / 1e6:,.0f} MB, index {index / 1e6:,.0f} MB, "
            f"{(table + index) / ledgers:.0f} bytes each; filled in {time.monotonic() - start:.0f} s"
        )
        claim(f"bytes a ledger of {ledgers:,}, index included", (table + index) / ledgers, None, " B")
        yield url


class Variant(NamedTuple):
    """Some load on one of the servers."""

    kind: str
    ledgers: int
    url: str
    ours: Ours


def measure(variant: Variant, work_us: list[tuple[float, float]]) -> float:
    """Answer decisions a second; add the processor time that server and database had for each of them."""
    server, database = [variant.ours.served.pid], database_pids(variant.url)
    before = [sum(map(worked_s, pids)) for pids in (server, database)]
    load = [authorize(variant.ours.token, f"@{variant.kind.upper()}@")]
    figure = wrk(variant.ours.served, load, known=variant.ledgers)
    after = [sum(map(worked_s, pids)) for pids in (server, database)]
    of_server, of_database = ((b - a) * 1e6 / (figure * SECONDS) for a, b in zip(before, after, strict=True))
    work_us.append((of_server, of_database))
    return figure


def speeds(urls: dict[int, str], settings: str) -> None:
    """Measure known and new subjects at each in turn."""
    with contextlib.ExitStack() as stack:
        servers = {ledgers: stack.enter_context(temppass(url)) for ledgers, url in urls.items()}
        variants = {
            f"{kind}, {name}": Variant(kind, ledgers, urls[ledgers], servers[ledgers])
            for kind in BOUNDS
            for name, ledgers in (("few", FEW), ("many", MANY), ("few again", FEW))
        }
        for warm_up in variants.values():
            measure(warm_up, [])
        work_us: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        figures = in_turn({name: functools.partial(measure, each, work_us[name]) for name, each in variants.items()})
        for number, whose in enumerate(("server", "database")):
            show({f"{name}, {whose} µs": [each[number] for each in of] for name, of in work_us.items()})
        for ledgers, ours in servers.items():
            if authorized(ours, f"{ledgers - 1:016d}") < time.time() * 1000 + DAY_MS / 2:
                raise BenchError("those who should be known were not")
    for kind, bound in BOUNDS.items():
        few, many, again = (figures[f"{kind}, {name}"] for name in ("few", "many", "few again"))
        claim(f"{kind}, {MANY:,} ledgers / {FEW:,}, {settings}", ratio(many, few), bound)
        claim(f"  the same / the same, {settings}", ratio(again, few), None)


def plans(url: str) -> None:
    token = operator(url)
    with temppass(url) as ours:
        took = [plan(ours.served, token) for _ in range(ROUNDS)]
        show({"plan": [took_s * 1000 for took_s, _ in took]})
        off = max(abs(int(str(said["running"])) / MANY - 1) for _, said in took)
        claim(f"plan over {MANY:,}, longest", max(took_s for took_s, _ in took), PLAN_S, " s", at_most=True)
        claim("  what it counts is off by at most", off * 100, None, " %")
        start = time.perf_counter()
        ask(ours.served, "DELETE", EVERYBODY, headers={"Authorization": f"Bearer {ours.token}"})
        claim(f"reset of everybody over {MANY:,}", (time.perf_counter() - start) * 1000, None, " ms")


def main() -> None:
    print(f"decisions a second over {MANY:,} ledgers, postgres")
    with filled(FEW) as few, filled(MANY) as many:
        for name, settings in SETTINGS.items():
            if settings:
                for url in (few, many):
                    restart(url, **settings)
                    sql(url, *WARM)
            speeds({FEW: few, MANY: many}, name)
        plans(many)
        tell(compare(few, many, SWEEP._replace(of=MANY, program=EAGER)), SWEEP, f"postgres, {MANY:,}", BOUNDS["new"])


if __name__ == "__main__":
    run(main)
