"""Lists of viewers at the console: read, reset, left and opened again, taken back; what they said is nowhere."""

from __future__ import annotations

import csv
import hashlib
import html
import io
from typing import TYPE_CHECKING

import pytest
from tests.web.browser import HERE, Browser, forms, words

from temppass.web.console.lists import FORM_BYTES_MAX
from temppass.web.request import PARTS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from temppass.testing import Double

    Crowd = Callable[..., None]

BASIC = "ACME1/TempPassBasic30m"
SCRIPT = '"><img src=x onerror=1><script>x</script>'
FORMULA = '=cmd|" /C calc"!A0'


@pytest.fixture
def sit(double: Double) -> Callable[..., Browser]:
    """Answer a browser before which an operator has signed in."""

    def at(name: str, role: str = "operator", **limits: list[str]) -> Browser:
        browser = Browser(double)
        browser.sign_in(double.operator(name, role, **limits))
        return browser

    return at


@pytest.fixture
def olga(sit: Callable[..., Browser]) -> Browser:
    return sit("olga")


@pytest.fixture
def crowd(watch: Callable[..., bool], device: Callable[[bytes], dict[str, str]]) -> Crowd:
    """Let each of these devices begin a trial."""

    def come(*names: str) -> None:
        for name in names:
            watch(**{header.replace("-", "_"): value for header, value in device(name.encode()).items()})

    return come


def send(browser: Browser, content: str, /, **fields: str) -> httpx2.Response:
    """Send a list as a file, as a browser does, and go where the answer says."""
    (form,) = [each for each in forms(browser.get("lists")) if each.action.endswith("/lists")]
    data = {**form.fields, "integration": BASIC, "reason": "ticket 7", **fields}
    data.pop("file")
    file = {"file": ("viewers.csv", content.encode(), "text/csv")}
    return browser.client.post(form.action, data=data, files=file)


def go_on(browser: Browser, page: httpx2.Response, **fields: str) -> httpx2.Response:
    return browser.send(page, page.url.path.rpartition("/")[2], {"typed": "TempPassBasic30m", **fields})


def heading(page: httpx2.Response) -> str:
    return page.text.partition("<h1>")[2].partition("</h1>")[0]


def failed(browser: Browser, page: httpx2.Response) -> list[list[str]]:
    return list(csv.reader(io.StringIO(browser.get(f"{page.url.path}/failed.csv").text)))


def tvs(count: int) -> list[str]:
    return [f"tv-{number}" for number in range(count)]


def test_500_of_a_file_are_seen_before_they_are_reset_and_all_come_back(olga: Browser, crowd: Crowd) -> None:
    """And the page can be left before that, and opened again."""
    crowd(*tvs(3))
    send(olga, "device\r\n" + "\r\n".join(tvs(500)) + "\r\n")
    (link,) = [part.split('"')[0] for part in olga.get("lists").text.split('href="') if "/lists/" in part.split('"')[0]]
    read = olga.get(link)
    done = go_on(olga, read)
    told = [heading(read), heading(done), "500 of 500 viewers. 3 trials ended." in words(done)]
    undone = olga.send(done, "/undo", {"reason": "ticket 8"})
    assert (told, undone.status_code, "Undone." in words(undone)) == (
        ["Reset 500 viewers of TempPassBasic30m?", "A list of 500 viewers of TempPassBasic30m", True],
        200,
        True,
    )


def test_a_list_that_was_left_half_way_is_finished_by_another_operator(
    olga: Browser, sit: Callable[..., Browser], crowd: Crowd
) -> None:
    crowd("tv-0", "tv-1000")
    half = go_on(olga, send(olga, "\n".join(tvs(1_001)), kind="device"))
    anna = sit("anna")
    opened = anna.get(half.url.path)
    done = go_on(anna, opened)
    told = [words(page).count(said) for page, said in [(opened, "1,000 of 1,001"), (done, "1,001 of 1,001")]]
    acts = [forms(opened)[-1].action.endswith(half.url.path), done.text.count("/acts/") - 1]
    undone = anna.send(done, "/undo")
    assert (told, acts, words(undone).count("undone")) == ([1, 1], [False, 2], 2)


