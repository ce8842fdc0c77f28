"""
The conversations of an operator with the control API, without any I/O: each is a generator that yields what it wants
done (exchange.py), and is played by the shells of desk.py.

Whoever acts names the call by an idempotency key, so every request may be sent again where its answer was lost: the
service does it once, and answers as before. Identities travel in bodies only, all but those of an explanation as
digests of what was typed.

Source: docs/reference.md (control); RFC 9457, RFC 6750, draft-ietf-httpapi-idempotency-key-header.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from msgspec import Struct

from temppass.client.answers import (
    Act,
    Approval,
    Explained,
    NewOperator,
    Only,
    Operator,
    Planned,
    Receipt,
    act_of,
    approval_of,
    explained_of,
    moment,
    objects,
    operator_of,
    planned_of,
    receipt_of,
    rfc3339,
    text,
)
from temppass.client.errors import InvalidTarget, RequestRefused
from temppass.client.exchange import Answer, Flow, Send, is_good, object_of, refuse, sent
from temppass.client.place import Place
from temppass.core.identity import IDENTITY_BYTES_MAX, canonical_user_key
from temppass.core.refusal import InvalidIdentity

#: where operators act unless they say otherwise
ENVIRONMENT = "release-production"
#: acts in one page
PAGE_ACTS_MAX = 100
#: digests in one reset
SUBJECTS_MAX = 1_000
#: of whom a reset of everybody makes everybody new
Kinds = Literal["devices", "keys", "both"]
#: everybody that is meant, not a part of them
ALL = Only()

_TOKEN = re.compile(r"[\x21-\x7e]{1,256}")
_ENVIRONMENT = re.compile(r"[a-z0-9-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{32}")


class Seat(Struct, frozen=True):
    """Where an operator acts, and their token."""

    place: Place
    environment: str
    token: str

    def __repr__(self) -> str:
        return f"Seat({self.place!r}, {self.environment!r})"


def seat(place: Place, token: str, environment: str = ENVIRONMENT) -> Seat:
    """Raises InvalidTarget for a token that no header can carry, or a name that no environment has."""
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise InvalidTarget("that is no operator's token", hint="it begins with tpo_ and is one word")
    if not _ENVIRONMENT.fullmatch(environment):
        raise InvalidTarget(f"{environment!r} is no environment", hint="use a-z, 0-9 and -")
    return Seat(place, environment, token)


# --- whom, and what


class Target(Struct, frozen=True):
    """
    Which viewer: a device, a user key (or the e-mail address that it is the hash of), both, or a digest that an
    explanation has answered.
    """

    device: str | None = None
    email: str | None = None
    key: str | None = None
    subject: str | None = None


class Wanted(Struct, frozen=True):
    """Which acts: those that every part which is given fits. Moments are Unix milliseconds, the last not included."""

    since: int | None = None
    until: int | None = None
    #: as `kind:name`, such as operator:anna
    actor: str | None = None
    kind: str | None = None
    requestor: str | None = None
    mvpd: str | None = None
    target: Target = Target()


# --- operators


def whoami(seat: Seat) -> Flow[Operator]:
    """Answer whose token it is. Raises AccessDenied for one that is unknown, revoked or over."""
    return operator_of((yield from asked(seat, "GET", "/whoami")))


def operators(seat: Seat) -> Flow[list[Operator]]:
    """Answer all operators, by name. Raises NotPermitted where one is no admin of everything."""
    answer = yield from asked(seat, "GET", "/operators")
    return [operator_of(each) for each in objects(answer, "operators")]


def create_operator(
    seat: Seat,
    name: str,
    role: str,
    environments: Sequence[str],
    channels: Sequence[str],
    ends_at: int | None,
    *,
    once: str,
) -> Flow[NewOperator]:
    """Create an operator. Raises RequestRefused, with code `answered_once` where the answer with the token was lost."""
    _refuse_text(environments=environments, channels=channels)
    body = {"name": name, "role": role, "environments": list(environments), "channels": list(channels)}
    if ends_at is not None:
        body["ends_at"] = rfc3339(ends_at)
    fields = yield from asked(seat, "POST", "/operators", body, once=once)
    return NewOperator(text(fields, "id"), text(fields, "token"), moment(fields.get("ends_at")))


def revoke_operator(seat: Seat, name: str, *, once: str) -> Flow[Receipt]:
    """End an operator's token. Raises RequestRefused, with code `not_found` for one that there is not."""
    return receipt_of((yield from asked(seat, "DELETE", f"/operators/{segment(name)}", once=once)))


