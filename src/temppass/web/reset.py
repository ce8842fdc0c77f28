"""
`DELETE /reset-tempass/v3/reset` and `/reset/generic`; the retired paths before them. (One `p`: the vendor's spelling.)

Source: contract §5, design decisions 8.1, 8.14 and 8.20.
"""

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.identity import IDENTITY_BYTES_MAX
from temppass.core.model import SubjectKind
from temppass.core.refusal import InvalidRequest
from temppass.core.world import SCOPE_RESET
from temppass.service import Service
from temppass.service.resets import Everybody, ResetAsk
from temppass.web.host import profile_of_host
from temppass.web.openapi import GONE, GuardedRoute, Operation
from temppass.web.problems import PLAIN, RESET, RESET_SURFACE, Endpoint, plain
from temppass.web.request import Headers, attempt, query_bytes

_SUCCESSOR = {"Link": '</reset-tempass/v3/reset>; rel="successor-version"'}
_PROFILES = ("staging", "production")
#: the v1 parameters that narrow a device reset; a generic one ignores them (design decision 8.1)
_NARROWING = {"appId", "deviceUser"}
#: so many unknown parameters a refusal names
_NAMED_MAX = 5


def _resets(name: str, description: str, *parameters: str) -> Operation:
    query = ("requestor_id", "mvpd_id", *parameters, "environment")
    headers = ("TempPass-Reset-Id", "TempPass-Matched")
    return Operation(name, description, 204, None, query, tuple(RESET), headers, scope=SCOPE_RESET)


_RESET_DEVICE = _resets(
    "reset_device",
    "Reset one device, or all of them where `device_id` is `all`, empty or absent.",
    "device_id",
    "appId",
    "deviceUser",
)
_RESET_GENERIC = _resets(
    "reset_generic", "Reset one user key, or all of them where `key` is `all`, empty or absent.", "key"
)
_RETIRED = Operation("retired", "Point to the successor of a retired path.", GONE, plain=(400, 405, GONE), faults=())


class Resetter:
    def __init__(self, service: Service) -> None:
        self._resets = service.resets

    def routes(self) -> list[GuardedRoute]:
        def route(path: str, endpoint: Endpoint, methods: list[str], operation: Operation) -> GuardedRoute:
            return GuardedRoute(RESET_SURFACE, path, endpoint, methods, operation)

        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [
            route("/reset-tempass/v3/reset", self.reset_device, ["DELETE"], _RESET_DEVICE),
            route("/reset-tempass/v3/reset/generic", self.reset_generic, ["DELETE"], _RESET_GENERIC),
            route("/reset-tempass/v1/{rest:rest}", self.retired, every, _RETIRED),
            route("/reset-tempass/v2/{rest:rest}", self.retired, every, _RETIRED),
            route("/reset-tempass/v2.1/{rest:rest}", self.retired, every, _RETIRED),
            route("/oauth2/permanent_accesstoken", self.retired, every, _RETIRED),
        ]

    async def reset_device(self, request: Request) -> Response:
        return await self._reset(request, SubjectKind.DEVICE)

    async def reset_generic(self, request: Request) -> Response:
        return await self._reset(request, SubjectKind.USER_KEY)

    async def retired(self, _request: Request) -> Response:
        return plain(410, PLAIN[410], "Use DELETE /reset-tempass/v3/reset with a bearer token.", _SUCCESSOR)

    async def _reset(self, request: Request, kind: SubjectKind) -> Response:
        token = Headers(request.scope["headers"]).token
        done = await self._resets.reset(request.scope["environment"], token, attempt(_read, request, kind))
        headers = {"TempPass-Reset-Id": done.id}
        if done.matched is not None:
            headers["TempPass-Matched"] = str(done.matched)
        return Response(status_code=204, headers=headers)


def _read(request: Request, kind: SubjectKind) -> ResetAsk:
    """
    Read the parameters of a reset. Unknown ones are ignored beside a target; without one they are refused, because one
    of them may be the target, misspelt, and no target is everybody (design decision 8.20). Refuses: InvalidRequest.
    """
    named = "device_id" if kind is SubjectKind.DEVICE else "key"
    known = {"requestor_id", "mvpd_id", "environment", named}
    if kind is SubjectKind.DEVICE:
        known |= _NARROWING
    given: dict[str, bytes] = {}
    unknown: list[str] = []
    for name, value in query_bytes(request.scope["query_string"]):
        if name in known:
            if name in given:
                raise InvalidRequest(f"Send {name} only once.")
            given[name] = value
        elif name not in _NARROWING:
            unknown.append(name)
    if unknown and not given.get(named):
        raise InvalidRequest(
            f"Send {named}: this call knows no {', '.join(repr(name[:64]) for name in unknown[:_NAMED_MAX])}. "
            f"If you mean everybody, send {named}=all."
        )
    _check_environment(request, _text(given, "environment"))
    target: bytes | str | Everybody = Everybody.NAMED if given.get(named) == b"all" else Everybody.UNNAMED
    if given.get(named, b"") not in {b"", b"all"}:
        if len(given[named]) > IDENTITY_BYTES_MAX:
            raise InvalidRequest(f"{named} has at most {IDENTITY_BYTES_MAX} bytes.")
        target = given[named] if kind is SubjectKind.DEVICE else _required(given, named)
    return ResetAsk(
        _required(given, "requestor_id"),
        _required(given, "mvpd_id"),
        kind,
        target,
        _text(given, "appId") or None,
        _text(given, "deviceUser") or None,
    )


def _required(given: dict[str, bytes], name: str) -> str:
    value = _text(given, name)
    if not value:
        raise InvalidRequest(f"Send {name}.")
    return value


def _text(given: dict[str, bytes], name: str) -> str:
    try:
        return given.get(name, b"").decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"Send {name} as percent-encoded UTF-8.") from None


def _check_environment(request: Request, value: str) -> None:
    """Hold `environment` against the host; a host that the vendor does not have serves both (design decision 8.14)."""
    profile = value.lower()
    if profile and profile not in _PROFILES:
        raise InvalidRequest("environment is staging or production.")
    implied = profile_of_host(request.scope["host"])
    if profile and implied and profile != implied:
        raise InvalidRequest(f"environment is {profile}, but this host serves {implied}.")
