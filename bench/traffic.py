"""
What the benches send: whole HTTP requests, rendered once, for wrk (requests.lua) and for the paced generator below.

The generator is open-loop: requests are due at a steady rate whether or not earlier ones were answered, and latency
counts from the moment a request was due. So a server that stalls is charged for everybody who had to wait.
"""

import asyncio
import base64
import collections
import contextlib
import gc
import itertools
import json
import re
import time
import urllib.parse
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

import uvloop

from harness import BenchError, Served, ask

CHANNEL, PASS = "REF", "TempPassREF"
AUTHORIZE = f"/api/v2/{CHANNEL}/decisions/authorize/{PASS}"
PROFILE = f"/api/v2/{CHANNEL}/profiles/{PASS}"
KNOWN_COUNT = 1_000
CONNECTIONS = 256
#: the clock of event loops has milliseconds
TICK_S = 0.001
ANSWER_WAIT_S = 10
_INSIDE = re.compile(rb"\r\nserver-timing: app;dur=([\d.]+), cpu;dur=([\d.]+)\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def render(method: str, path: str, headers: dict[str, str], body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def authorize(token: str, device: str, path: str = AUTHORIZE) -> bytes:
    """`device` is 16 digits, @NEW@ or @KNOWN@ (requests.lua)."""
    return render("POST", path, _headers(token, device), json.dumps({"resources": ["R1"]}))


def profile(token: str, device: str) -> bytes:
    return render("GET", PROFILE, _headers(token, device))


def reset(token: str, device: str) -> bytes:
    """`device` is 16 digits, or `all`."""
    device_id = device if device == "all" else base64.b64decode(device)
    query = urllib.parse.urlencode({"device_id": device_id, "requestor_id": CHANNEL, "mvpd_id": PASS})
    return render("DELETE", f"/reset-tempass/v3/reset?{query}", {"Authorization": f"Bearer {token}"})


def known(number: int) -> str:
    return f"{number % KNOWN_COUNT:016d}"


def known_authorizes(token: str) -> list[bytes]:
    return [authorize(token, known(number)) for number in range(KNOWN_COUNT)]


def check_permit(served: Served, token: str) -> None:
    """Prove that what was measured are permits with a media token. Raises BenchError."""
    _, body = ask(served, "POST", AUTHORIZE, '{"resources":["R1"]}', _headers(token, known(1)))
    (decision,) = json.loads(body)["decisions"]
    if not decision["authorized"] or not decision["token"]["serializedToken"]:
        raise BenchError(f"{served.url} did not permit: {decision}")


def _headers(token: str, device: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json;charset=utf-8",
        "AP-Device-Identifier": f"fingerprint {device}",
    }


class Answer(NamedTuple):
    #: on the clock of time.perf_counter, in seconds
    due: float
    latency_ms: float
    #: by how much the generator itself was behind when it asked
    late_ms: float
    #: what the server says of itself (timed.py), 0 if nothing: how long it had the request, and a core meanwhile
    inside_ms: float
    cpu_ms: float


class _Caller(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._due = self._asked = 0.0
        self._data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._load.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.wrong = self._load.wrong or f"the server closed a connection: {error}"

    def ask(self, request: bytes, due: float) -> None:
        self._due, self._asked = due, time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data = data = self._data + data
        head = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data)
        if head < 0 or length is None or len(data) < head + 4 + int(length[1]):
            return
        self._data = b""
        if not data.startswith(b"HTTP/1.1 200") or b'"authorized":true' not in data:
            self._load.wrong = data[:600].decode(errors="replace")
        latency_ms, late_ms = (time.perf_counter() - self._due) * 1000, (self._asked - self._due) * 1000
        said = _INSIDE.search(data)
        inside_ms, cpu_ms = (float(said[1]), float(said[2])) if said else (0.0, 0.0)
        self._load.answered(self, Answer(self._due, latency_ms, late_ms, inside_ms, cpu_ms))


class _Load:
    def __init__(self, requests: Sequence[bytes]) -> None:
        self.idle: collections.deque[_Caller] = collections.deque()
        self.waiting: collections.deque[float] = collections.deque()
        self.answers: list[Answer] = []
        self.wrong = ""
        self._wanted = 0
        self._done = asyncio.Event()
        self._requests = itertools.cycle(requests)

    def ask(self, due: float) -> None:
        if self.idle:
            self.idle.popleft().ask(next(self._requests), due)
        else:
            self.waiting.append(due)

    def answered(self, caller: _Caller, answer: Answer) -> None:
        self.answers.append(answer)
        if len(self.answers) == self._wanted:
            self._done.set()
        if self.waiting:
            caller.ask(next(self._requests), self.waiting.popleft())
        else:
            self.idle.append(caller)

    async def until(self, count: int) -> None:
        """Wait until `count` requests are answered."""
        self._wanted = count
        if len(self.answers) < count and not self.wrong:
            await self._done.wait()


async def paced(served: Served, requests: Sequence[bytes], rate: float, seconds: float) -> list[Answer]:
    """Ask `rate` times a second, `requests` in turn; answer every latency. Raises BenchError for a wrong answer."""
    load, loop = _Load(requests), asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _Caller(load), *served.address) for _ in range(CONNECTIONS)]
    gc.collect()
    gc.disable()
    try:
        asked, count, start = 0, int(rate * seconds), time.perf_counter()
        while asked < count and not load.wrong:
            due_now = min(count, int((time.perf_counter() - start) * rate))
            for number in range(asked, due_now):
                load.ask(start + number / rate)
            asked = due_now
            await asyncio.sleep(TICK_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(load.until(count), ANSWER_WAIT_S)
    finally:
        gc.enable()
    wrong = load.wrong or ("" if len(load.answers) == count else f"{count - len(load.answers)} were never answered")
    for transport, _ in made:
        transport.close()
    if wrong:
        raise BenchError(wrong)
    return load.answers


def play(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
