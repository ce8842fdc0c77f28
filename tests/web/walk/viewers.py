"""
What a viewer meets: a basic trial and a promotional one from beginning to end, a second screen, resets of all kinds,
and a reset that comes by itself.
"""

from typing import NamedTuple

from tests.web.walk.recording import Json
from tests.web.walk.walker import (
    AUTHORIZE,
    CATALOGUE,
    DAY,
    DEVICE_INFO,
    FIREFOX,
    FORM,
    GENERIC,
    HOUR,
    JSON,
    MIDNIGHT,
    MINUTE,
    PAIR,
    PREAUTHORIZE,
    PROMO,
    RESET,
    T0,
    TV,
    V2,
    VIEWER,
    Headers,
    Walker,
    device,
    identity,
    packed,
)


def basic(walker: Walker, ops: Headers) -> None:
    def watch(name: str, *titles: str, pass_id: str = "Basic", path: str = AUTHORIZE, **tv: Headers) -> None:
        walker.titles(f"basic: {name}", f"{path}/{pass_id}", ops, *titles, **tv)

    def profile(name: str) -> None:
        walker.ask(f"basic: profile {name}", f"GET {V2}/profiles/Basic", ops | TV)

    walker.ask("basic: begun anew", f"DELETE {RESET}{PAIR}&device_id=all", ops)
    profile("of a trial that would begin")
    watch("a catalogue page before the trial", "R1", "R2", path=PREAUTHORIZE)
    watch("the first title", "R1")
    walker.at(12 * MINUTE)
    watch("two titles, one of them twice", "R2", 'Ré, 2 \\ "quoted"', "R2")
    watch("a catalogue page", "R1", "R9", path=PREAUTHORIZE)
    profile("of a trial that runs")
    for titles in ((), ("",), ("R",) * 6, ("x" * 2049,)):
        watch(f"{len(titles)} titles {','.join(titles)[:5]!r}", *titles)
        watch(f"{len(titles)} titles {','.join(titles)[:5]!r} on a catalogue page", *titles, path=PREAUTHORIZE)
    target = f"POST {AUTHORIZE}/Basic"
    wrong = ("", "{", "[]", '{"resources":"R1"}', '{"resources":[1]}', '{"resources":["\\ud800"]}', '{"titles":["R1"]}')
    for body in wrong:
        walker.ask(f"basic: the body {body!r}", target, ops | TV | JSON, body)
    walker.ask("basic: no body", target, ops | TV)
    walker.ask("basic: a member that nobody reads", target, ops | TV, '{"resources":["R1"],"more":{}}')
    for name, value in {
        "another type": "serial dHZib3g=", "no type": "dHZib3g=", "no base64": "fingerprint !", "empty": "fingerprint ",
        "no padding": "fingerprint dHZib3g", "base64url": "fingerprint _-8", "in capitals": "FINGERPRINT dHZib3g=",
        "too long": f"fingerprint {'A' * 1400}",
    }.items():  # fmt: skip
        watch(f"a device: {name}", "R1", tv={"AP-Device-Identifier": value})
    watch("a pass without a duration", "R1", pass_id="NoTtl")
    watch("a pass without a duration, on a catalogue page", "R1", pass_id="NoTtl", path=PREAUTHORIZE)
    walker.ask("basic: profile of a pass without a duration", f"GET {V2}/profiles/NoTtl", ops | TV)
    walker.ask("basic: configuration", f"GET {V2}/configuration", ops | {"X-Device-Info": packed(DEVICE_INFO)})
    walker.ask("basic: configuration of a channel without a pass", "GET /api/v2/EMPTY/configuration/?profile=x", ops)
    walker.at(30 * MINUTE - 1)
    watch("the last millisecond", "R3")
    walker.at(30 * MINUTE)
    watch("the end", "R1")
    watch("a catalogue page at the end", "R1", path=PREAUTHORIZE)
    profile("at the end")
    walker.ask("basic: reset", f"DELETE {RESET}{PAIR}&device_id=tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02", ops)
    walker.ask("basic: reset again", f"DELETE {RESET}{PAIR}&device_id=tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02", ops)
    watch("a title after the reset", "R1")
    profile("after the reset")


