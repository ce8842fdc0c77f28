"""
What a person waits for: the command line's help, the import of the client, a reset from the command line, a server's
start, one decision on a server that has nothing else to do (a new device, so it is written durably).
"""

import contextlib
import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness import ENVIRON, PROGRAM, ROUNDS, SERVE, STORES, Ours, claim, empty_store, folder, run, serving, temppass
from traffic import AUTHORIZE, CHANNEL, PASS

TIMES = 4 * ROUNDS
#: between two asks of an idle server
PAUSE_S = 0.05


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def command_s(command: Sequence[str], environ: Mapping[str, str] = ENVIRON) -> float:
    """Answer the median time of a command, its files being in the system's cache."""

    def work() -> None:
        subprocess.run(command, env=environ, check=True, capture_output=True)

    work()
    return statistics.median(seconds(work) for _ in range(TIMES))


def start_s(store: str) -> float:
    """Answer how long a server takes until it says that it listens."""
    start = time.perf_counter()
    with serving([*PROGRAM, *SERVE, store]):
        return time.perf_counter() - start


def reset_s(program: str, ours: Ours) -> float:
    """Answer how long `temppass reset` takes in all, for a client that has a token."""
    with folder() as room:
        (room / "statement.jwt").write_text(ours.statement)
        options = ["--url", ours.served.url, "--statement-file", str(room / "statement.jwt")]
        target = ["--requestor", CHANNEL, "--mvpd", PASS, "--device", "living-room-tv"]
        return command_s([program, "reset", *options, *target], {**ENVIRON, "HOME": str(room)})


def decision_s(ours: Ours, number: int) -> float:
    """Answer how long one decision takes, the connection being open."""
    connection = http.client.HTTPConnection(*ours.served.address, timeout=10)
    connection.connect()
    headers = {
        "Authorization": f"Bearer {ours.token}",
        "AP-Device-Identifier": f"fingerprint {number:016d}",
        "Content-Type": "application/json;charset=utf-8",
    }

    def work() -> None:
        connection.request("POST", AUTHORIZE, '{"resources":["R1"]}', headers)
        answer = connection.getresponse().read()
        assert b'"authorized":true' in answer, answer

    time.sleep(PAUSE_S)
    with contextlib.closing(connection):
        return seconds(work)


def main() -> None:
    program = str(Path(sys.executable).with_name("temppass"))
    bare = command_s([sys.executable, "-c", "pass"])
    imported = command_s([sys.executable, "-c", "import temppass"])
    print(f"python -c pass: {bare:.3f} s; import temppass: {imported - bare:.3f} s more")
    claim("temppass --help", command_s([program, "--help"]), 0.25, " s", at_most=True)
    for kind in STORES:
        with empty_store(kind) as url:
            claim(f"first start, which makes keys and the demo's catalogue, {kind}", start_s(url), None, " s")
            starts = [start_s(url) for _ in range(ROUNDS)]
            claim(f"start of the server until it is ready, {kind}", statistics.median(starts), 1.5, " s", at_most=True)
            with temppass(url) as ours:
                claim(f"temppass reset against a warm server, {kind}", reset_s(program, ours), 0.5, " s", at_most=True)
                decisions = [1000 * decision_s(ours, number) for number in range(10 * TIMES)]
            claim(f"one decision on an idle server, {kind}", statistics.median(decisions), 10, " ms", at_most=True)


if __name__ == "__main__":
    run(main)
