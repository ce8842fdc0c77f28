"""
Runs every bench, or those that are named, and closes with one table of figures, bounds and verdicts.

`python bench/run.py reset size` runs two of them. To shorten: TEMPPASS_BENCH_ROUNDS (5), TEMPPASS_BENCH_SECONDS of one
measurement (4), TEMPPASS_BENCH_SOAK_SECONDS (120), TEMPPASS_BENCH_LEDGERS (1000000, ten times as many in ten_million,
which takes 8 GB). Stores lie under TMPDIR, which should be a disk. A bound that is missed is a figure like any other;
the exit code is 1 only where a bench could not measure. One that fails, or lacks a tool that pip cannot bring, does not
keep the others from running.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: in the order in which they run, with the tools that each needs
BENCHES = {
    "decisions": ("wrk",),
    "peer": ("wrk",),
    "tokens": ("wrk", "node", "npm"),
    "reset": ("wrk",),
    "desk": ("wrk",),
    "console": ("wrk",),
    "sweep": ("wrk",),
    "clients": ("wrk",),
    "latency": ("wrk",),
    "ten_million": ("wrk",),
    "sizing": ("wrk",),
    "hostile": (),
    "size": (),
    "memory": ("wrk",),
    "cli": (),
}
INSTALL = {
    "wrk": "apt-get install wrk (Debian, Ubuntu), brew install wrk",
    "node": "apt-get install nodejs (version 20 or later: Debian 13, Ubuntu 24.10), brew install node",
    "npm": "apt-get install npm (Debian, Ubuntu), brew install node",
}
HERE = Path(__file__).parent


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def measure(bench: str, environ: dict[str, str]) -> int:
    """Run one bench; when interrupted, let it end what it started."""
    process = subprocess.Popen([sys.executable, str(HERE / f"{bench}.py")], env=environ)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def main() -> int:
    chosen = sys.argv[1:] or list(BENCHES)
    if unknown := set(chosen) - set(BENCHES):
        print(f"error: no bench is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
        return 2
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}")
    failed: list[list[str]] = []
    with tempfile.NamedTemporaryFile("r", prefix="temppass-bench-") as results:
        for bench in chosen:
            print(f"\n== {bench}", flush=True)
            environ = {**os.environ, "TEMPPASS_BENCH_RESULTS": results.name}
            if missing := [tool for tool in BENCHES[bench] if shutil.which(tool) is None]:
                for tool in missing:
                    print(f"skipped: {tool} is missing; install it: {INSTALL[tool]}")
                failed.append([bench, "", "", f"skipped, {' and '.join(missing)} missing: see above"])
            elif measure(bench, environ):
                failed.append([bench, "", "", "could not measure: see above"])
        rows = [json.loads(line) for line in results]
    print()
    for row in [["claim", "figure", "bound", ""], *rows, *failed]:
        print("{:<64} {:>14}  {:<12} {}".format(*row).rstrip())
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