def promotional(walker: Walker, ops: Headers) -> None:
    viewer, other = ops | identity(VIEWER), device(b"another tv")

    def watch(name: str, title: str, tv: Headers = TV, who: Headers = viewer, path: str = AUTHORIZE) -> None:
        walker.titles(f"promotional: {name}", f"{path}/Promo", who, title, tv=tv)

    def profile(name: str, who: Headers = viewer, tv: Headers = TV, pass_id: str = "Promo") -> None:
        walker.ask(f"promotional: profile {name}", f"GET {V2}/profiles/{pass_id}", who | tv)

    profile("of a trial that would begin")
    for name, header in {
        "none": {}, "no base64": {"AP-TempPass-Identity": "!"}, "no JSON": {"AP-TempPass-Identity": "e30x"},
        "another key": identity(VIEWER, "phone"), "a number": identity(7), "empty": identity(""),
    }.items():  # fmt: skip
        watch(f"an identity: {name}", "R1", who=ops | header)
        profile(f"with an identity: {name}", ops | header)
        watch(f"a catalogue page with an identity: {name}", "R1", who=ops | header, path=PREAUTHORIZE)
    watch("the first title", "R1")
    profile("of a trial that runs")
    watch("the second title, by a raw key and on another device", "R2", other, ops | identity("viewer@example.net"))
    watch("the first title again", "R1")
    watch("a title too many", "R3")
    watch("a title too many on a catalogue page", "R3", path=PREAUTHORIZE)
    watch("a seen title on a catalogue page", "R2", path=PREAUTHORIZE)
    profile("of a trial that is used up")
    profile("of a pass without an identity key", pass_id="NoKey")
    walker.titles("promotional: a pass without an identity key", f"{AUTHORIZE}/NoKey", viewer, "R1")
    walker.ask("promotional: the device is reset", f"DELETE {RESET}{PROMO}&device_id=another+tv", ops)
    watch("the key still knows", "R3", other)
    walker.ask("promotional: the key is reset, raw", f"DELETE {GENERIC}{PROMO}&key=viewer%40example.net", ops)
    watch("the first device has one title left", "R3")
    watch("the first device has none left", "R4")
    watch("the other device is new to another viewer", "R3", other, ops | identity("another"))
    walker.ask("promotional: the key is reset, hashed", f"DELETE {GENERIC}{PROMO}&key={VIEWER}", ops)
    walker.ask("promotional: all keys", f"DELETE {GENERIC}{PROMO}", ops)
    walker.ask("promotional: all devices", f"DELETE {RESET}{PROMO}", ops)
    watch("all is new", "R9")


class Screens(NamedTuple):
    """The screen that has no keyboard, and the one that has."""

    walker: Walker
    ops: Headers

    def post(self, name: str, form: str, path: str = "/sessions", more: Headers = TV) -> Json:
        answer: Json = self.walker.ask(f"session: {name}", f"POST {V2}{path}", self.ops | FORM | more, form).json
        return answer

    def get(self, name: str, path: str, headers: Headers | None = None) -> None:
        self.walker.ask(f"session: {name}", f"GET {path}", self.ops if headers is None else headers)


def sessions(walker: Walker, ops: Headers) -> None:
    post, get = Screens(walker, ops).post, Screens(walker, ops).get
    first = post("nothing said", "", more=TV | {"X-Device-Info": packed(DEVICE_INFO)})["code"]
    get("a device that told of itself", f"{V2}/sessions/{first}")
    seen = post("a browser", "domainName=acme.example", more=TV | {"User-Agent": FIREFOX})["code"]
    get("a device that is a browser", f"{V2}/sessions/{seen.lower()}")
    get("of another channel", f"/api/v2/ACME2/sessions/{seen}")
    post("the older name of the domain", "domain=acme.example")
    post("with a pass at once", "mvpd=Basic&domainName=acme.example&redirectUrl=https%3A%2F%2Facme.example")
    post("an unknown pass", "mvpd=NOPE")
    post("a disabled pass", "mvpd=Disabled")
    post("a redirect elsewhere", "redirectUrl=https%3A%2F%2Fevil.example")
    post("a redirect that is relative", "redirectUrl=%2Fback")
    post("a device that cannot be read", "", more=TV | {"X-Device-Info": "!"})
    second_screen(walker, ops, first, seen)