def test_nobody_is_reset_until_the_name_of_the_pass_is_typed(olga: Browser, crowd: Crowd) -> None:
    crowd("tv-0")
    read = send(olga, "device\ntv-0\n")
    refused = go_on(olga, read, typed="TempPass")
    assert (refused.status_code, "Nobody was reset" in words(refused), heading(refused)) == (400, True, heading(read))


def test_what_failed_is_a_file_of_numbers_and_reasons(olga: Browser, crowd: Crowd) -> None:
    crowd("tv-0")
    script = '"' + SCRIPT.replace('"', '""') + '"'
    done = go_on(olga, send(olga, f"device,email\ntv-0,\n{FORMULA},\n{script},\n,{FORMULA}\n,\n tv-9,\ntv-0,\n"))
    nobody = "Names neither a device nor a key nor an email; an empty one would mean everybody."
    assert failed(olga, done) == [
        ["line", "result", "why"],
        ["3", "Had no trial", ""],
        ["4", "Had no trial", ""],
        ["5", "Cannot be read", "Holds neither an e-mail address nor its hash; a column `key` may hold any text."],
        ["6", "Cannot be read", nobody],
        ["7", "Cannot be read", "Has white space around a value, which would be hashed with it."],
    ]


def test_a_page_of_lines_says_what_became_of_each(olga: Browser, crowd: Crowd) -> None:
    crowd("tv-0")
    done = go_on(olga, send(olga, "device\ntv-0\ntv-1\ntv-0\n\n,\n"))
    rows = [words_of(row) for row in done.text.partition('id="lines"')[2].split("<tr>")[2:]]
    starts = ["2 Reset ", "3 Had no trial ", "4 Named before Names whom line 2 names.", "6 Cannot be read Names"]
    assert [row.startswith(start) for row, start in zip(rows, starts, strict=True)] == [True] * 4


def words_of(markup: str) -> str:
    return " ".join(" ".join(part.partition(">")[2] for part in f">{markup}".split("<")).split())


def test_lines_come_page_by_page(olga: Browser) -> None:
    read = send(olga, "\n".join(tvs(1_150)), kind="device")
    numbers, page = [], read
    while True:
        rows = page.text.partition('id="lines"')[2].split('<tr><td class="number">')[1:]
        numbers += [int(row.partition("<")[0]) for row in rows]
        more = [part.split('"')[0] for part in page.text.split('href="') if "after=" in part.split('"')[0]]
        if not more:
            break
        page = olga.get(more[0])
    assert numbers == list(range(1, 1_151))


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"integration": ""}, "Choose a pass."),
        ({"integration": "ACME1/None"}, "None"),
        ({"kind": "anybody"}, "Choose what each line holds."),
        ({"text": "device\nx"}, "one of the two"),
        ({"reason": "for a@b.example"}, "A reason holds no e-mail address"),
    ],
)
def test_what_is_wrong_is_told_on_the_page_with_what_was_typed(
    olga: Browser, fields: dict[str, str], told: str
) -> None:
    refused = send(olga, "device\ntv\n", **fields)
    kept = next(each for each in forms(refused) if each.action.endswith("/lists")).fields
    same = all(kept[name].strip() == value for name, value in fields.items() if name in {"text", "reason"})
    assert (refused.status_code, told in words(refused), same) == (400, True, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [("tv-0\ntv-1\n", "has no header"), ("", "one of the two"), ("device\n" + "tv\n" * 5_001, "at most 5,000 lines")],
)
def test_a_file_that_is_no_list_is_told(olga: Browser, text: str, told: str) -> None:
    refused = send(olga, text)
    assert (refused.status_code, told in words(refused)) == (400, True)


def test_script_in_a_list_that_was_refused_stays_text(olga: Browser) -> None:
    form = next(each for each in forms(olga.get("lists")) if each.action.endswith("/lists"))
    data = {**form.fields, "integration": BASIC, "text": SCRIPT, "reason": SCRIPT, "kind": "nothing"}
    refused = olga.client.post(form.action, data=data)
    assert (refused.status_code, "<img src=x" in refused.text, "<script>x" in refused.text) == (400, False, False)


