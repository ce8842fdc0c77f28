"""
What the lines of a file mean, and what a journal remembers of them.
"""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temppass.client.errors import BulkError
from temppass.tools.bulk import DONE, FAILED, Journal, Target, head_of, parse

MAIL = "viewer@example.com"
HASH = hashlib.sha256(MAIL.encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "kind", "targets"),
    [
        ("device\nd1\nd2\n", None, [Target(2, "d1", None), Target(3, "d2", None)]),
        ("\ufeffDevice_ID , name\n\nd1,Ann\r\n", None, [Target(3, "d1", None)]),
        (f"email\n{MAIL}\n", None, [Target(2, None, HASH)]),
        (f"device,email\nd1,{MAIL}\nd2,\n,{HASH}\n", None, [
            Target(2, "d1", HASH), Target(3, "d2", None), Target(4, None, HASH)
        ]),
        ('device\n"a,b"\n', None, [Target(2, "a,b", None)]),
        (f"Device;E-Mail;note\nd1;{MAIL};x\n", None, [Target(2, "d1", HASH)]),
        ("user key\tname\n" + HASH + "\tAnn\n", None, [Target(2, None, HASH)]),
        (f'{{"device": "d1"}}\n\n{{"user_key": "{HASH}", "note": 1}}\n', None, [
            Target(1, "d1", None), Target(3, None, HASH)
        ]),
        ("d1\n\nd2\n", "device", [Target(1, "d1", None), Target(3, "d2", None)]),
        (f"{HASH.upper()}", "key", [Target(1, None, HASH)]),
        (f"{MAIL}\n", "email", [Target(1, None, HASH)]),
    ],
)  # fmt: skip
def test_a_line_names_a_device_a_key_or_both(text: str, kind: str | None, targets: list[Target]) -> None:
    assert parse(text, "file", kind) == targets


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("", None, "names nobody"),
        ("device\n", None, "names nobody"),
        ("d1\nd2\n", None, "no header"),
        ("device,email\nd1,\n,\n", None, "file:3: names neither"),
        ('{"device": ""}\n', None, "file:1: names neither"),
        ('{"device": null}\n', None, "file:1: names neither"),
        ('{"device": 7}\n', None, "file:1: a device, key or email is a text"),
        ('{"device": ["d"]}\n', None, "file:1: a device, key or email is a text"),
        ('{"device": "d"}\n{"device"', None, "file:2: is no JSON object"),
        ("device\nd1\nall\n", None, "file:3: 'all' would mean everybody"),
        ("all\n", "key", "file:1: 'all' would mean everybody"),
        ("fingerprint ZA==\n", "device", "file:1: holds a header"),
        (" d1\n", "device", "file:1: has white space around"),
        (f"email\n {MAIL}\n", None, "file:2: has white space around"),
        ("email\nviewer\n", None, "file:2: holds neither an e-mail address"),
        ("device,Device_ID\na,b\n", None, "two columns for one thing"),
        ("device\nd1\n", "device", "file has a header"),
        ("email;device\n", "email", "file has a header"),
        (f"key,email\n{HASH},{MAIL}\n", None, "file:2: has a key and an email"),
        ("device\n" + "x" * 1025, None, "file:2: a device id has at most 1024 bytes"),
    ],
)  # fmt: skip
def test_a_line_that_would_mean_everybody_or_nobody_stops_the_whole_file(
    text: str, kind: str | None, told: str
) -> None:
    with pytest.raises(BulkError, match=told):
        parse(text, "file", kind)


def test_the_first_mistakes_of_a_file_are_told_and_the_rest_counted() -> None:
    with pytest.raises(BulkError) as caught:
        parse("all\n" * 13, "file", "device")
    lines = str(caught.value).splitlines()
    assert (lines[0], len(lines), lines[-1]) == (
        "nothing was sent, 13 of the lines cannot be used:", 12, "and 3 more",
    )  # fmt: skip


TARGETS = [Target(number, f"d{number}", None) for number in range(1, 6)]
HEAD = head_of("place", "REF", "TempPassREF", TARGETS)


def test_a_journal_remembers_what_was_done_and_not_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, HEAD, resume=False) as journal:
        journal.record(1, 10, DONE, reset_id="id", matched=1)
        journal.record(2, 11, FAILED, error="400 invalid_request")
    with Journal(path, HEAD, resume=True) as journal:
        journal.record(2, 12, DONE)
        assert journal.done == {1, 2}


def test_a_journal_that_was_cut_while_it_was_written_goes_on_with_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, HEAD, resume=False) as journal:
        for line in (1, 2):
            journal.record(line, 10, DONE)
    whole = path.read_bytes()
    found = []
    for length in range(len(whole.splitlines()[0]) + 1, len(whole) + 1):
        path.write_bytes(whole[:length])
        with Journal(path, HEAD, resume=True) as journal:
            journal.record(3, 12, DONE)
            found.append(sorted(journal.done))
        assert all(json.loads(line) for line in path.read_bytes().splitlines())
    assert [lines for number, lines in enumerate(found) if lines != found[number - 1] or number == 0] == [
        [3], [1, 3], [1, 2, 3],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "resume", "told"),
    [
        (HEAD, False, "there is a journal already"),
        (head_of("place", "REF", "TempPassREF", TARGETS[:4]), True, "another file"),
        (head_of("place", "REF", "TempPass", TARGETS), True, "another service, channel or pass"),
        (head_of("other", "REF", "TempPassREF", TARGETS), True, "another service, channel or pass"),
    ],
)
def test_a_journal_is_not_taken_for_another_run(tmp_path: Path, head: object, *, resume: bool, told: str) -> None:
    with Journal(tmp_path / "journal", HEAD, resume=False) as journal:
        journal.record(1, 10, DONE)
    with pytest.raises(BulkError, match=told):
        Journal(tmp_path / "journal", head, resume=resume)  # type: ignore[arg-type]  # a head


def test_a_journal_in_which_nothing_is_noted_yet_is_begun_again(tmp_path: Path) -> None:
    """One that was made before the question was answered with no."""
    Journal(tmp_path / "journal", HEAD, resume=False).close()
    with Journal(tmp_path / "journal", HEAD, resume=False) as journal:
        assert journal.done == set()


def test_a_journal_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", HEAD, resume=False), pytest.raises(BulkError, match="another run"):
        Journal(tmp_path / "journal", HEAD, resume=True)


@pytest.mark.parametrize("content", ["device\nd1\n", "device\nd1", "d1", '{"line": 1}\n{"at"'])
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "viewers.csv").write_text(content)
    with pytest.raises(BulkError, match="no journal"):
        Journal(tmp_path / "viewers.csv", HEAD, resume=True)
    assert (tmp_path / "viewers.csv").read_text() == content


@given(st.text(max_size=400), st.sampled_from([None, "device", "key", "email"]))
def test_any_text_is_targets_or_a_told_mistake(text: str, kind: str | None) -> None:
    try:
        targets = parse(text, "file", kind)
    except BulkError:
        return
    assert all(target.device not in {"all", ""} and (target.device or target.key) for target in targets)
