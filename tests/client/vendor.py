"""
The vendor, played by script over real sockets: two hosts on the loopback, `sp` and `mgmt`, that answer the requests in
the order in which they come with the steps of one script, and write down what they saw.

A step is a name of STEPS, or a Reply of one's own. Every secret that the vendor gives out, whole or in a broken
answer, and the statement that a client brings contain HUSH, so that a test can look for all of them at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from temppass import Place
from temppass.client.shell import BODY_BYTES_MAX

#: what every secret contains, and nothing else
HUSH = "hush"
STATEMENT = f"{HUSH}.{HUSH}.statement"

BEGAN = 1_767_261_600_000
ENDS = BEGAN + 1_800_000
#: a late answer comes when the client has given up, or after so many seconds
LATE_S = 1.0
#: the pause between the pieces of an answer that drips, in seconds, and how many pieces there are
DRIP_S = 0.01
DRIPS = 8
JSON = "application/json;charset=UTF-8"
HTML = "text/html"

Manner = Literal["whole", "late", "drip", "slow head", "slow body", "cut", "torn"]
Kind = Literal["register", "token", "reset", "authorize", "preauthorize", "profile", "configuration", "keys"]


@dataclass(frozen=True)
class Reply:
    """
    One answer, and the manner of it: whole, late, in drips, byte after byte in head or body until it is whole or
    nobody listens, cut before its first byte, or torn in the middle of the body. `status` 0 stands for what a good
    answer of that kind has today.
    """

    status: int
    body: bytes = b""
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = "whole"


@dataclass(frozen=True)
class Seen:
    """One request, as it came."""

    host: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> Kind:
        parts = self.path.split("/")
        match parts[1:]:
            case ["o", "client", "register"]:
                return "register"
            case ["o", "client", "token"]:
                return "token"
            case ["reset-tempass", "v3", "reset"] | ["reset-tempass", "v3", "reset", "generic"]:
                return "reset"
            case ["api", "v2", _, "decisions", "authorize", _]:
                return "authorize"
            case ["api", "v2", _, "decisions", "preauthorize", _]:
                return "preauthorize"
            case ["api", "v2", _, "profiles", _]:
                return "profile"
            case ["api", "v2", _, "configuration"]:
                return "configuration"
            case [".well-known", "jwks.json"]:
                return "keys"
        raise AssertionError(self.path)


# --- good answers


@dataclass(frozen=True)
class Good:
    """A good answer to whatever was asked; `status` 0 is today's, `moment` writes a moment of the wire."""

    status: int = 0
    moment: Callable[[int], Any] = int
    #: without what may be missing, such as `expires_in`
    bare: bool = False
    manner: Literal["whole", "drip"] = "whole"
    media_type: str = JSON

    def reply(self, seen: Seen, number: int) -> Reply:
        if seen.kind == "keys":
            return _page(404, "404 Not Found")  # the vendor publishes none
        today = {"register": 201, "token": 201, "reset": 204}.get(seen.kind, 200)
        body = b"" if seen.kind == "reset" else json.dumps(self._fields(seen, number)).encode()
        status = today if today == 204 else self.status or today
        return Reply(status, body, self.media_type, manner=self.manner)

    def _fields(self, seen: Seen, number: int) -> dict[str, Any]:
        window = {"notBefore": self.moment(BEGAN), "notAfter": self.moment(ENDS)}
        match seen.kind:
            case "register":
                more = {} if self.bare else {"client_id_issued_at": self.moment(BEGAN), "redirect_uris": []}
                return {"client_id": f"client-{number}", "client_secret": f"{HUSH}-secret-{number}", **more}
            case "token":
                lifetime = "21600" if isinstance(self.moment(BEGAN), str) else 21_600
                more = {} if self.bare else {"created_at": self.moment(BEGAN), "expires_in": lifetime}
                return {"access_token": f"{HUSH}-token-{number}", "token_type": "bearer", **more}
            case "authorize" | "preauthorize":
                decision = {"authorized": True, **({} if self.bare else window)}
                return {"decisions": [{"resource": asked, **decision} for asked in json.loads(seen.body)["resources"]]}
            case "profile":
                remaining = "2" if isinstance(self.moment(BEGAN), str) else 2
                attributes = {"userID": {"value": "temppass_1"}, "remaining_resources": {"value": remaining}}
                shown = {**window, "attributes": {} if self.bare else attributes}
                return {"profiles": {seen.path.rpartition("/")[2]: shown}}
            case _:
                return {"requestor": {"id": seen.path.split("/")[3]}}


# --- every step by its name


def _json(status: int, fields: Any, **headers: str) -> Reply:
    return Reply(status, json.dumps(fields).encode(), headers=headers)


def _enhanced(status: int, code: str, action: str) -> Reply:
    told = {"action": action, "status": status, "code": code, "message": "no", "helpUrl": "https://x", "trace": "t"}
    return _json(status, told)


def _page(status: int, title: str, **headers: str) -> Reply:
    head = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    page = f"{head}<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n"
    return Reply(status, page.encode(), HTML, headers)


