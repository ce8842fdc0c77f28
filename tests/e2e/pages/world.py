"""
A desk on which a day has passed: viewers who watch, who were denied, whom somebody made new, and operators of every
role. Its clock is the test's, so that its pages say the same each time.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import httpx2
from tests.e2e.conftest import WAIT_S, Wire
from tests.web.browser import forms

from temppass.testing import Double, serving

#: 2026-06-01T08:00:00Z
T0 = 1_780_300_800_000
MINUTE, HOUR = 60_000, 3_600_000
HERE = "/console/in/release-production"
CONTROL = "/control/v1/environments/release-production"
ROLES = {"vera": "viewer", "sam": "support", "olga": "operator", "ada": "admin"}
#: who has watched all titles of a pass, and asked for one more
DEVICE, EMAIL = "tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02", "anna@viewers.example"
BASIC: dict[str, Any] = {"channel": "ACME1", "pass": "Basic"}
PROMO: dict[str, Any] = {"channel": "ACME1", "pass": "Promo"}
GUARDED: dict[str, Any] = {"channel": "ACME1", "pass": "Guarded"}

CATALOGUE = """
[[programmer]]
id = "acme"
name = "Acme Media"

[[channel]]
id = "ACME1"
programmer = "acme"
name = "Acme One"
domains = ["acme.example"]

[[channel]]
id = "ACME2"
programmer = "acme"
name = "Acme Two"
timezone = "America/New_York"

[[pass]]
id = "Basic"
kind = "basic"
name = "Free half hour"
ttl = "30m"
channels = ["ACME1", "ACME2"]

[[pass]]
id = "Promo"
kind = "promotional"
name = "Three free titles in four weeks"
ttl = "28d"
resources_max = 3
identity_key = "email"
channels = ["ACME1"]

[[pass]]
id = "Guarded"
kind = "basic"
name = "Free evening, reset by two"
ttl = "4h"
approvals = 2
reason_required = true
channels = ["ACME1"]

[[pass]]
id = "Daily"
kind = "basic"
name = "Free ten minutes a day"
ttl = "10m"
resets = "0 0 * * *"
channels = ["ACME2"]

[[application]]
id = "ops"
name = "Television application"
channels = ["ACME1"]
scopes = ["api:client:v2", "temporary:passes:owner"]
"""


class World:
    """A desk that listens, and what a test has to know of it."""

    def __init__(self, double: Double) -> None:
        self.double = double
        self.url = double.url
        #: the token of each operator, by name
        self.tokens = {name: double.operator(name, role) for name, role in ROLES.items()}
        #: the digests of the viewer who was denied, as the address of their page has them
        self.viewer = ""
        #: a reset of some of everybody
        self.part = ""
        #: one that nobody has applied
        self.plan = ""
        #: where the page of a list is that was reset
        self.list = ""
        #: the last act of each kind
        self.acts: dict[str, str] = {}
        self.wire = Wire(double.url, double.mint("ops"))
        self._http = httpx2.Client(base_url=double.url + CONTROL, trust_env=False, timeout=WAIT_S)

    def act(self, name: str, path: str, **body: Any) -> Any:
        """Answer what the control API says to an operator."""
        answer = self._http.post(path, headers={"Authorization": f"Bearer {self.tokens[name]}"}, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def count(self) -> None:
        """Have what happened so far counted, as it is every few seconds."""
        self.double._run(self.double.application.service.counters.flush())

    def watches(
        self, device: str = DEVICE, email: str = EMAIL, title: str = "Another film", pass_id: str = "Promo"
    ) -> bool:
        """Ask over the wire."""
        return bool(self.wire.decide(device, title, pass_id, key_of(email))["authorized"])

    def reset_list(self, name: str, text: str) -> str:
        """Have an operator reset a list of devices at the console, and answer where its page is."""
        with httpx2.Client(base_url=self.url, trust_env=False, timeout=WAIT_S, follow_redirects=True) as browser:

            def send(page: httpx2.Response, action: str, **fields: str) -> httpx2.Response:
                (form,) = [each for each in forms(page) if each.action.partition("?")[0].endswith(action)]
                return browser.post(form.action, data={**form.fields, **fields})

            send(browser.get("/console/sign-in"), "/sign-in", token=self.tokens[name])
            read = send(browser.get(f"{HERE}/lists"), "/lists", integration="ACME1/Basic", text=text)
            send(read, read.url.path, typed="Basic")
            return str(read.url.path)

    def be_denied(self) -> None:
        """Have the viewer watch all titles, and ask for one more."""
        assert [self.watches(title=f"Film {number}") for number in range(1, 5)] == [True, True, True, False]

    def close(self) -> None:
        self._http.close()
        self.wire.close()


@contextlib.contextmanager
def desk() -> Iterator[World]:
    """Answer a desk at which nobody has done anything yet."""
    with serving(CATALOGUE, now=T0) as double:
        world = World(double)
        yield world
        world.close()


@contextlib.contextmanager
def busy() -> Iterator[World]:
    """Answer a desk on which a day has passed, and whose operators have done each thing once."""
    with desk() as world:
        clock = world.double.clock
        for hour in range(24):
            for number in range(hour % 7 + 2):
                world.watches(f"tv-{hour}-{number}", f"viewer{number}@viewers.example", f"Film {number}")
                world.watches(f"tv-{number}", pass_id="Basic")
            clock.advance(HOUR)
            world.count()
            if hour % 5 == 4:
                world.wire.move(world.url)
        world.be_denied()
        world.watches("tv-guarded", pass_id="Guarded")
        viewer = {"device": DEVICE, "email": EMAIL}
        wrong = world.act("sam", "/resets", **PROMO, **viewer, reason="The viewer was told so on the telephone")
        clock.advance(MINUTE)
        world.act("sam", f"/resets/{wrong['id']}/undo", reason="It was another viewer")
        world.act("sam", "/grants", **PROMO, device=DEVICE, email=EMAIL, titles=1, reason="The picture froze")
        world.wire.reset("Basic", device_id="tv-1")
        plan = world.act("olga", "/plans", **BASIC, everybody="devices")
        world.list = world.reset_list("olga", "device\ntv-2\ntv-0-none\ntv-2\n,\n")
        clock.advance(MINUTE)
        world.act("olga", "/resets", **BASIC, everybody="devices", plan=plan["id"], reason="A new season begins")
        part: dict[str, Any] = {**BASIC, "everybody": "devices", "only": {"over": True}}
        plan = world.act("olga", "/plans", **part)
        world.part = world.act("olga", "/resets", **part, plan=plan["id"], reason="Who came back")["id"]
        plan = world.act("olga", "/plans", **GUARDED, everybody="devices")
        world.act(
            "olga", "/resets", **GUARDED, everybody="devices", plan=plan["id"], reason="Line was down all evening"
        )
        world.act("olga", "/schedules/ACME2/Daily", paused=True)
        world.act("ada", "/keys/rotate", reason="Once a year")
        world.double.operator("otto", "support", ["release-production"], ["ACME1"])
        explained = world.act("vera", "/explain", **PROMO, **viewer)
        world.viewer = "/".join(each["subject"] for each in explained["subjects"])
        world.plan = world.act("ada", "/plans", **PROMO, everybody="both")["id"]
        world.count()
        world.acts = {act["kind"]: act["id"] for act in reversed(world.act("ada", "/acts/search")["records"])}
        yield world


def key_of(email: str) -> str:
    """Answer what an application sends of an e-mail address."""
    return hashlib.sha256(email.encode()).hexdigest()
