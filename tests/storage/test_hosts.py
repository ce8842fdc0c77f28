"""
What a URL says of hosts.
"""

import pytest

from temppass.storage.postgres_hosts import hosts_of


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("postgresql://u:p@one:1,two,[::1]:3/db", [("one", 1), ("two", 5432), ("::1", 3)]),
        ("postgresql://u:p@/db?host=one,two&port=1,2", [("one", 1), ("two", 2)]),
        ("postgresql:///db?host=/run/a,/run/b&port=7", [("/run/a", 7), ("/run/b", 7)]),
        ("postgresql://one,two%2Dtwo:4/db?port=9&target_session_attrs=read-write", [("one", 5432), ("two-two", 4)]),
    ],
)
def test_every_host_of_a_url_is_a_place_of_its_own(url: str, places: list[tuple[str, int]]) -> None:
    assert [(host.place["host"], host.place["port"]) for host in hosts_of(url)] == places


@pytest.mark.parametrize("url", ["postgresql://u:p@one:1/db", "postgresql:///db?host=/run/a", "postgresql:///db"])
def test_one_host_is_left_to_the_driver(url: str) -> None:
    assert [host.place for host in hosts_of(url)] == [{}]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://u:secret@one:1,:2/db", "its host 2 has no name"),
        ("postgresql://u:secret@one:1x/db", "the port of its host 1 is not a number"),
        ("postgresql://u:secret@one:1,two:2x/db", "the port of its host 2 is not a number"),
        ("postgresql://u:secret@one,u:secret@two/db", "the port of its host 2 is not a number"),
        ("postgresql:///db?host=one,two&port=1,2,3", "it names 2 hosts and 3 ports"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_being_shown(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=rf"^{why}$"):
        hosts_of(url)