def second_screen(walker: Walker, ops: Headers, first: str, seen: str) -> None:
    post, get = Screens(walker, ops).post, Screens(walker, ops).get
    get("profile before a pass is chosen", f"{V2}/profiles/code/{first}")
    get("authenticate before a pass is chosen", f"/api/v2/authenticate/ACME1/{first}", {})
    post("resumed, still without a pass", "redirectUrl=https%3A%2F%2Facme.example%2Fback", f"/sessions/{first}")
    post("resumed without a device", "domainName=acme.example", f"/sessions/{first}", {})
    post("resumed, a redirect elsewhere", "redirectUrl=https%3A%2F%2Fevil.example", f"/sessions/{first}")
    post("resumed, an unknown pass", "mvpd=NOPE", f"/sessions/{first}")
    post("resumed, a disabled pass", "mvpd=Disabled", f"/sessions/{first}")
    get("resumed so far", f"{V2}/sessions/{first}")
    post("resumed with a pass", "mvpd=Promo", f"/sessions/{first}")
    get("complete", f"{V2}/sessions/{first}")
    get("authenticate", f"/api/v2/authenticate/ACME1/{first}", {})
    get("profile without an identity", f"{V2}/profiles/code/{first}")
    get("profile", f"{V2}/profiles/code/{first}", ops | identity(VIEWER))
    get("profile by its old path", f"{V2}/profiles/Promo/{first}", ops | identity(VIEWER))
    for title in ("R1", "R2"):
        walker.titles(f"session: {title} is watched", f"{AUTHORIZE}/Promo", ops | identity(VIEWER), title)
    get("profile of a trial that is used up", f"{V2}/profiles/code/{first}", ops | identity(VIEWER))
    for pass_id in ("NoTtl", "Basic"):
        post(f"resumed with {pass_id}", f"mvpd={pass_id}", f"/sessions/{seen}")
        get(f"profile of {pass_id}", f"{V2}/profiles/code/{seen}")
    get("authenticate without a redirect", f"/api/v2/authenticate/ACME1/{seen}", {})
    walker.double.apply(CATALOGUE.replace('"email", channels = ["ACME1"]', '"email", channels = []'))
    get("profile of a pass that is not offered any more", f"{V2}/profiles/code/{first}", ops | identity(VIEWER))
    get("authenticate for a pass that is not offered any more", f"/api/v2/authenticate/ACME1/{first}", {})
    walker.double.apply(CATALOGUE.replace('id = "Promo"', 'id = "Other"'))
    get("profile of a pass that is gone", f"{V2}/profiles/code/{first}", ops | identity(VIEWER))
    get("authenticate for a pass that is gone", f"/api/v2/authenticate/ACME1/{first}", {})
    walker.double.apply(CATALOGUE)
    walker.at(60 * MINUTE)
    get("profile of a trial that is over", f"{V2}/profiles/Basic", ops | TV)
    post("resumed when it has expired", "mvpd=Basic", f"/sessions/{seen}")
    get("when it has expired", f"{V2}/sessions/{seen}")
    over = post("in the trial's last half hour", "")["code"]
    post("resumed with a pass that is over", "mvpd=Basic", f"/sessions/{over}")
    get("profile of a pass that is over", f"{V2}/profiles/code/{over}")
    for number in range(2, 12):  # an application may open ten at once here
        post(f"number {number} of this moment", "")
    for target in (
        "/logout/Basic?redirectUrl=https%3A%2F%2Facme.example",
        "/logout/",
        "/logout/Basic/",
        "/sessions/x/",
    ):
        get(f"at {target}", f"{V2}{target}", ops | TV)


