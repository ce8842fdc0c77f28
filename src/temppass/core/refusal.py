"""
Every way in which a request can be wrong or not allowed. The surfaces answer the same refusal differently
(web/problems.py has one table a surface), so no HTTP status is known here.

    Refusal
    ├── InvalidRequest                  the request cannot be read
    │   ├── InvalidResources            its titles cannot
    │   ├── TooManyResources            more titles than one call may name
    │   ├── InvalidRedirect             its redirect URL cannot, or leads elsewhere
    │   ├── InvalidDeviceIdentifier     its device cannot
    │   ├── InvalidIdentity             its user key cannot
    │   ├── InvalidCode                 its authentication code cannot
    │   └── ReasonRequired              the pass asks for a reason, and there is none
    ├── InvalidStatement                not a software statement of this environment
    ├── UnapprovedStatement             the application is unknown or revoked
    ├── UnsupportedGrant                a grant other than client_credentials
    ├── InvalidClient                   unknown client, wrong secret, or revoked
    ├── UnauthorizedClient              a client that may not have this grant
    ├── InvalidToken                    no access token, or not a good one
    ├── RevokedApplication              a good token of an application that is gone
    ├── MissingScope                    the token does not carry the scope
    ├── UnknownChannel
    ├── UnassignedChannel               the application may not speak for it
    ├── EverybodyGuarded                everybody is meant, whom this call may not reset
    ├── UnknownPass
    ├── InactiveIntegration             the channel does not offer the pass
    ├── UnknownSession                  no such authentication session, or no longer
    ├── TooManySessions                 the application opens them faster than it may
    ├── TooManyRegistrations            the application registers more clients than it may
    ├── UnknownOperator                 no operator token, or one that nobody has
    ├── EndedOperator                   its time is over, or it was revoked
    ├── RoleMissing                     the operator's role may not do this
    ├── OutsideLimits                   the environment or channel is not the operator's
    ├── OwnApproval                     a second person is needed, and this is the first
    ├── NotThere                        what is named does not exist, or is not to be seen
    │   └── UnknownApplication          the catalogue has no such application
    └── Conflict                        what is asked does not fit to what is there
        ├── KeyReused                   the idempotency key came with another body before
        ├── AnsweredOnce                the answer to it told a secret, and is not given again
        ├── AlreadySo                   what is asked for is the case
        ├── TooManyIssued               as much as may be of what is asked for is there
        ├── VersionMoved                what is to be replaced is another version by now
        ├── VersionMissing              it is not said which version is to be replaced
        ├── NothingToUndo               nothing was matched, it was undone already, or its day is over
        ├── LaterReset                  a later reset of everybody stands, and has to be undone first
        ├── NewTrial                    a viewer has begun a trial since
        ├── NothingToGrant              the viewer has no trial to give anything on top of
        ├── PlanRequired                so many viewers are touched that somebody has to look first
        └── PlanOutdated                what was looked at is too old, was used, or is not so any more

A `Refusal` changes nothing and is never logged as an error.
"""


class Refusal(Exception):
    """`detail` is for the caller: what is wrong, where, what to do. `debug` is for the log only."""

    def __init__(self, detail: str, *, debug: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.debug = debug


class InvalidRequest(Refusal): ...


class InvalidResources(InvalidRequest): ...


class TooManyResources(InvalidRequest): ...


class InvalidRedirect(InvalidRequest): ...


class InvalidDeviceIdentifier(InvalidRequest): ...


class InvalidIdentity(InvalidRequest): ...


class InvalidCode(InvalidRequest): ...


class ReasonRequired(InvalidRequest): ...


class InvalidStatement(Refusal): ...


class UnapprovedStatement(Refusal): ...


class UnsupportedGrant(Refusal): ...


class InvalidClient(Refusal): ...


class UnauthorizedClient(Refusal): ...


class InvalidToken(Refusal): ...


class RevokedApplication(Refusal): ...


class MissingScope(Refusal): ...


class UnknownChannel(Refusal): ...


class UnassignedChannel(Refusal): ...


class EverybodyGuarded(Refusal): ...


class UnknownPass(Refusal): ...


class InactiveIntegration(Refusal): ...


class UnknownSession(Refusal): ...


class TooManySessions(Refusal): ...


class TooManyRegistrations(Refusal): ...


class UnknownOperator(Refusal): ...


class EndedOperator(Refusal): ...


class RoleMissing(Refusal): ...


class OutsideLimits(Refusal): ...


class NotThere(Refusal): ...


class UnknownApplication(NotThere): ...


class Conflict(Refusal): ...


class KeyReused(Conflict): ...


class AnsweredOnce(Conflict): ...


class AlreadySo(Conflict): ...


class TooManyIssued(Conflict): ...


class VersionMoved(Conflict): ...


class VersionMissing(Conflict): ...


class NothingToUndo(Conflict): ...


class LaterReset(Conflict): ...


class NewTrial(Conflict): ...


class NothingToGrant(Conflict): ...


class PlanRequired(Conflict): ...


class PlanOutdated(Conflict): ...


class OwnApproval(Refusal): ...