# --- viewers


def explain(
    seat: Seat, target: Target, *, requestor: str | None = None, mvpd: str | None = None, title: str | None = None
) -> Flow[Explained]:
    """Say why a viewer may watch or not, in every integration or the one that is named. Raises InvalidTarget."""
    body = {**_viewer(target, is_raw=True), **_given(channel=requestor, title=title), **_given(**{"pass": mvpd})}
    return explained_of((yield from asked(seat, "POST", path_in(seat, "/explain"), body)))


def reset(
    seat: Seat,
    requestor: str,
    mvpd: str,
    target: Target | Sequence[str],
    *,
    reason: str | None,
    once: str,
) -> Flow[Receipt]:
    """Make one viewer new to a pass, or all whose digests are given, in one act. Raises InvalidTarget."""
    whom = _viewer(target) if isinstance(target, Target) else {"subjects": _digests(target)}
    body = {**_integration(requestor, mvpd), **whom, **_given(reason=reason)}
    return receipt_of((yield from asked(seat, "POST", path_in(seat, "/resets"), body, once=once)))


def grant(
    seat: Seat,
    requestor: str,
    mvpd: str,
    target: Target,
    minutes: int | None,
    titles: int | None,
    reason: str | None,
    *,
    once: str,
) -> Flow[Receipt]:
    """Give minutes or titles on top of a trial that counts. Raises InvalidTarget."""
    if minutes is None and titles is None:
        raise InvalidTarget("say how many minutes or titles")
    more = _given(minutes=minutes, titles=titles, reason=reason)
    body = {**_integration(requestor, mvpd), **_viewer(target), **more}
    return receipt_of((yield from asked(seat, "POST", path_in(seat, "/grants"), body, once=once)))


def undo(seat: Seat, act_id: str, reason: str | None, *, replace: bool, once: str) -> Flow[Receipt]:
    """Take a reset or a grant back; with `replace` also where the viewer has a new trial. Raises RequestRefused."""
    body = {**_given(reason=reason), **({"replace": True} if replace else {})}
    act = segment(act_id)
    try:
        fields = yield from asked(seat, "POST", path_in(seat, f"/resets/{act}/undo"), body, once=once)
    except RequestRefused as error:
        if error.code != "not_found":
            raise
        fields = yield from asked(seat, "POST", path_in(seat, f"/grants/{act}/undo"), body, once=once)
    return receipt_of(fields)


# --- everybody


def plan(
    seat: Seat, requestor: str, mvpd: str, everybody: Kinds, only: Only, share: float | None, *, once: str
) -> Flow[Planned]:
    """Count what a reset of everybody, or of those that `only` leaves, would touch. Raises InvalidTarget."""
    body = {**_integration(requestor, mvpd), **_everybody(everybody, only), **_given(share=share)}
    return planned_of((yield from asked(seat, "POST", path_in(seat, "/plans"), body, once=once)))


def reset_everybody(
    seat: Seat, requestor: str, mvpd: str, everybody: Kinds, only: Only, plan_id: str, reason: str | None, *, once: str
) -> Flow[Receipt]:
    """Do what was planned, or ask for a second person. Raises InvalidTarget."""
    if not plan_id:
        raise InvalidTarget("the plan is empty", hint="is a variable unset?")
    whom = _everybody(everybody, only)
    body = {**_integration(requestor, mvpd), **whom, "plan": plan_id, **_given(reason=reason)}
    return receipt_of((yield from asked(seat, "POST", path_in(seat, "/resets"), body, once=once)))


