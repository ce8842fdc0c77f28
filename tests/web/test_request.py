"""
What is read of a request, and that reading it costs no more than its length.

Source: RFC 9110 §5.3.
"""

from collections.abc import Iterator

from temppass.web.request import Headers


class Counted(list[tuple[bytes, bytes]]):
    """Headers that count how often they are gone through."""

    passes = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        self.passes += 1
        return super().__iter__()


def test_repeated_headers_are_joined_in_their_order() -> None:
    headers = Headers([(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"a", b"")])
    assert [headers.get(name) for name in (b"a", b"b", b"c")] == ["1, 3, ", "2", None]


def test_a_repeated_name_does_not_make_every_name_cost_a_pass() -> None:
    raw = Counted([(b"twice", b"1"), *[(b"x-%d" % number, b"") for number in range(1000)], (b"twice", b"2")])
    assert (Headers(raw).get(b"twice"), raw.passes) == ("1, 2", 2)
