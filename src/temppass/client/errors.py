"""
What a client can meet that is not an answer. A denied title is an answer (`Deny`), never one of these.

    TempPassError
    ├── InvalidTarget       what was asked for would be sent to nobody or to everybody; nothing was sent
    ├── CredentialsRefused  the software statement or the client credentials are not taken
    ├── AccessDenied        no token is good enough, after one renewal and one registration (401)
    ├── NotPermitted        scope or channel are not the application's, role or limits not the operator's (403)
    ├── RequestRefused      the request is wrong (any other 4xx)
    ├── Throttled           still too many requests after waiting (429)
    ├── ServerFault         the service cannot answer (5xx)
    ├── Unreadable          a good status, but not the one that was agreed, or a body that cannot be read
    ├── Unreachable         no answer came
    ├── ProfileError        a saved profile cannot be used
    ├── BulkError           a file of targets, or its journal, cannot be used; nothing was sent
    └── VaultError          what keeps credentials and tokens cannot be read, written or held
"""


class TempPassError(Exception):
    """
    `status` is the HTTP status and `code` the wire's word, where there is one; `action` says what an application
    should do (the vendor's word, or ours); `hint` is a sentence for people.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "", action: str = "none", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.status: int | None = status
        self.code: str = code
        self.action: str = action
        self.hint: str = hint
        #: what temppass adds to the wire, headers by lower-case name; the vendor sends none
        self.told: dict[str, str] = {}


class InvalidTarget(TempPassError):
    """What was asked for would be sent to nobody or to everybody, or cannot be sent; nothing was sent."""


class CredentialsRefused(TempPassError):
    """The software statement or the client credentials are not taken; `code` is the word of RFC 6749 §5.2."""


class AccessDenied(TempPassError):
    """No token is good enough, after one renewal and one registration; or the operator's is none, or over (401)."""


class NotPermitted(TempPassError):
    """Scope or channel are not the application's, role or limits not the operator's (403)."""


class RequestRefused(TempPassError):
    """The request is wrong (any other 4xx); `code` says what about it, in the wire's word."""


class Throttled(TempPassError):
    """Still too many requests after waiting (429); the request was not done, unless the message says so."""


class ServerFault(TempPassError):
    """The service cannot answer (5xx); the request may have been applied."""


class Unreadable(TempPassError):
    """A good status, but not the one that was agreed, or a body that cannot be read: does something else answer?"""


class Unreachable(TempPassError):
    """No answer came. `maybe_applied` is False only where the request cannot have reached the service."""

    def __init__(self, message: str, *, maybe_applied: bool, hint: str = "") -> None:
        super().__init__(message, action="retry", hint=hint)
        self.maybe_applied: bool = maybe_applied


class ProfileError(TempPassError): ...


class BulkError(TempPassError): ...


class VaultError(TempPassError):
    """What keeps credentials and tokens cannot be read, written or held."""
