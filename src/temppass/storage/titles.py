"""
How the titles of a ledger are kept: a JSON list, in the order in which they were watched.

The ledgers of a viewer's device and user key mostly hold the same titles. What was read or written last is therefore
kept in mind, and the same is not read or written once more: a millisecond for titles of control characters, which JSON
writes six times as long.
"""

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


class Titles:
    """Serves one batch."""

    __slots__ = ("_titles", "_used")

    def __init__(self) -> None:
        self._used: bytes | None = None
        self._titles: tuple[str, ...] = ()

    def read(self, used: bytes | None) -> tuple[str, ...]:
        """Answer the titles of a row; none are written as None."""
        if used != self._used:
            self._used, self._titles = used, _decode(used) if used else ()
        return self._titles

    def write(self, titles: tuple[str, ...]) -> bytes | None:
        if titles != self._titles:
            self._used, self._titles = _encode(titles) if titles else None, titles
        return self._used
