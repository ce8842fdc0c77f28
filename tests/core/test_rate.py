"""
The bucket gives a burst, then so many a second.

Source: the worked example of contract §9 (a burst of 10 after the first, one a second).
"""

from hypothesis import given
from hypothesis import strategies as st

from temppass.core.rate import Bucket, Rate, take

PASSED_S = [0, 0.3, 0.6, 0.9, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.1, 2.2, 3.1]
REFUSED_S = [2.4, 2.6, 2.8]


def passing(rate: Rate, moments: list[int]) -> list[int]:
    """Answer those of `moments` at which a token is there."""
    bucket: Bucket | None = None
    passed = []
    for now in moments:
        taken = take(bucket, rate, now)
        if taken is not None:
            bucket = taken
            passed.append(now)
    return passed


def test_the_worked_example_of_the_vendor() -> None:
    moments = [round(s * 1000) for s in sorted(PASSED_S + REFUSED_S)]
    assert passing(Rate(1, 11), moments) == [round(s * 1000) for s in PASSED_S]


@given(st.integers(1, 100), st.integers(1, 50), st.lists(st.integers(0, 5_000)))
def test_no_stretch_of_time_lets_more_pass_than_the_burst_and_its_share(per_s: int, burst: int, ms: list[int]) -> None:
    passed = passing(Rate(per_s, burst), sorted(ms))
    assert all(
        (last - first + 1) * 1000 <= burst * 1000 + (passed[last] - passed[first]) * per_s
        for first in range(len(passed))
        for last in range(first, len(passed))
    )


def test_a_clock_that_goes_back_gives_nothing() -> None:
    assert passing(Rate(1, 1), [10_000, 0, 500, 1_400]) == [10_000]
