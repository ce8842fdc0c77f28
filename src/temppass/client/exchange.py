"""
What conversations with a service are made of: what they ask for, what comes of it, how often a request is repeated,
and how an answer is read or refused. No I/O; whoever plays a conversation does what it asks for (shell.py).

Source: contract §9, §11; RFC 9457, RFC 9110 §10.2.3.
"""

import random
from collections.abc import Generator, Mapping
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import Struct

from temppass.client.errors import (
    AccessDenied,
    NotPermitted,
    RequestRefused,
    ServerFault,
    TempPassError,
    Throttled,
    Unreachable,
    Unreadable,
)
from temppass.client.vault import Held

T = TypeVar("T")

#: where a request is repeated: tries in all, and the least wait (contract §11 #5)
TRIES_MAX = 4
WAIT_S = 1.0
#: a server that asks for more patience than this is not waited for
WAIT_S_MAX = 30.0
#: of the service's own words, how much an error repeats
WORDS_MAX = 300
#: where a body says what is wrong: of REST v2, of OAuth (RFC 6749 §5.2), of the control API (RFC 9457 §3.1)
_MESSAGES = ("message", "error_description", "detail")


# --- what a flow asks for


class Send(Struct, frozen=True):
    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""


class Wait(Struct, frozen=True):
    seconds: float


class Recall(Struct, frozen=True): ...


class Remember(Struct, frozen=True):
    held: Held | None


class Hold(Struct, frozen=True):
    """Hold the vault until Release or the end of the flow. What comes is False where somebody else holds it."""


class Release(Struct, frozen=True): ...


class Tell(Struct, frozen=True):
    """Ask for the time, in Unix milliseconds."""


# --- what comes of it


class Answer(Struct, frozen=True):
    """`headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(Struct, frozen=True):
    """No answer came; `sent` is False where the request cannot have reached the service."""

    reason: str
    sent: bool


Effect = Send | Wait | Recall | Remember | Hold | Release | Tell
Flow = Generator[Effect, Any, T]


# --- sending


def sent(request: Send, *, otherwise: str = "", is_repeatable: bool = False) -> Flow[Answer]:
    """
    Send, and wait and send again while the answer is 429; what `is_repeatable` is also sent again after a 503, and
    where it went out and no answer came. Raises Throttled, Unreachable.

    `otherwise` says what it means for the caller's own request that this one was lost, where it is another.
    """
    is_open = False  # whether one of them may have been applied
    for attempt in range(1, TRIES_MAX + 1):
        answer = yield request
        is_last, wanted_s = attempt == TRIES_MAX, 0
        if isinstance(answer, Lost):
            is_open = is_open or answer.sent
            if is_last or not (is_repeatable and is_open):
                told = otherwise or ("it may have been applied" if is_open else "nothing was sent")
                maybe_applied = is_open and not otherwise
                raise Unreachable(f"{_host(request)}: {answer.reason}; {told}", maybe_applied=maybe_applied)
        elif answer.status == 429 or (answer.status == 503 and is_repeatable):
            wanted_s = min(number_of(answer.headers.get("retry-after")), 10**6)
            if is_last or wanted_s > WAIT_S_MAX:
                if answer.status == 503:
                    return answer  # type: ignore[no-any-return]  # what a shell sends for a Send
                told = f"{_host(request)} still answers 429{'; it may have been applied' if is_open else ''}"
                raise Throttled(told, status=429, action="retry", hint="ask less often")
        else:
            return answer  # type: ignore[no-any-return]  # as above
        pause_s = max(wanted_s, WAIT_S * 2 ** (attempt - 1))
        yield Wait(pause_s * random.uniform(1, 1.25))  # noqa: S311 - spreads the load, keeps no secret
    raise AssertionError("the last try answers or raises")


# --- reading answers


def is_good(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def object_of(answer: Answer) -> dict[str, Any]:
    fields = read(answer)
    if fields is None:
        raise Unreadable("the body is not a JSON object", status=answer.status)
    return fields


def read(answer: Answer) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def code_of(answer: Answer) -> str:
    fields = read(answer) or {}
    code = fields.get("code") or fields.get("error")
    return code if isinstance(code, str) else ""


def refuse(answer: Answer, secrets: tuple[str, ...], hints: Mapping[str, str]) -> NoReturn:
    """Raise what an answer that is not good means, in the service's words; `hints` by code."""
    fields = read(answer) or {}
    code = words(code_of(answer), secrets)
    message = next((fields[name] for name in _MESSAGES if fields.get(name)), f"the service answered {answer.status}")
    kind: type[TempPassError]
    match answer.status:
        case 401:
            kind = AccessDenied
        case 403 if not code.startswith("temporary_access_") and code != "too_many_resources":
            kind = NotPermitted
        case status if status >= 500:
            kind = ServerFault
        case _:
            kind = RequestRefused
    action = words(fields.get("action") or ("retry" if answer.status >= 500 else "none"), secrets)
    error = kind(words(message, secrets), status=answer.status, code=code, action=action, hint=hints.get(code, ""))
    error.told = told_by(answer, secrets)
    raise error


def told_by(answer: Answer, secrets: tuple[str, ...] = ()) -> dict[str, str]:
    """Answer what temppass adds to the wire: the headers whose name says so."""
    told = {name: value for name, value in answer.headers.items() if name.startswith("temppass-")}
    return {name: value for name, value in told.items() if not any(secret in value for secret in filter(None, secrets))}


def words(said: object, secrets: tuple[str, ...] = (), *, most: int = WORDS_MAX) -> str:
    """Repeat `most` characters of what a service said: nothing that steers a terminal, and no secret of ours."""
    text = str(said)[:65_536]
    for secret in filter(None, secrets):
        text = text.replace(secret, "(secret)")
    text = "".join(character if character.isprintable() else " " for character in text[: most + 1])
    return text if len(text) <= most else f"{text[:most]}…"


def dict_of(value: Any) -> dict[str, Any]:
    """Take an object of foreign JSON; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def number_of(value: Any) -> int:
    """Read a number or a numeric text; 0 for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _host(request: Send) -> str:
    return request.url.partition("//")[2].partition("/")[0]
