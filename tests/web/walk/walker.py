"""
Goes over the wire: one connection an exchange, nothing sent that was not asked for, everything kept that came.
"""

import base64
import json
import re
import socket
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlencode, urlsplit

from tests.web.walk.recording import Exchange, Json

from temppass.testing import Double

Headers = dict[str, str]

#: 2026-01-01T10:00:00Z, as in contract §6.0
T0 = 1_767_261_600_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
#: 2026-01-02T00:00 in New York
MIDNIGHT = 1_767_330_000_000
SECRET = "a secret of the walk, long enough to be one"
ANSWER_WAIT_S = 10

CATALOGUE = """
programmer = [{ id = "acme", name = "Acme Media" }]
channel = [
  { id = "ACME1", programmer = "acme", name = "Acme One", domains = ["acme.example", "localhost"] },
  { id = "ACME2", programmer = "acme", domains = ["two.example"], timezone = "America/New_York" },
  { id = "EMPTY", programmer = "acme" },
]
pass = [
  { id = "Basic", kind = "basic", name = "Free half hour", ttl = "30m", channels = ["ACME1", "ACME2"] },
  { id = "Promo", kind = "promotional", ttl = "28d", resources_max = 2, identity_key = "email", channels = ["ACME1"] },
  { id = "Daily", kind = "basic", ttl = "10m", resets = "0 0 * * *", channels = ["ACME2"] },
  { id = "Disabled", kind = "basic", ttl = "10m", channels = [{ id = "ACME1", enabled = false }] },
  { id = "NoTtl", kind = "basic", allow_invalid = true, channels = ["ACME1"] },
  { id = "NoKey", kind = "promotional", ttl = "1h", resources_max = 5, allow_invalid = true, channels = ["ACME1"] },
]
application = [
  { id = "ops", channels = "all", scopes = ["temporary:passes:owner", "api:client:v2"], domains = ["acme.example"] },
  { id = "player", channels = ["ACME1"], scopes = ["api:client:v2"] },
  { id = "resetter", channels = ["ACME1"], scopes = ["temporary:passes:owner"] },
  { id = "nothing", channels = ["ACME1"], scopes = [] },
  { id = "ended", channels = "all", scopes = ["temporary:passes:owner", "api:client:v2"] },
]
"""


def device(device_id: bytes) -> Headers:
    return {"AP-Device-Identifier": f"fingerprint {base64.b64encode(device_id).decode()}"}


def packed(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def identity(user_key: object, name: str = "email") -> Headers:
    return {"AP-TempPass-Identity": packed({name: user_key})}


TV = device(b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02")
#: SHA-256 of viewer@example.net
VIEWER = "6505054d62861944b4cee5193e7466f592e9deeeb2467d1a6ff021843d0babb2"
#: the vector of contract §11.1
DEVICE_INFO = {
    "primaryHardwareType": "SetTopBox", "model": "Box One", "version": "3.1", "manufacturer": "Acme",
    "osName": "Linux", "osVersion": "5.15", "connectionType": "LAN", "connectionIp": "203.0.113.24",
    "connectionPort": "51544",
}  # fmt: skip
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json;charset=utf-8"}
V2 = "/api/v2/ACME1"
AUTHORIZE, PREAUTHORIZE = f"{V2}/decisions/authorize", f"{V2}/decisions/preauthorize"
RESET, GENERIC = "/reset-tempass/v3/reset", "/reset-tempass/v3/reset/generic"
PAIR, PROMO = "?requestor_id=ACME1&mvpd_id=Basic", "?requestor_id=ACME1&mvpd_id=Promo"


class Answer(NamedTuple):
    """The last answer of an exchange. `body` is text."""

    status: int
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def over_the_wire(url: str, sent: bytes, answers: int = 1) -> tuple[bytes, Answer]:
    """Send bytes over a connection of their own; answer all that came back, and the last of so many answers."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=ANSWER_WAIT_S) as connection:
        connection.sendall(sent)
        reader = connection.makefile("rb")
        received, answer = b"", Answer(0, "")
        while answers:
            head = b"".join(iter(reader.readline, b"\r\n")) + b"\r\n"
            status = int(head[9:12])
            length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
            bodiless = sent.startswith(b"HEAD ") or status < 200 or status == 204
            body = b"" if bodiless or length is None else reader.read(int(length[1]))
            if b"\r\ntransfer-encoding: chunked" in head.lower():
                body = chunks(reader, endless=b"text/event-stream" in head)
            received += head + body
            answer, answers = Answer(status, body.decode()), answers - (status >= 200)
        connection.shutdown(socket.SHUT_WR)
        return received + reader.read(), answer


def chunks(reader: BinaryIO, *, endless: bool) -> bytes:
    """Read what comes in chunks, to the last; of an answer without end until there is an event in it."""
    body = b""
    while True:
        size = reader.readline()
        piece = reader.read(int(size, 16) + 2)
        body += size + piece
        if size == b"0\r\n" or (endless and b"data: " in piece):
            return body


class Walker:
    """Goes to one server and keeps every exchange. `headers` are those that every request has."""

    def __init__(self, double: Double, exchanges: list[Exchange]) -> None:
        self.double = double
        self.exchanges = exchanges

    def raw(self, name: str, sent: str, answers: int = 1) -> Answer:
        received, answer = over_the_wire(self.double.url, sent.encode(), answers)
        self.exchanges.append(Exchange(name, self.double.clock.now - T0, sent.encode(), received))
        return answer

    def ask(self, name: str, asked: str, headers: Headers | None = None, body: str | None = None) -> Answer:
        """`asked` is method and target. A body gets its length, which the headers may contradict."""
        lines = {"Host": "double.test"} | ({} if body is None else {"Content-Length": str(len(body.encode()))})
        head = "".join(f"{key}: {value}\r\n" for key, value in (lines | (headers or {})).items())
        return self.raw(name, f"{asked} HTTP/1.1\r\n{head}\r\n{body or ''}")

    def at(self, ms: int) -> None:
        """Set the clock to so long after T0, in milliseconds."""
        self.double.clock.now = T0 + ms

    def bearer(self, application_id: str, when: str = "at first", environment: str | None = None) -> Headers:
        """Mint, register and ask for a token, so that each is seen; answer the headers that carry it."""
        host = {"Host": f"{environment}.localhost"} if environment else {}
        statement = json.dumps({"software_statement": self.double.mint(application_id, environment)})
        made = self.ask(f"{application_id} registers, {when}", "POST /o/client/register", JSON | host, statement).json
        form = urlencode({"grant_type": "client_credentials"} | credentials(made))
        issued = self.ask(f"{application_id} asks for a token, {when}", "POST /o/client/token", FORM | host, form).json
        return {**host, "Authorization": f"Bearer {issued['access_token']}"}

    def titles(self, name: str, target: str, headers: Headers, *titles: str, tv: Headers | None = None) -> Answer:
        return self.ask(name, f"POST {target}", JSON | headers | (tv or TV), json.dumps({"resources": titles}))


def credentials(made: Json) -> Headers:
    return {name: made[name] for name in ("client_id", "client_secret")}
