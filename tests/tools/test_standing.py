"""
Where a trial stands: told by the headers of temppass, and found out of a wire that has none, as the vendor's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.test_vendor import Patient
from tests.client.vendor import BEGAN, ENDS, STATEMENT, Reply, vendor

from temppass import Client, MemoryVault, RequestRefused, Viewer, place_at
from temppass.client.flow import Party
from temppass.commands.shared import moment
from temppass.testing import Clock, Double, serving
from temppass.tools.standing import Standing, ledgers, standing

CATALOGUE = """
[[programmer]]
id = "acme"

[[channel]]
id = "REF"
programmer = "acme"

[[pass]]
id = "Basic"
kind = "basic"
ttl = "30m"
channels = ["REF"]

[[pass]]
id = "Promo"
kind = "promotional"
ttl = "28d"
resources_max = 2
identity_key = "email"
channels = ["REF"]

[[application]]
id = "app"
channels = "all"
scopes = ["api:client:v2"]
"""
STRANGER, MONTH, HALF_HOUR = "5" * 32, 28 * 86_400_000, 1_800_000
DEVICE, KEY = "tv", "viewer@example.net"


@pytest.fixture
def double() -> Iterator[Double]:
    with serving(CATALOGUE, now=BEGAN) as double:
        yield double


class Desk:
    """One who authorizes and looks, on the clock of a double."""

    def __init__(self, double: Double) -> None:
        self.clock: Clock = double.clock
        self._place, self._statement = place_at(double.url), double.mint("app")
        self._vault = MemoryVault()

    def watch(self, pass_id: str, viewer: Viewer, *titles: str) -> None:
        with Client(self._place, self._statement, vault=self._vault) as client:
            client.authorize("REF", pass_id, viewer, titles)

    def look(self, pass_id: str, *, device: str | None = None, key: str | None = None) -> dict[str, Standing]:
        party = Party(self._place, self._statement)
        with Client(self._place, self._statement, vault=self._vault) as client:
            return client.play(ledgers(party, "REF", pass_id, device=device, key=key, stranger=STRANGER))


@pytest.fixture
def desk(double: Double) -> Desk:
    return Desk(double)


def brief(found: dict[str, Standing]) -> dict[str, tuple[Any, ...]]:
    return {name: (each.state, each.not_before - BEGAN, each.used) for name, each in found.items()}


@pytest.mark.parametrize(
    ("titles", "later_ms", "state"),
    [("", 0, "new"), ("A", 0, "running"), ("AB", 0, "used up"), ("A", MONTH, "over"), ("AB", MONTH, "over")],
)
def test_each_case_has_start_end_and_titles(desk: Desk, titles: str, later_ms: int, state: str) -> None:
    if titles:
        desk.watch("Promo", Viewer(DEVICE, KEY), *titles)
    desk.clock.advance(later_ms)
    found = desk.look("Promo", device=DEVICE, key=KEY)["together"]
    shown = (found.state, found.not_before, found.not_after, found.used, found.used_count)
    assert shown == (state, BEGAN, BEGAN + MONTH, tuple(titles), len(titles))


def test_two_subjects_have_a_ledger_each(desk: Desk) -> None:
    """As after a viewer came to a device that another had used, or after one half was reset."""
    desk.watch("Promo", Viewer(DEVICE, "another@example.net"), "A", "B")
    desk.clock.advance(1_000)
    desk.watch("Promo", Viewer("phone", KEY), "C")
    assert brief(desk.look("Promo", device=DEVICE, key=KEY)) == {
        "together": ("used up", 0, ("A", "B", "C")),
        "device": ("used up", 0, ("A", "B")),
        "user key": ("running", 1_000, ("C",)),
    }


def test_either_alone_may_be_asked(desk: Desk) -> None:
    desk.watch("Promo", Viewer(DEVICE, KEY), "A")
    desk.clock.advance(1_000)
    found = desk.look("Promo", device=DEVICE) | desk.look("Promo", key=KEY)
    assert brief(found) == {"device": ("running", 0, ("A",)), "user key": ("running", 0, ("A",))}


def test_a_basic_pass_knows_nobody_by_key(desk: Desk) -> None:
    desk.watch("Basic", Viewer(DEVICE), "A")
    found = desk.look("Basic", device=DEVICE, key=KEY), desk.look("Basic", device=DEVICE), desk.look("Basic", key=KEY)
    running = ("running", 0, None)
    assert list(map(brief, found)) == [{"device": running}, {"device": running}, {}]


def test_looking_begins_nothing(desk: Desk) -> None:
    desk.look("Promo", device=DEVICE, key=KEY)
    desk.clock.advance(1_000)
    assert desk.look("Promo", device=DEVICE, key=KEY)["together"].state == "new"


# --- a wire without the headers


def profile(began: int, **attributes: Any) -> Reply:
    told = {name: {"value": value} for name, value in attributes.items()}
    shown = {"notBefore": began, "notAfter": began + HALF_HOUR, "attributes": told}
    return Reply(200, json.dumps({"profiles": {"P": shown}}).encode())


@pytest.mark.parametrize(
    ("script", "state", "window", "asks"),
    [
        ([profile(BEGAN), profile(BEGAN + 1_100)], "new", (BEGAN + 1_100, ENDS + 1_100), 2),
        ([profile(BEGAN), profile(BEGAN)], "running", (BEGAN, ENDS), 2),
        ([profile(BEGAN, used_assets=["A"])], "running", (BEGAN, ENDS), 1),
        (["403 time over"], "over", (0, 0), 1),
        (["403 used up"], "used up", (0, 0), 1),
        ([profile(BEGAN), "403 time over"], "over", (0, 0), 2),
    ],
)
def test_a_window_that_moves_is_of_a_trial_that_is_new(
    script: list[str | Reply], state: str, window: tuple[int, int], asks: int
) -> None:
    with vendor("good", "good", *script) as played:
        shell = Patient(None, 5)
        found = shell.play(standing(Party(played.place, STATEMENT), "REF", "P", Viewer(DEVICE)))
    told = (found.state, (found.not_before, found.not_after), played.kinds.count("profile"))
    assert told == (state, window, asks)


@pytest.mark.parametrize("header", ["", "state=elsewhere; started_at=1", "state=over; started_at=x", "x" * 9_000])
def test_a_header_that_cannot_be_read_is_none(header: str) -> None:
    refused = Reply(403, b'{"code":"temporary_access_resources_limit_exceeded"}', headers={"TempPass-Trial": header})
    with vendor("good", "good", refused) as played:
        found = Patient(None, 5).play(standing(Party(played.place, STATEMENT), "REF", "P", Viewer(DEVICE)))
    assert (found.state, found.not_before) == ("used up", 0)


def test_a_moment_that_no_calendar_has_is_shown_as_it_is() -> None:
    assert [moment(ms) for ms in (0, BEGAN, 10**17)] == ["-", "2026-01-01T10:00:00Z", "1" + "0" * 17]


def test_a_fault_of_the_pass_is_no_standing() -> None:
    refused = Reply(500, b'{"code":"invalid_configuration_temporary_access"}')
    with vendor("good", "good", refused) as played, pytest.raises(Exception, match="500"):
        Patient(None, 5).play(standing(Party(played.place, STATEMENT), "REF", "P", Viewer(DEVICE)))


def test_a_name_of_the_key_that_the_pass_does_not_have_is_an_error(double: Double) -> None:
    party = Party(place_at(double.url), double.mint("app"))
    with Client(party.place, party.software_statement, vault=MemoryVault()) as client, pytest.raises(RequestRefused):
        client.play(ledgers(party, "REF", "Promo", device=DEVICE, key=None, stranger=STRANGER, identity_key="phone"))
