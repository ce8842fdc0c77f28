"""The pages of applications: what each was given, what is minted there, and what ends."""

import httpx2
import pytest
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import T0

from temppass.testing import Double, build

DAY = 86_400_000
CONTROL = "/control/v1/environments/release-production"
SCRIPT = "<script>x</script>", '"><img src=x onerror=1>'
CATALOGUE = """
programmer = [{ id = "acme" }]
channel = [{ id = "ACME1", programmer = "acme" }, { id = "ACME2", programmer = "acme" }]

[[application]]
id = "ops"
name = '''<script>x</script>"><img src=x onerror=1>'''
channels = "all"
scopes = ["api:client:v2"]
domains = ["ops.example"]

[[application]]
id = "player"
channels = ["ACME1"]
scopes = []
"""


@pytest.fixture
def double() -> Double:
    return build(CATALOGUE, now=T0)


@pytest.fixture
def root(double: Double) -> Browser:
    return _signed_in(double, "root", "admin")


def _signed_in(double: Double, name: str, role: str, channels: list[str] | None = None) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator(name, role, channels=channels or []))
    return browser


def _mint(browser: Browser, **fields: str) -> httpx2.Response:
    return browser.send(browser.get("applications/ops"), "/statements", fields)


def _statement(page: httpx2.Response) -> str:
    return page.text.partition('readonly spellcheck="false">')[2].partition("</textarea>")[0]


def _register(browser: Browser, statement: str) -> httpx2.Response:
    return browser.client.post("/o/client/register", json={"software_statement": statement})


def _token(browser: Browser, made: httpx2.Response) -> httpx2.Response:
    form = {**{name: made.json()[name] for name in ("client_id", "client_secret")}, "grant_type": "client_credentials"}
    return browser.client.post("/o/client/token", data=form)


def _rows(page: httpx2.Response) -> list[str]:
    """Answer what each row of the page's tables says, its forms left out."""
    rows = page.text.split("<tr>")[1:]
    return [words(page.__class__(200, text=each.partition("<details")[0].partition("</tr>")[0])) for each in rows]


def _on_record(browser: Browser, kind: str) -> list[dict[str, str]]:
    """Answer the acts of a kind as their pages' control URL tells them."""
    asked = browser.get("applications/ops").text.split("/acts/")[1:]
    acts = [browser.get(f"{CONTROL}/acts/{each.partition(chr(34))[0]}").json() for each in asked]
    return [each for each in acts if each["kind"] == kind]


def test_an_application_is_listed_with_what_it_may_and_was_given(root: Browser) -> None:
    made = _register(root, _statement(_mint(root)))
    listed = _rows(root.get("applications"))
    assert (made.status_code, listed[1:]) == (
        201,
        [
            f"ops {''.join(SCRIPT)} all api:client:v2 1 never",
            "player player ACME1 none 0 never",
        ],
    )


def test_a_limited_operator_sees_who_speaks_for_their_channels(double: Double) -> None:
    """And nothing of the others, which are not there for them."""
    anna = _signed_in(double, "anna", "viewer", ["ACME2"])
    assert (len(_rows(anna.get("applications"))), anna.get("applications/player").status_code) == (2, 404)


def test_a_statement_is_minted_and_good(root: Browser) -> None:
    page = _mint(root, ends_at="2026-02-01T00:00", reason="ticket 7")
    made = _register(root, _statement(page))
    (minted,) = _on_record(root, "statement.mint")
    told = [minted[name] for name in ("application", "ends_at", "reason")]
    assert (page.status_code, made.status_code, told) == (201, 201, ["ops", "2026-02-01T00:00:00.000Z", "ticket 7"])


def test_a_statement_is_in_no_second_answer(root: Browser) -> None:
    form = forms(root.get("applications/ops"))
    (mint,) = [each for each in form if each.action.endswith("/statements")]
    answers = [root.client.post(mint.action, data=mint.fields) for _ in range(2)]
    statement = _statement(answers[0])
    later = [answers[1], *(root.get(path) for path in ("applications/ops", "applications", f"{CONTROL}/acts/x"))]
    assert (answers[1].status_code, [statement in page.text for page in later]) == (409, [False] * 4)


def test_a_statement_is_listed_with_who_minted_it_and_what_came_of_it(double: Double, root: Browser) -> None:
    page = _mint(root, ends_at="2026-02-01T00:00")
    made = _register(root, _statement(page)).json()
    id_ = root.get(f"{CONTROL}/applications/ops/statements").json()["statements"][0]["id"]
    double.clock.advance(40 * DAY)
    root.sign_in(double.operator("eve", "viewer"))
    _, statement, *_ = _rows(root.get("applications/ops"))
    ended = f"{id_} 2026-01-01 10:00:00 UTC operator:root ended 2026-02-01 00:00:00 UTC never 1 client"
    assert (statement, made["client_id"] in root.get("applications/ops").text) == (ended, False)


def test_clients_are_told_page_by_page_and_of_one_statement(root: Browser) -> None:
    statements = [_statement(_mint(root)) for _ in range(2)]
    made = [_register(root, statements[number > 0]).json()["client_id"] for number in range(3)]
    ids = [each["id"] for each in root.get(f"{CONTROL}/applications/ops/statements").json()["statements"]]
    first = root.get("applications/ops?limit=2")
    where = first.text.partition("?after=")[2].partition("#")[0]
    pages = [first, root.get(f"applications/ops?after={where}"), root.get(f"applications/ops?statement={ids[0]}")]
    shown = [{id_ for id_ in made if id_ in page.text} for page in pages]
    assert (shown[0] | shown[1], len(shown[0]), shown[2]) == (set(made), 2, {made[0]})


