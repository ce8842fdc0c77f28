"""
A cluster beside one PostgreSQL, in one run: asks of one device over HTTP, known and new, 256 connections, and what a
decision costs the server, the coordinator and the workers, or the one database, of CPU.

    TEMPPASS_BENCH_PLAIN=postgresql://… TEMPPASS_BENCH_CITUS=postgresql://coordinator… bench/spread.py

Both are migrated (`store migrate`, `store migrate --citus`), run on this machine, and lose all that they hold. The
databases use whatever cores are there, with server and generator: on two, a cluster of three databases has no more of
them than one database has, so its ratio is that of the work and not of what it could carry.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness import ROUNDS, SECONDS, BenchError, Ours, claim, ratio, run, show, sql, temppass, wrk
from traffic import authorize, check_permit

CONNECTIONS = 256
BOUND, COORDINATOR_MS, DATABASE_MS = 0.6, 0.005, 0.1
_TABLES = "environment integration client kept audit raised chain target counter statement ended server"
_OF_SLOTS = "ledgers edition standing"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def emptied(variable: str) -> str:
    url = os.environ.get(variable)
    if url is None:
        raise BenchError(f"{variable} is not set; {__doc__}")
    sql(url, *(f"TRUNCATE temppass.{table}" for table in f"{_TABLES} {_OF_SLOTS}".split()))
    return url


def nodes_of(url: str) -> dict[str, int]:
    """Answer the processes that all of a node's are children of."""
    nodes = {"database": url}
    if sql(url, "SELECT to_regclass('pg_dist_node') IS NOT NULL"):
        found = sql(url, "SELECT string_agg(groupid || ' ' || nodeport, ',' ORDER BY groupid) FROM pg_dist_node")
        base, _, database = url.rpartition("/")
        host = base.rpartition(":")[0]
        nodes = {
            "coordinator" if group == "0" else f"worker {group}": f"{host}:{port}/{database}"
            for group, port in (each.split() for each in found.split(","))
        }
    first_line = r"SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer"
    return {name: sql(each, first_line) for name, each in nodes.items()}


def _stat(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(parent: int) -> float:
    """Answer what a process, its children and those that have ended have used."""
    used = sum(map(int, _stat(str(parent))[11:15]))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = _stat(folder.name)
        except OSError:
            continue
        if int(stat[1]) == parent:
            used += sum(map(int, stat[11:13]))
    return used * _TICK_S


class Figures(NamedTuple):
    """A second, and milliseconds of CPU a decision for each process."""

    rate: float
    cost_ms: Mapping[str, float]


def measured(ours: Ours, nodes: Mapping[str, int], kind: str) -> Figures:
    requests = [authorize(ours.token, f"@{kind.upper()}@")]
    before = _used(nodes)
    time.sleep(SECONDS)  # what they use while nobody asks is no part of a decision
    between = _used(nodes)
    rate = wrk(ours.served, requests, connections=CONNECTIONS)
    after = _used(nodes)
    each_ms = 1000 / (rate * SECONDS)
    return Figures(rate, {name: (after[name] - 2 * between[name] + before[name]) * each_ms for name in nodes})


def _used(nodes: Mapping[str, int]) -> dict[str, float]:
    return {name: cpu_s(parent) for name, parent in nodes.items()}


def main() -> None:
    urls = {"plain": emptied("TEMPPASS_BENCH_PLAIN"), "citus": emptied("TEMPPASS_BENCH_CITUS")}
    nodes = {name: nodes_of(url) for name, url in urls.items()}
    figures: dict[tuple[str, str], list[Figures]] = {(kind, name): [] for kind in ("known", "new") for name in urls}
    with temppass(urls["plain"]) as plain, temppass(urls["citus"]) as citus:
        servers = {"plain": plain, "citus": citus}
        for number in range(-1, ROUNDS):
            for kind, name in list(figures)[:: -1 if number % 2 else 1]:
                found = measured(servers[name], nodes[name] | {"server": servers[name].served.pid}, kind)
                if number >= 0:  # the first is to warm up
                    figures[kind, name].append(found)
        check_permit(citus.served, citus.token)
    show({f"{kind}, {name}": [each.rate for each in found] for (kind, name), found in figures.items()})
    costs = {
        (kind, name, node): median(each.cost_ms[node] for each in found)
        for (kind, name), found in figures.items()
        for node in found[0].cost_ms
    }
    for (kind, name, node), cost in costs.items():
        print(f"  {kind:<6} {name:<6} {node:<12} {cost:.4f} ms of CPU a decision")
    for kind in ("known", "new"):
        rates = {name: [each.rate for each in figures[kind, name]] for name in urls}
        claim(f"{kind} subjects, Citus / plain", ratio(rates["citus"], rates["plain"]), BOUND)
        claim(f"{kind}: coordinator", costs[kind, "citus", "coordinator"], COORDINATOR_MS, " ms", at_most=True)
        databases = sum(cost for (k, n, node), cost in costs.items() if (k, n) == (kind, "citus") and node != "server")
        claim(f"{kind}: all databases", databases, DATABASE_MS if kind == "new" else None, " ms", at_most=True)


if __name__ == "__main__":
    run(main)
