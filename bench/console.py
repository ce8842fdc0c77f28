"""
The pages of the console over a million ledgers, 100,000 acts and two weeks of counts, on a server that has nothing else
to do: how long the GET of each takes, and how many bytes it comes to with all that it loads. And decisions per second
while five consoles are open, each at the event stream and asking for its first page every two seconds, beside the same
server without them, in turn.
"""

import contextlib
import gzip
import http.client
import re
import statistics
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from bulk import fill_acts, fill_counters
from desk import CONTROL, control, operator
from harness import (
    ROUNDS,
    STORES,
    BenchError,
    Ours,
    Served,
    claim,
    empty_store,
    in_turn,
    ratio,
    run,
    temppass,
    wrk,
)
from reset import LEDGERS, authorized, fill
from temppass.web.console.look import NAVIGATION
from traffic import CHANNEL, PASS, authorize, known

HERE = "/console/in/release-production"
ACTS = 100_000
GETS = 15
PAGE_MS, PAGE_KIB, SPEED = 50, 150, 0.95
CONSOLES = 5
_LOADED = re.compile(rb'(?:src|href)="(/console/(?:static|in/[^"/]+/charts)/[^"]+)"')


class Console:
    """A browser of its own, as far as a bench needs one."""

    def __init__(self, served: Served, token: str) -> None:
        self._connection = http.client.HTTPConnection(*served.address, timeout=30)
        self.cookie: dict[str, str] = {}
        page, headers = self.get("/console/sign-in")
        found = re.search(rb'name="form_token" value="([^"]+)"', page)
        if found is None:
            raise BenchError("the page to sign in has no form")
        form = urlencode({"form_token": found[1].decode(), "token": token})
        cookie = {"Cookie": _cookies(headers), "Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", "/console/sign-in", form, cookie)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != http.HTTPStatus.SEE_OTHER:
            raise BenchError(f"signing in answered {answer.status}")
        self.cookie["Cookie"] = _cookies(answer.headers)

    def get(self, path: str) -> tuple[bytes, http.client.HTTPMessage]:
        self._connection.request("GET", path, headers=self.cookie)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise BenchError(f"GET {path} answered {answer.status}")
        return body, answer.headers

    def close(self) -> None:
        self._connection.close()


def _cookies(headers: http.client.HTTPMessage) -> str:
    return "; ".join(each.partition(";")[0] for each in headers.get_all("Set-Cookie", []) if "Max-Age=0" not in each)


@contextlib.contextmanager
def filled(kind: str) -> Iterator[tuple[str, Ours]]:
    with empty_store(kind) as url:
        with temppass(url) as ours:
            authorized(ours, known(0))
            control(ours.served, operator(url), "resets", channel=CHANNEL, device=known(0), **{"pass": PASS})
            time.sleep(3)  # until it is sealed
        fill(url, LEDGERS - 1)
        fill_acts(url, ACTS)
        fill_counters(url)
        with temppass(url) as ours:
            authorized(ours, known(0))
            yield url, ours


def addresses(ours: Ours, token: str) -> list[str]:
    """Answer every page of the navigation, one of a viewer, and one of an act."""
    explained = control(ours.served, token, "explain", device=known(0), channel=CHANNEL, **{"pass": PASS})
    (digest,) = [each["subject"] for each in explained["subjects"]]
    (act,) = control(ours.served, token, "acts/search", limit=1)["records"]
    return [*(f"{HERE}{path}" for path, *_ in NAVIGATION), f"{HERE}/viewer/{digest}/-", f"{HERE}/acts/{act['id']}"]


def pages(ours: Ours, token: str, kind: str) -> None:
    console = Console(ours.served, token)
    for path in addresses(ours, token):
        took_ms, body = [], b""
        for _ in range(GETS):
            start = time.perf_counter()
            body, _ = console.get(path)
            took_ms.append((time.perf_counter() - start) * 1000)
        loaded = {each.decode().replace("&amp;", "&") for each in _LOADED.findall(body)}
        size = len(body) + sum(len(console.get(each)[0]) for each in loaded)
        name = re.sub(r"[0-9a-f-]{32,}", "…", path.removeprefix(HERE)) or "/"
        claim(f"GET {name}, median of {GETS}, {kind}", statistics.median(took_ms), PAGE_MS, " ms", at_most=True)
        claim(f"  longest, {kind}", max(took_ms), None, " ms")
        claim(
            f"  with all it loads ({gzip_share(body):.0%} if it were packed), {kind}",
            size / 1024,
            PAGE_KIB,
            " KiB",
            at_most=True,
        )
    console.close()


def gzip_share(body: bytes) -> float:
    return len(gzip.compress(body)) / len(body)


@contextlib.contextmanager
def open_consoles(ours: Ours, token: str) -> Iterator[None]:
    ended = threading.Event()
    heard, looked = [0] * CONSOLES, [0] * CONSOLES

    def listen(number: int, cookie: dict[str, str]) -> None:
        connection = http.client.HTTPConnection(*ours.served.address, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", f"{CONTROL}/events", headers=cookie)
            response = connection.getresponse()
            while not ended.is_set() and response.readline():
                heard[number] += 1

    def look(number: int, console: Console) -> None:
        while not ended.wait(2):
            console.get(HERE)
            looked[number] += 1
        console.close()

    threads = []
    for number in range(CONSOLES):
        console = Console(ours.served, token)
        threads.append(threading.Thread(target=listen, args=(number, console.cookie), daemon=True))
        threads.append(threading.Thread(target=look, args=(number, console), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads[1::2]:
            thread.join(10)
        if not all(heard) or not all(looked):
            raise BenchError(f"not every console was open: heard {heard}, looked {looked}")


def speed(ours: Ours, token: str, kind: str) -> None:
    def beside(load: bytes) -> float:
        with open_consoles(ours, token):
            return wrk(ours.served, [load], seconds=6)

    for what in ("KNOWN", "NEW"):
        load = authorize(ours.token, f"@{what}@")
        wrk(ours.served, [load], seconds=2)
        figures = in_turn(
            {
                "alone": lambda load=load: wrk(ours.served, [load], seconds=6),
                "five consoles": lambda load=load: beside(load),
            },
            ROUNDS,
        )
        wanted = f"{what.lower()} subjects, five consoles / alone, {kind}"
        claim(wanted, ratio(figures["five consoles"], figures["alone"]), SPEED)


def main() -> None:
    for kind in STORES:
        print(f"pages over {LEDGERS:,} ledgers and {ACTS:,} acts, {kind}")
        with filled(kind) as (url, ours):
            token = operator(url, "console", "admin")
            pages(ours, token, kind)
            print(f"decisions a second, {kind}")
            speed(ours, token, kind)


if __name__ == "__main__":
    run(main)