@pytest.mark.parametrize(("which", "left"), [("older", [201, 201]), ("one", [400, 201]), ("all", [400, 400])])
def test_as_much_ends_as_was_confirmed(root: Browser, which: str, left: list[int]) -> None:
    statements = [_statement(_mint(root)) for _ in range(2)]
    id_ = root.get(f"{CONTROL}/applications/ops/statements").json()["statements"][0]["id"]
    fields = {"application": "ops"} if which == "all" else {"statement": "older"} if which == "older" else {}
    answer = root.send(root.get("applications/ops"), "/revoke", fields, of="all" if which == "all" else id_)
    assert (answer.status_code, [_register(root, each).status_code for each in statements]) == (200, left)


def test_a_confirmation_says_how_many_clients_end(root: Browser) -> None:
    statements = [_statement(_mint(root)) for _ in range(2)]
    for number in range(3):
        _register(root, statements[number > 0])
    said = words(root.get("applications/ops"))
    sentences = [
        "1 client of it ends at once",
        "2 clients of it end at once",
        "3 clients end at once, on every server, with all 2 statements",
    ]
    assert [sentence in said for sentence in sentences] == [True] * 3


def test_all_ends_only_where_the_application_is_typed(root: Browser) -> None:
    statement = _statement(_mint(root))
    answer = root.send(root.get("applications/ops"), "/statements/revoke", {"application": "player"}, of="all")
    typed = [each.fields["application"] for each in forms(answer) if each.fields.get("of") == "all"]
    assert (answer.status_code, typed, _register(root, statement).status_code) == (400, ["player"], 201)


def test_a_client_that_is_ended_gets_no_token(root: Browser) -> None:
    statement = _statement(_mint(root))
    one, other = (_register(root, statement) for _ in range(2))
    before = [_token(root, each).status_code for each in (one, other)]
    page = root.send(root.get("applications/ops"), "/clients/revoke", {"reason": "t 8"}, of=one.json()["client_id"])
    after = [_token(root, each).status_code for each in (one, other)]
    assert (page.status_code, before, after) == (200, [201, 201], [400, 201])


def test_what_was_done_is_told_with_its_act(root: Browser) -> None:
    _mint(root)
    id_ = root.get(f"{CONTROL}/applications/ops/statements").json()["statements"][0]["id"]
    page = root.send(root.get("applications/ops"), "/statements/revoke", {"reason": "ticket 9"}, of=id_)
    (act,) = _on_record_of(root, page)
    told = [act[name] for name in ("kind", "statement_id", "reason")]
    assert (told, "That has ended, with all that came from it." in words(page)) == (
        ["statement.revoke", id_, "ticket 9"],
        True,
    )


def _on_record_of(browser: Browser, page: httpx2.Response) -> list[dict[str, str]]:
    id_ = str(page.url.query.decode()).removeprefix("done=")
    return [browser.get(f"{CONTROL}/acts/{id_}").json()]


@pytest.mark.parametrize("id_", ["x", "0" * 36, "<script>x</script>"])
def test_a_page_tells_of_no_act_that_is_none(root: Browser, id_: str) -> None:
    assert 'role="status"' not in root.get(f"applications/ops?done={id_}").text


@pytest.mark.parametrize(("role", "actions"), [("viewer", 0), ("support", 0), ("operator", 0), ("admin", 4)])
def test_who_is_no_admin_has_no_form_and_is_refused(double: Double, root: Browser, role: str, actions: int) -> None:
    made = _register(root, _statement(_mint(root))).json()["client_id"]
    anna = _signed_in(double, "anna", role)
    page = anna.get("applications/ops")
    seen = [each for each in forms(page) if "/applications/" in each.action]
    token = {"form_token": forms(page)[0].fields["form_token"]}

    def sent(where: str, fields: dict[str, str]) -> int:
        return anna.client.post(f"{HERE}/applications/ops/{where}", data={**token, **fields}).status_code

    answers = [
        sent("statements", {}),
        sent("clients/revoke", {"client": made}),
        sent("statements/revoke", {"statement": "all", "application": "ops"}),
    ]
    assert (len(seen), answers) == (actions, [201, 200, 200] if role == "admin" else [403] * 3)


@pytest.mark.parametrize(
    "fields", [{"ends_at": "tomorrow"}, {"ends_at": "2020-01-01T00:00"}, {"reason": "a@b.example"}]
)
def test_what_cannot_be_minted_is_said_where_it_was_typed(root: Browser, fields: dict[str, str]) -> None:
    page = _mint(root, **fields)
    (kept,) = [each.fields for each in forms(page) if each.fields.get("of") == "mint"]
    ((name, typed),) = fields.items()
    assert (page.status_code, 'role="alert"' in page.text, kept[name]) == (400, True, typed)


def test_script_stays_text(root: Browser) -> None:
    typed = "".join(SCRIPT)
    pages = [root.get("applications"), root.get("applications/ops"), _mint(root, reason=typed, ends_at=typed)]
    assert [(each in page.text, each in words(page)) for page in pages[:2] for each in SCRIPT] == [(False, True)] * 4
    assert [each in pages[2].text for each in SCRIPT] == [False] * 2


def test_an_application_that_is_none_is_not_there(root: Browser) -> None:
    assert [root.get(path).status_code for path in ("applications/none", "applications/ops?after=x")] == [404, 400]
