"""
A browser without script, as far as the tests of pages need one: it keeps cookies, goes where it is sent, finds forms
and sends them with what they hold.
"""

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import NamedTuple

import httpx2
from starlette.testclient import TestClient

from temppass.testing import Double

HERE = "/console/in/release-production"


class Form(NamedTuple):
    action: str
    #: what it holds, by name; of a select and of radio buttons what is chosen
    fields: dict[str, str]
    #: the names and values of its buttons
    buttons: list[tuple[str, str]]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.words: list[str] = []
        self._select = ""
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(has.get("action", ""), {}, []))
        if not self.forms:
            return
        fields, name, kind = self.forms[-1].fields, has.get("name", ""), has.get("type", "text")
        if tag == "input" and name and (kind not in {"checkbox", "radio"} or "checked" in has):
            fields[name] = has.get("value", "on" if kind == "checkbox" else "")
        elif tag == "button" and name:
            self.forms[-1].buttons.append((name, has.get("value", "")))
        elif tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in fields or "selected" in has):
            fields[self._select] = has.get("value", "")
        elif tag == "textarea":
            fields[name], self._area = "", name

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1].fields[self._area] += data
        self.words.append(data)


def forms(page: httpx2.Response) -> list[Form]:
    parser = _Forms()
    parser.feed(page.text)
    return parser.forms


def words(page: httpx2.Response) -> str:
    """Answer what a page says, with one space between any two words."""
    parser = _Forms()
    parser.feed(page.text)
    return " ".join(" ".join(parser.words).split())


class Browser:
    def __init__(self, double: Double, base_url: str = "http://double.test") -> None:
        self.client = TestClient(double.app, base_url=base_url)

    def get(self, path: str) -> httpx2.Response:
        """Answer a page; a path that does not begin with a slash is below the one of the environment."""
        return self.client.get(path if path.startswith("/") else f"{HERE}/{path}".rstrip("/"))

    def send(
        self, page: httpx2.Response, action: str, fields: Mapping[str, str] | None = None, of: str | None = None
    ) -> httpx2.Response:
        """
        Send the form of a page whose action ends so, filled in with `fields`, and go where the answer says. Where there
        are several, `of` is what the one says in its field of that name.
        """
        found = [each for each in forms(page) if each.action.partition("?")[0].endswith(action)]
        (form,) = [each for each in found if of is None or each.fields.get("of") == of]
        origin = {"Origin": str(self.client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        return self.client.post(form.action, data={**form.fields, **(fields or {})}, headers=origin)

    def sign_in(self, token: str) -> httpx2.Response:
        return self.send(self.get("/console/sign-in"), "/sign-in", {"token": token})