def resets(walker: Walker, ops: Headers) -> None:
    def reset(name: str, query: str, path: str = RESET, headers: Headers = ops) -> None:
        walker.ask(f"reset: {name}", f"DELETE {path}{query}", headers)

    for query in ("", "?mvpd_id=Basic", "?requestor_id=ACME1", "?requestor_id=&mvpd_id=Basic", f"{PAIR}&mvpd_id=Basic"):
        reset(f"with {query!r}", query)
        reset(f"of a key with {query!r}", query, GENERIC)
    info = {"X-Device-Info": packed({"applicationId": "app-1"})}
    for viewer in (b"one", b"two"):
        walker.titles(f"reset: {viewer.decode()} watches", f"{AUTHORIZE}/Basic", ops | info, "R1", tv=device(viewer))
    walker.titles("reset: three watches without an application", f"{AUTHORIZE}/Basic", ops, "R1", tv=device(b"th ree"))
    reset("of one, narrowed elsewhere", f"{PAIR}&device_id=one&appId=app-2")
    reset("of one, narrowed", f"{PAIR}&device_id=one&appId=app-1")
    reset("of all, narrowed", f"{PAIR}&device_id=all&appId=app-1")
    reset("of all, narrowed to a user", f"{PAIR}&deviceUser=somebody")
    reset("a plus is a space", f"{PAIR}&device_id=th+ree")
    reset("of a device that is no UTF-8", f"{PAIR}&device_id=%FF%00")
    for query in ("", "&device_id=", "&device_id=all"):
        reset(f"of everybody with {query!r}", PAIR + query)
    for query in ("", "&key=", "&key=all"):
        reset(f"of every key with {query!r}", PROMO + query, GENERIC)
    reset("a key of a basic pass", f"{PAIR}&key=k", GENERIC)
    for query in ("&device_id=a&device_id=b", "&device_id=" + "a" * 1025, "&appId=%FF", "&environment=test"):
        reset(f"with {query[:32]!r}", PAIR + query)
    reset("a key that is no UTF-8", f"{PROMO}&key=%FF", GENERIC)
    reset("a requestor that is no UTF-8", "?requestor_id=%FF&mvpd_id=Basic&device_id=d")
    for query in (
        "&deviceId=d",
        "&DEVICE_ID=d",
        "&device_id%5B%5D=d",
        "&amp;device_id=d",
        "&key=k",
        "&device_id=d&x=y",
    ):
        reset(f"an unknown parameter: {query}", PAIR + query)
    reset("of a key: an unknown parameter", f"{PROMO}&device_id=d", GENERIC)
    reset("a fragment", f"{PAIR}&device_id=#1234")
    reset("a fragment, encoded", f"{PAIR}&device_id=%231234")
    for value in ("production", "STAGING", "release-production"):
        reset(f"of {value}", f"{PAIR}&device_id=d&environment={value}")
        reset(
            f"of {value} at the vendor's host",
            f"{PAIR}&device_id=d&environment={value}",
            headers={**ops, "Host": "mgmt.auth.adobe.com"},
        )
    walker.ask("reset: a body that nobody reads", f"DELETE {RESET}{PAIR}&device_id=d", ops, "all")
    walker.ask("reset: a token in the query", f"DELETE {RESET}{PAIR}&device_id=d&access_token=x")
    for scheme in ("bearer", "Basic", "Bearer  "):
        value = ops["Authorization"].replace("Bearer", scheme)
        reset(f"by {scheme!r}", f"{PAIR}&device_id=d", headers={"Authorization": value})
    reset("by Bearer alone", f"{PAIR}&device_id=d", headers={"Authorization": "Bearer"})
    reset(
        "by a token that somebody changed", f"{PAIR}&device_id=d", headers={"Authorization": f"{ops['Authorization']}x"}
    )


def recurring(walker: Walker) -> None:
    """A pass that is reset at midnight of its channel; the access token of the day before has ended by then."""
    for name, now in (
        ("the first day", T0 + 2 * HOUR),
        ("the millisecond before", MIDNIGHT - 1),
        ("midnight", MIDNIGHT),
    ):
        walker.at(now - T0)
        ops = walker.bearer("ops", name)
        walker.titles(f"recurring: {name}", "/api/v2/ACME2/decisions/authorize/Daily", ops, "R1")
        walker.ask(f"recurring: profile at {name}", "GET /api/v2/ACME2/profiles/Daily", ops | TV)


def four_weeks_later(walker: Walker) -> None:
    """The end of the promotional trial that began after half an hour."""
    walker.at(30 * MINUTE + 28 * DAY)
    viewer = walker.bearer("ops", "four weeks later") | identity(VIEWER)
    walker.titles("promotional: the end", f"{AUTHORIZE}/Promo", viewer, "R9")
    walker.ask("promotional: profile at the end", f"GET {V2}/profiles/Promo", viewer | TV)
