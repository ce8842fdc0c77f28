"""What is read of a list, and how many of them there may be."""

import pytest

from temppass.core.model import Subject, SubjectKind
from temppass.core.refusal import AlreadySo
from temppass.core.viewer_list import LISTS_MAX, Line, LineState, ViewerList, added, listed, parted, read_lines

PEPPER = b"p" * 32
MARK = "<script>x</script>"


def read(text: str, kind: str | None = None, identity_key: str | None = "email") -> list[tuple[int, str, int]]:
    return [(line.number, line.state, len(line.subjects)) for line in read_lines(text, kind, identity_key, PEPPER)]


@pytest.mark.parametrize(
    ("text", "kind", "lines"),
    [
        ("device\nd1\n\nd2\n", "email", [(2, "waiting", 1), (4, "waiting", 1)]),
        ("d1\nfingerprint ZDI=\n", "device", [(1, "waiting", 1), (2, "waiting", 1)]),
        ("Device;E-Mail\nd1;a@b\n", None, [(2, "waiting", 2)]),
        (f"{'0' * 32}\ndevice:{'0' * 32}\nkey:{'0' * 32}\nx", "subject", [
            (1, "waiting", 2), (2, "waiting", 1), (3, "waiting", 1), (4, "unreadable", 0)
        ]),
        ("fingerprint ZDE=\nd1\n", "device", [(1, "waiting", 1), (2, "repeated", 0)]),
        ('{"device": "d1"}\n{"device"\n', None, [(1, "waiting", 1), (2, "unreadable", 0)]),
        ('device\nd1\n"d2\nd3\n', None, [(2, "waiting", 1), (3, "unreadable", 0)]),
        ("fingerprint !\n all\nall\n", "device", [(1, "unreadable", 0), (2, "unreadable", 0), (3, "unreadable", 0)]),
    ],
)  # fmt: skip
def test_each_line_names_a_viewer_or_says_why_not(text: str, kind: str | None, lines: list[object]) -> None:
    assert read(text, kind) == lines


def test_a_key_is_nobody_under_a_pass_that_knows_none() -> None:
    text = "key,device\na,\n,d\na,d\n"
    assert read(text, identity_key=None) == [(2, "unreadable", 0), (3, "waiting", 1), (4, "repeated", 0)]


def test_no_note_repeats_what_a_line_says() -> None:
    values = [MARK, f" {MARK}", f"fingerprint {MARK}", "x" * 1025 + MARK, '{"device": "' + MARK, f"{MARK}@x Y"]
    texts = [(value, kind) for value in values for kind in ("device", "email", "key", "subject")]
    notes = [line.note for value, kind in texts for line in read_lines(value, kind, "email", PEPPER)]
    assert (len(notes), [note for note in notes if "script" in note or "xx" in note]) == (len(texts), [])


def test_what_looks_wrong_with_a_line_is_noted() -> None:
    (line,) = read_lines("Anna@example.net", "email", "email", PEPPER)
    assert line.note.partition(" (")[0].startswith("The e-mail address has capital letters")


def test_no_part_has_too_many_viewers() -> None:
    lines = [Line(number, LineState.WAITING, (Subject(SubjectKind.DEVICE, b"x"),)) for number in range(2_001)]
    lines.insert(1_000, Line(9, LineState.UNREADABLE))
    assert [len(part) for part in parted(lines)] == [1_001, 1_000, 1]


def test_no_more_than_so_many_lists_are_kept_in_a_day() -> None:
    one, kept = ViewerList("id", "C", "P", None, "anna", 0, 0, 0, ()), None
    for _ in range(LISTS_MAX):
        kept = added(kept, one, 0)
    with pytest.raises(AlreadySo, match="one ends"):
        added(kept, one, 0)
    assert len(listed(added(kept, one, 25 * 3_600_000), 25 * 3_600_000)) == 0
