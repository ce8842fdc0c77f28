"""
What is kept of titles is a JSON list, whatever was read or written before.
"""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from temppass.storage.titles import Titles

titles = st.lists(st.text(min_size=1, max_size=3), max_size=3).map(tuple)


@given(st.lists(st.tuples(st.booleans(), titles)))
def test_titles_are_written_as_json_and_read_as_they_were(turns: list[tuple[bool, tuple[str, ...]]]) -> None:
    kept = Titles()
    written = [(of, msgspec.json.encode(of) if of else None) for _, of in turns]
    answers = [
        kept.read(used) if reads else kept.write(of) for (reads, _), (of, used) in zip(turns, written, strict=True)
    ]
    assert answers == [of if reads else used for (reads, _), (of, used) in zip(turns, written, strict=True)]