def approvals(seat: Seat) -> Flow[list[Approval]]:
    """Answer the resets that wait for a second person, the oldest first."""
    answer = yield from asked(seat, "GET", path_in(seat, "/approvals"))
    return [approval_of(each) for each in objects(answer, "approvals")]


def decide(seat: Seat, approval_id: str, *, approve: bool, once: str) -> Flow[Receipt]:
    """Confirm what another operator asked for, and it is done; or decline it. Raises NotPermitted for one's own."""
    path = path_in(seat, f"/approvals/{segment(approval_id)}")
    return receipt_of((yield from asked(seat, "POST", path, {"approve": approve}, once=once)))


def _everybody(everybody: Kinds, only: Only) -> dict[str, Any]:
    """Answer who is meant, in a body. Raises InvalidTarget."""
    if everybody not in {"devices", "keys", "both"}:
        raise InvalidTarget("everybody is devices, keys or both")
    if only.app_id == "":
        raise InvalidTarget("the application is empty", hint="is a variable unset?")
    before = rfc3339(only.started_before) if only.started_before is not None else None
    narrowed = _given(over=only.over or None, started_before=before, app_id=only.app_id)
    return {"everybody": everybody, **({"only": narrowed} if narrowed else {})}


# --- acts


class Page(NamedTuple):
    """
    Acts, the newest first; what the next page is after, None after the last; and up to when what was done is kept no
    more, 0 while everything is.
    """

    acts: list[Act]
    next: int | None
    kept_since: int


def acts(seat: Seat, wanted: Wanted, after: int | None = None) -> Flow[Page]:
    """Answer a page of what was done."""
    only = {"actors": wanted.actor, "kinds": wanted.kind, "channels": wanted.requestor}
    body: dict[str, Any] = {
        **{name: rfc3339(at) for name, at in (("since", wanted.since), ("until", wanted.until)) if at is not None},
        **{name: [one] for name, one in only.items() if one is not None},
        **_given(**{"pass": wanted.mvpd}),
        **(_touched(wanted.target) if wanted.target != Target() else {}),
        "limit": PAGE_ACTS_MAX,
    }
    if after is not None:
        body["after"] = after
    fields = yield from asked(seat, "POST", path_in(seat, "/acts/search"), body)
    following = fields.get("next")
    found = [act_of(each) for each in objects(fields, "records")]
    return Page(found, following if isinstance(following, int) else None, moment(fields.get("kept_since")))


def act(seat: Seat, act_id: str) -> Flow[Act]:
    """Answer one act. Raises RequestRefused, with code `not_found` for one that one does not see."""
    return act_of((yield from asked(seat, "GET", path_in(seat, f"/acts/{segment(act_id)}"))))


def _touched(target: Target) -> dict[str, Any]:
    """Answer what names a viewer where several may be looked for."""
    named = _viewer(target)
    return {"subjects": [named["subject"]]} if "subject" in named else named


# --- asking


def asked(
    seat: Seat, method: str, path: str, body: dict[str, Any] | None = None, *, once: str = ""
) -> Flow[dict[str, Any]]:
    """
    Send a call of the control API and answer its JSON. `once` is the idempotency key of one that changes something.

    Raises AccessDenied (401), NotPermitted (403), RequestRefused (any other 4xx, with the service's code), ServerFault,
    Throttled, Unreachable, Unreadable.
    """
    headers = {"Content-Type": "application/json"} if body is not None else {}
    content = json.dumps(body).encode() if body is not None else b""
    return object_of((yield from answered(seat, method, path, headers, content, once=once)))


def answered(
    seat: Seat, method: str, path: str, headers: dict[str, str], content: bytes = b"", *, once: str = ""
) -> Flow[Answer]:
    """As `asked`, of a body that need not be JSON, in either direction."""
    headers = {"Accept": "application/json", "Authorization": f"Bearer {seat.token}", **headers}
    if once:
        headers["Idempotency-Key"] = once
    request = Send(method, f"{seat.place.service}/control/v1{path}", headers, content)
    answer: Answer = yield from sent(request, is_repeatable=True)
    if not is_good(answer):
        refuse(answer, (seat.token,), HINTS)
    return answer


