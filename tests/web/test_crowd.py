"""
Who makes room when every connection is taken, as values: nobody here has a socket.
"""

import asyncio
from collections.abc import Sequence

from temppass.crowd import Crowd


class Guest:
    """Waits since then for its peer; None where it is being answered."""

    #: how often anybody was asked
    looks = 0

    def __init__(self, crowd: Crowd, since: float | None) -> None:
        self.since = since
        self._crowd = crowd
        crowd.handshakes.add(self)

    def waits_since(self) -> float | None:
        Guest.looks += 1
        return self.since

    def drop(self) -> None:
        self._crowd.handshakes.discard(self)


def crowd_of(connections_max: int, waits: Sequence[float | None]) -> Crowd:
    Guest.looks = 0
    crowd = Crowd(connections_max)
    for since in waits:
        Guest(crowd, since)
    return crowd


def left(crowd: Crowd) -> set[float | None]:
    return {guest.since for guest in crowd.handshakes}  # type: ignore[attr-defined]  # these are ours


def test_where_there_is_room_everybody_stays() -> None:
    crowd = crowd_of(3, [1.0, 2.0])
    assert (crowd.admit(9.0), left(crowd), crowd.dropped) == (True, {1.0, 2.0}, 0)


def test_the_one_that_waits_for_the_longest_makes_room() -> None:
    crowd = crowd_of(4, [2.0, None, 1.0, 3.0])
    assert (crowd.admit(9.0), left(crowd), crowd.dropped) == (True, {2.0, None, 3.0}, 1)


def test_one_look_serves_until_all_that_it_saw_are_gone() -> None:
    """Or a flood would make each new connection cost a look at all others."""
    crowd = crowd_of(1000, [float(since) for since in range(1000)])
    for now in range(1000, 1500):
        assert crowd.admit(now)
        Guest(crowd, float(now))
    assert (left(crowd), Guest.looks) == ({float(since) for since in range(500, 1500)}, 1500)


def test_who_has_spoken_since_the_look_is_not_dropped_for_what_it_saw() -> None:
    crowd = crowd_of(3, [1.0, 2.0, 3.0])
    answers = [crowd.admit(8.0)]
    Guest(crowd, 8.0)
    for guest in crowd.handshakes:
        if guest.waits_since() == 2.0:
            guest.since = 9.0  # type: ignore[attr-defined]  # these are ours
    assert ([*answers, crowd.admit(9.0)], left(crowd)) == ([True, True], {8.0, 9.0})


def test_who_has_left_since_the_look_makes_no_room() -> None:
    crowd = crowd_of(3, [1.0, 2.0, 3.0])
    answers = [crowd.admit(8.0)]
    for guest in tuple(crowd.handshakes):
        if guest.waits_since() == 2.0:
            guest.drop()  # it ends by itself
    Guest(crowd, 8.0)
    Guest(crowd, 9.0)
    assert ([*answers, crowd.admit(9.0)], left(crowd), crowd.dropped) == ([True, True], {8.0, 9.0}, 2)


def test_where_everybody_is_being_answered_nobody_is_dropped_and_nobody_let_in() -> None:
    crowd = crowd_of(2, [None, None])
    assert (crowd.admit(9.0), left(crowd), crowd.dropped) == (False, {None}, 0)


def test_nobody_looks_again_at_once_where_nobody_was_waiting() -> None:
    crowd = crowd_of(2, [None, None])
    answers = [crowd.admit(9.0)]
    for guest in tuple(crowd.handshakes)[:1]:
        guest.since = 1.0  # type: ignore[attr-defined]  # these are ours
    answers += [crowd.admit(9.05), crowd.admit(9.2)]
    assert answers == [False, False, True]


def test_one_hundredth_more_are_let_in_to_hear_that_there_is_no_room() -> None:
    assert [crowd_of(200, [None] * count).overflows() for count in (200, 202, 203)] == [False, False, True]


def test_thousands_of_ends_leave_room_for_others_in_between() -> None:
    """Who asks at the same time is answered after the first 50 ends."""
    crowd, seen = Crowd(1000), list[str]()

    async def at_once() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        for _ in range(120):
            crowd.in_turn(loop, lambda: seen.append("end"))
        crowd.in_turn(loop, over.set)
        loop.call_soon(seen.append, "answer")
        await over.wait()

    asyncio.run(at_once())
    assert seen == ["end"] * 50 + ["answer"] + ["end"] * 70