STEPS: dict[str, Reply | Good] = {
    "good": Good(),
    "good 200 s": Good(200, lambda moment: moment // 1000),
    "good texts": Good(moment=str),
    "good texts s": Good(moment=lambda moment: str(moment // 1000)),
    "good bare": Good(bare=True),
    "good drip": Good(manner="drip"),
    "good as html": Good(media_type=HTML),
    "400 client": _json(400, {"error": "invalid_client"}),
    "400 statement": _json(400, {"error": "unapproved_software_statement"}),
    "400 request": _json(400, {"error": "invalid_request", "message": "requestor_id is missing", "status": 400}),
    "401 v2": _enhanced(401, "invalid_access_token_client_application", "application-registration"),
    "401 reset": _json(401, {"error": "access_denied"}),
    "403 client": _json(403, {"error": "invalid_client"}),
    "403 scope": _json(403, {"error": "insufficient_scope"}),
    "403 time over": _enhanced(403, "temporary_access_duration_limit_exceeded", "authentication"),
    "403 used up": _enhanced(403, "temporary_access_resources_limit_exceeded", "authentication"),
    "410": _json(410, {"error": "gone"}),
    "302": Reply(302, headers={"Location": "app://x?error=access_denied"}),
    "429": _page(429, "429 Too Many Requests", Server="openresty", **{"Set-Cookie": "AWSALB=x; Path=/"}),
    "429 after 2": _page(429, "429 Too Many Requests", **{"Retry-After": "2"}),
    "429 after an hour": _page(429, "429 Too Many Requests", **{"Retry-After": "3600"}),
    "500 page": _page(500, "500 Internal Server Error"),
    "500 v2": _enhanced(500, "internal_server_error", "none"),
    "503 json": _json(503, {"error": "unavailable"}),
    "late": Reply(200, b"{}", manner="late"),
    "cut": Reply(200, manner="cut"),
    "torn": Reply(200, f'{{"access_token":"{HUSH}{HUSH}"}}'.encode(), manner="torn"),
    "malformed": Reply(200, f'{{"access_token":"{HUSH}", [[['.encode()),
    "array": _json(200, [f"{HUSH}-id", f"{HUSH}-secret"]),
    "empty": Reply(200),
    "oversized": Reply(200, f'{{"access_token":"{HUSH}'.encode() + b"x" * (BODY_BYTES_MAX + 100_000) + b'"}'),
    "not gzip": Reply(200, b"{}", headers={"Content-Encoding": "gzip"}),
}
#: steps after which a client waits in earnest
THROTTLES = ["429", "429 after 2"]


# --- the hosts


class Vendor:
    """What is played, and what was seen. Each request takes the next step; after the last, all is good."""

    def __init__(self, script: Sequence[str | Reply], *, forever: bool) -> None:
        steps = [STEPS[step] if isinstance(step, str) else step for step in script]
        self._steps = itertools.cycle(steps) if forever else itertools.chain(steps, itertools.repeat(Good()))
        self._guard = threading.Lock()
        self.seen: list[Seen] = []
        self.place = Place("not listening yet", "", "")

    @property
    def kinds(self) -> list[Kind]:
        return [seen.kind for seen in self.seen]

    def reply(self, seen: Seen) -> Reply:
        with self._guard:
            self.seen.append(seen)
            step = next(self._steps)
            return step.reply(seen, len(self.seen)) if isinstance(step, Good) else step


@contextlib.contextmanager
def vendor(*script: str | Reply, forever: bool = False) -> Iterator[Vendor]:
    """Answer a vendor that plays `script`, once and then well or `forever`, on two ports of the loopback."""
    played = Vendor(script, forever=forever)
    with _host(played, "sp") as service, _host(played, "mgmt") as management:
        played.place = Place("vendor", service, management)
        yield played


class _Host(ThreadingHTTPServer):
    """Knows whom it plays; a client that goes away in the middle is no news."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, vendor: Vendor, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vendor = vendor
        self.name = name

    def handle_error(self, request: Any, client_address: Any) -> None:  # a handler's own faults show as cut answers
        pass


@contextlib.contextmanager
def _host(played: Vendor, name: str) -> Iterator[str]:
    host = _Host(played, name)
    thread = threading.Thread(target=host.serve_forever, args=(0.005,), name=f"vendor-{name}", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{host.server_address[1]}"
    finally:
        host.shutdown()
        thread.join()
        host.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Host
    protocol_version = "HTTP/1.1"
    timeout = 5  # an idle connection is not kept longer than that
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.server.name, self.command, url.path, query, headers, body)
        self._give(self.server.vendor.reply(seen))

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

    def _give(self, reply: Reply) -> None:
        if reply.manner == "late":
            select.select([self.connection], [], [], LATE_S)  # readable as soon as the client has closed it
        self.close_connection = reply.manner in {"late", "cut", "torn"}
        if reply.manner in {"late", "cut"}:
            return
        if reply.manner == "slow head":
            self._trickle(b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\nX-Padding: %0300d\r\n\r\n" % (reply.status, 0))
            return
        self.send_response(reply.status)
        if reply.status != 204:
            self.send_header("Content-Type", reply.media_type)
            self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._give_body(reply)

    def _trickle(self, content: bytes) -> None:
        for byte in content:
            self.wfile.write(bytes([byte]))
            select.select([], [], [], DRIP_S)

    def _give_body(self, reply: Reply) -> None:
        match reply.manner:
            case "drip":
                size = max(1, -(-len(reply.body) // DRIPS))
                for start in range(0, len(reply.body), size):
                    self.wfile.write(reply.body[start : start + size])
                    select.select([], [], [], DRIP_S)
            case "slow body":
                self._trickle(reply.body)
            case "torn":
                self.wfile.write(reply.body[: len(reply.body) // 2])
            case _:
                self.wfile.write(reply.body)

    def log_message(self, *_: Any) -> None:
        pass