#: what to do, by the service's code
HINTS = {
    "invalid_request": "mend what the message names; `temppass catalogue show` lists channels and passes",
    "not_found": "is the id right, and of this environment? `temppass acts` lists what one may see",
    "unknown_operator": "is it the token of this service? an admin makes one: `temppass operator create`",
    "ended_operator": "an admin makes a new token: `temppass operator create`",
    "role_missing": "ask somebody who has that role",
    "outside_limits": "`temppass whoami` tells the environments and channels that one is limited to",
    "answered_once": "it was done, but what it told is lost: revoke the operator and create it again, or mint anew",
    "reason_required": "the pass asks why: --reason TEXT (reason=…), such as a ticket's number",
    "plan_required": "look first how many it would touch: `temppass reset … --plan` (plan(…)), then apply that",
    "plan_outdated": "look again: `temppass reset … --plan` (plan(…)), then apply that",
    "own_approval": "ask another operator: `temppass approval list` shows them what waits",
    "already_so": "`temppass approval list` and `temppass schedule list` tell what is the case",
    "version_moved": "somebody has changed the catalogue meanwhile: look at what holds now, then apply again",
    "new_trial": "the viewer has begun a new trial since: --replace (replace=True) overwrites it",
    "later_reset": "undo the later reset first",
    "nothing_to_undo": "`temppass explain` tells what the viewer has now, and what was done last",
    "nothing_to_grant": "`temppass explain` tells what the viewer has; is it spelled as the application sends it?",
}


def path_in(seat: Seat, path: str) -> str:
    return f"/environments/{seat.environment}{path}"


def segment(name: str) -> str:
    if not name or name in {".", ".."} or not name.isprintable():
        raise InvalidTarget("the name is empty, or none", hint="is a variable unset?")
    return quote(name, safe="")


def _viewer(target: Target, *, is_raw: bool = False) -> dict[str, str]:
    """Answer what names a viewer in a body; `is_raw` leaves a user key as it was typed. Raises InvalidTarget."""
    named = {
        name: value for name in ("device", "email", "key", "subject") if (value := getattr(target, name)) is not None
    }
    if not named or not all(isinstance(value, str) and value.strip() for value in named.values()):
        raise InvalidTarget("name a viewer: a device, a user key, or both", hint="an empty one would mean nobody")
    if ("email" in named and "key" in named) or ("subject" in named and len(named) > 1):
        raise InvalidTarget("name a viewer once: by device and one user key, or by a digest")
    if "subject" in named:
        return {"subject": _digests([named["subject"]])[0]}
    try:
        if "device" in named and len(named["device"].encode()) > IDENTITY_BYTES_MAX:
            raise InvalidTarget(f"a device id has at most {IDENTITY_BYTES_MAX} bytes")
        user = named.get("email", named.get("key"))
        hashed = canonical_user_key(user) if user is not None else None
    except InvalidIdentity as error:
        raise InvalidTarget(error.detail) from None
    except UnicodeEncodeError:
        raise InvalidTarget("an id is a text in UTF-8", hint="a byte of the command line could not be read") from None
    return named if is_raw else {**_given(device=named.get("device"), key=hashed)}


def _digests(subjects: Sequence[str]) -> list[str]:
    """Raises InvalidTarget."""
    _refuse_text(subjects=subjects)
    if not 0 < len(subjects) <= SUBJECTS_MAX:
        raise InvalidTarget(f"name 1 to {SUBJECTS_MAX:,} digests")
    if not all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in subjects):
        raise InvalidTarget("a digest has 32 hex digits", hint="`temppass explain` answers it")
    return list(subjects)


def _refuse_text(**lists: Sequence[str]) -> None:
    for name, value in lists.items():
        if isinstance(value, str):
            raise InvalidTarget(f"{name} is a list of texts")


def _integration(requestor: str, mvpd: str) -> dict[str, str]:
    if not requestor or not mvpd:
        raise InvalidTarget("name the requestor and the mvpd")
    return {"channel": requestor, "pass": mvpd}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
