"""
Viewers who ask without end while something breaks, what they were told, and whether it is still true afterwards.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import httpx2
from tests.e2e.conftest import WAIT_S, Wire, identity

VIEWERS = 8


class Fault(NamedTuple):
    """What an ask was told instead of an answer. Status 0: the connection broke."""

    asked: str
    status: int
    code: str
    retry_after: str | None


#: contract §7.1 for decisions; everything else has no words for it and says 503
CONTRACTED = {
    Fault("authorize", 200, "maximum_execution_time_exceeded", None),
    Fault("profile", 503, "internal_server_error", "1"),
    Fault("reset", 503, "temporarily_unavailable", "1"),
    Fault("token", 503, "temporarily_unavailable", "1"),
}

#: (device, user key or "", pass) -> (end of the trial, or None where it was reset; titles used)
Told = dict[tuple[str, str, str], tuple[int | None, list[str]]]


class Load:
    """Viewers who ask without end, each on one server until that is gone, and what they were told."""

    def __init__(self, wires: list[Wire]) -> None:
        self.told: Told = {}
        self.faults: Counter[Fault] = Counter()
        self.answers = 0
        self.slowest_s = 0.0
        self._wires = wires
        self._over = False
        self._news = threading.Condition()
        self._viewers = [threading.Thread(target=self._view, args=(number,)) for number in range(VIEWERS)]

    def __enter__(self) -> Self:
        for viewer in self._viewers:
            viewer.start()
        self.wait_for_answers()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for viewer in self._viewers:
            viewer.join(WAIT_S)

    def wait_for_answers(self, more: int = 40) -> None:
        wanted = self.answers + more
        self._wait(lambda: self.answers >= wanted)

    def wait_for_faults(self, count: int = VIEWERS) -> None:
        """Answer when there have been so many since the beginning."""
        self._wait(lambda: self.faults.total() >= count)

    def _wait(self, happened: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(happened, WAIT_S), self.faults

    def _view(self, viewer: int) -> None:
        number, place = 0, viewer
        while not self._over:
            number += 1
            try:
                self._visit(self._wires[place % len(self._wires)], f"{viewer}-{number}")
            except httpx2.TransportError:  # this server is gone
                place += 1

    def _visit(self, wire: Wire, name: str) -> None:
        device, key = f"tv-{name}", f"viewer-{name}"
        basic, promo = (device, "", "Basic"), (device, key, "Promo")
        form = {**wire.credentials, "grant_type": "client_credentials"}
        self._watch(wire, basic, "FILM-1")
        self._watch(wire, promo, "FILM-1", "FILM-2")
        self._ask("token", wire.http.post, "/o/client/token", data=form)
        self._ask("profile", wire.http.get, "/api/v2/ACME1/profiles/Basic", headers=identity(device, ""))
        if name[-1] in "369":
            self._reset(wire, basic)

    def _watch(self, wire: Wire, subject: tuple[str, str, str], *titles: str) -> None:
        """Ask for one title after another; after a fault nobody knows whether it was done."""
        device, key, pass_id = subject
        for number, title in enumerate(titles, 1):
            self.told.pop(subject, None)
            answer = self._ask("authorize", wire.authorize, device, title, pass_id, key)
            if answer is None:
                return
            (decision,) = answer.json()["decisions"]
            self.told[subject] = decision["notAfter"], list(titles[:number]) if key else []

    def _reset(self, wire: Wire, subject: tuple[str, str, str]) -> None:
        self.told.pop(subject, None)
        query = {"requestor_id": "ACME1", "mvpd_id": subject[2], "device_id": subject[0]}
        if self._ask("reset", wire.http.delete, "/reset-tempass/v3/reset", params=query) is not None:
            self.told[subject] = None, []

    def _ask(self, asked: str, send: Callable[..., httpx2.Response], *arguments: Any, **more: Any) -> Any:
        """Answer the response, None where it is a fault. Raises httpx2.TransportError."""
        began = time.monotonic()
        fault: Fault | None = Fault(asked, 0, "", None)
        try:
            response = send(*arguments, **more)
            fault = fault_of(asked, response)
        finally:
            took_s = time.monotonic() - began
            with self._news:
                self.slowest_s = max(self.slowest_s, took_s)
                self.answers += fault is None
                self.faults.update([fault] if fault else [])
                self._news.notify_all()
        return None if fault else response


def fault_of(asked: str, response: httpx2.Response) -> Fault | None:
    body = response.json() if response.content else {}
    errors = [decision["error"]["code"] for decision in body.get("decisions", ()) if not decision["authorized"]]
    if response.is_success and not errors:
        return None
    code = errors[0] if errors else body.get("code") or body["error"]
    return Fault(asked, response.status_code, code, response.headers.get("Retry-After"))


def found(wire: Wire, told: Told) -> Told:
    """Answer what is known of those who were told something."""
    began = time.time_ns() // 1_000_000

    def state(device: str, key: str, pass_id: str) -> tuple[int | None, list[str]]:
        profile = wire.profile(device, pass_id, key)
        used = profile["attributes"].get("used_assets", {"value": []})["value"]
        return (profile["notAfter"] if profile["notBefore"] < began else None), used

    return {subject: state(*subject) for subject in told}
