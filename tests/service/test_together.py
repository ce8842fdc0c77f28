"""Work that many have at the same time: one right after another, and each for itself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from temppass.service.together import Together


def told(ask: Callable[[Together, list[str], str], Coroutine[Any, Any, None]], *names: str) -> list[str]:
    """Answer what happened, in order, when each of `names` asked in one turn of the event loop."""
    seen: list[str] = []

    async def run() -> None:
        together = Together()
        await asyncio.gather(*(ask(together, seen, name) for name in names))

    asyncio.run(run())
    return seen


async def ask(together: Together, seen: list[str], name: str) -> None:
    def work() -> str:
        seen.append(f"work for {name}")
        if name == "unlucky":
            raise ValueError(name)
        return name

    try:
        answer = await together.run(work)
    except ValueError as error:
        answer = f"{error} fails"
    seen.append(answer)


async def ask_twice(together: Together, seen: list[str], name: str) -> None:
    await ask(together, seen, name)
    await ask(together, seen, name)


async def ask_and_go(together: Together, seen: list[str], name: str) -> None:
    asking = asyncio.create_task(ask(together, seen, name))
    await asyncio.sleep(0)
    if name == "gone":
        asking.cancel()
    await asyncio.wait([asking])


def test_nobody_goes_on_before_the_work_of_all_is_done() -> None:
    assert told(ask, "a", "b") == ["work for a", "work for b", "a", "b"]


def test_the_next_turn_is_another_one() -> None:
    assert told(ask_twice, "a", "b") == ["work for a", "work for b", "a", "b"] * 2


def test_what_fails_for_one_fails_for_nobody_else() -> None:
    assert told(ask, "unlucky", "b") == ["work for unlucky", "work for b", "unlucky fails", "b"]


def test_who_has_gone_costs_nothing_and_takes_nobody_along() -> None:
    assert told(ask_and_go, "gone", "b") == ["work for b", "b"]
