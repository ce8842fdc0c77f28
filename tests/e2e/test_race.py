"""
Fifty asks at once over real sockets: no device and no user key gets more than its pass gives.
"""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Folder, Wire

ASKS = 50
#: of pass Promo
TITLES_MAX = 3


@pytest.fixture
def wire(folder: "Folder") -> "Wire":
    folder.declare()
    return folder.application(folder.serve())


def at_once(ask: Any) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(ASKS) as viewers:
        return list(viewers.map(ask, range(ASKS)))


def test_asks_that_cross_devices_and_keys_do_not_add_up(wire: "Wire") -> None:
    """Five viewers have two titles each; then all use one another's devices, for titles that one of the two knows."""
    asks = [
        (f"tv-{viewer}", f"viewer-{viewer}@example.net", f"FILM-{viewer}{n}") for viewer in range(5) for n in (0, 1)
    ]
    for number in range(ASKS):
        owner, other = number % 5, number // 5 % 5
        asks.append((f"tv-{owner}", f"viewer-{other}@example.net", f"FILM-{(owner, other)[number % 2]}{number // 25}"))

    def ask(number: int) -> dict[str, Any]:
        device, key, title = asks[number]
        return wire.decide(device, title, "Promo", key)

    watched = defaultdict(set)
    decisions = [*map(ask, range(10)), *at_once(lambda number: ask(10 + number))]
    for (device, key, title), decision in zip(asks, decisions, strict=True):
        if decision["authorized"]:
            watched[device].add(title)
            watched[key].add(title)
    assert max(map(len, watched.values())) == TITLES_MAX


def test_one_viewer_gets_exactly_the_titles_of_the_pass(wire: "Wire") -> None:
    decisions = at_once(lambda number: wire.decide("tv", f"FILM-{number}", "Promo", "viewer@example.net"))
    assert sum(decision["authorized"] for decision in decisions) == TITLES_MAX


def test_a_device_gets_one_window_however_often_it_asks_at_once(wire: "Wire") -> None:
    decisions = at_once(lambda number: {"device": number % 5, **wire.decide(f"tv-{number % 5}", f"FILM-{number}")})
    windows = {(decision["device"], decision["notAfter"]) for decision in decisions}
    assert (len(windows), all(decision["authorized"] for decision in decisions)) == (5, True)
