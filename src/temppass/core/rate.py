"""
How often: a token bucket as a value. It holds at most a burst, gains so many tokens a second, and gives one to each who
may pass.
"""

from msgspec import Struct


class Rate(Struct, frozen=True):
    """So many a second in the long run, and `burst` at once after a pause."""

    per_s: int
    burst: int


class Bucket(Struct, frozen=True, gc=False):
    """`thousandths` of tokens that it held at `at`, in Unix milliseconds."""

    thousandths: int
    at: int


def take(bucket: Bucket | None, rate: Rate, now: int) -> Bucket | None:
    """Answer the bucket without the token that was taken, None where it holds none. A bucket of None is still full."""
    full = rate.burst * 1000
    held = full if bucket is None else min(full, bucket.thousandths + max(0, now - bucket.at) * rate.per_s)
    return Bucket(held - 1000, now) if held >= 1000 else None  # noqa: PLR2004 - one token