PART = 'Content-Disposition: form-data; name="{}"\r\n\r\nx'


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        ("multipart/form-data", b"x", "with a boundary"),
        ("multipart/form-data; boundary=b", b"", "not whole"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx", "not whole"),
        ("multipart/form-data; boundary=b", b"x\r\n--b--", "not whole"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--", "has no name"),
        ("multipart/form-data; boundary=b", f"--b\r\n{PART}\xff\r\n--b--".encode("latin-1"), "CSV UTF-8"),
        (
            "multipart/form-data; boundary=b",
            "".join(f"--b\r\n{PART.format(number)}\r\n" for number in range(PARTS_MAX + 1)).encode() + b"--b--",
            "more than 32 parts",
        ),
    ],
)
def test_a_form_that_no_browser_sends_is_refused(olga: Browser, content_type: str, body: bytes, told: str) -> None:
    answer = olga.client.post(f"{HERE}/lists", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, told in words(answer)) == (400, True)


def test_a_list_may_be_larger_than_other_bodies_and_not_without_bound(olga: Browser) -> None:
    pad = "x" * 1_000
    texts = [f"{pad}\n" * count for count in (FORM_BYTES_MAX // 1_001 - 2, FORM_BYTES_MAX // 1_001 + 1)]
    assert [send(olga, text, kind="device").status_code for text in texts] == [200, 413]


def test_nobody_else_sends_so_much(double: Double) -> None:
    answer = Browser(double).client.post(f"{HERE}/lists", content=b"x" * (FORM_BYTES_MAX + 1))
    assert answer.status_code == 401


# --- who may


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("support", 403), ("operator", 200), ("admin", 200)])
def test_lists_are_for_operators(sit: Callable[..., Browser], olga: Browser, role: str, status: int) -> None:
    path, anna = send(olga, "device\ntv-0\n").url.path, sit("anna", role)
    paths = [f"{HERE}/lists", path, f"{path}/failed.csv"]
    assert [anna.get(each).status_code for each in paths] == [status] * 3


def test_a_list_of_another_channel_is_not_there(sit: Callable[..., Browser], olga: Browser) -> None:
    path, anna = send(olga, "device\ntv-0\n").url.path, sit("anna", "operator", channels=["REF30"])
    told = [anna.get(each).status_code for each in (path, f"{path}/failed.csv")]
    assert (told, path in anna.get("lists").text) == ([404, 404], False)


@pytest.mark.parametrize("action", ["", "/undo"])
def test_a_form_of_a_list_that_no_page_sent_does_nothing(olga: Browser, crowd: Crowd, action: str) -> None:
    crowd("tv-0")
    read = send(olga, "device\ntv-0\n")
    if action:
        go_on(olga, read)
    answer = olga.client.post(f"{read.url.path}{action}", data={"typed": "TempPassBasic30m", "form_token": "0" * 64})
    assert (answer.status_code, "Undone" in words(olga.get(read.url.path))) == (400, False)


def test_a_new_trial_stands_in_the_way_of_undo_until_it_may_end(olga: Browser, crowd: Crowd) -> None:
    crowd("tv-0")
    done = go_on(olga, send(olga, "device\ntv-0\n"))
    crowd("tv-0")
    refused = olga.send(done, "/undo")
    undone = olga.send(olga.get(done.url.path), "/undo", {"replace": "on"})
    assert (refused.status_code, "Lines 2 to 2 stay reset." in words(refused), "Undone." in words(undone)) == (
        409,
        True,
        True,
    )


# --- what is told


def test_what_a_list_says_is_on_no_page_and_in_no_address(olga: Browser) -> None:
    said = ["tvbox-4f19c2a0-77d3", "user@domain.example", SCRIPT, FORMULA]
    read = send(olga, f"device,email\n{said[0]},{said[1]}\n{SCRIPT},\n,{SCRIPT}\n{FORMULA},\n,{FORMULA}\n")
    pages = [read, go_on(olga, read), olga.get("lists"), olga.get(f"{read.url.path}/failed.csv")]
    shown = [html.unescape(page.text) + str(page.url) for page in pages]
    digests = [hashlib.sha256(value.encode()).hexdigest() for value in said]
    assert (len(shown), [form for form in said + digests for page in shown if form in page]) == (4, [])
