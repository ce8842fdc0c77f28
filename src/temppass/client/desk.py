"""
The faces of an operator's conversations (control.py): one for threads, one for an event loop.
"""

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence

import httpx2

from temppass.client import control
from temppass.client.answers import (
    Act,
    Approval,
    Explained,
    NewOperator,
    Only,
    Operator,
    Planned,
    Receipt,
)
from temppass.client.control import ALL, ENVIRONMENT, Kinds, Target, Wanted, seat
from temppass.client.desk_setup import AsyncSetupDesk, SetupDesk, named
from temppass.client.place import place_at
from temppass.client.shell import ANSWER_WAIT_S

_ALL = Wanted()


class Control(SetupDesk):
    """
    Act as an operator at the service whose base URL is `url`; safe to share between threads.

    `token` is the operator's (`tpo_…`), `environment` where they act. `transport`, `verify` and `timeout_s` are those
    of Client. Close it, or use it as a context manager.

    A channel is named by its `requestor` id, a pass by its `mvpd` id, a viewer by a Target. Moments are Unix
    milliseconds. A `reason` stands in the audit trail, and may name nobody.

    A call that was cut off, or is answered by 429 or 503, is sent again a few times. That is safe: whatever changes
    something is named by an idempotency key, a new one for each call, or `once`, by which a program that was ended
    itself can repeat a call within a day. Every call raises a TempPassError where there is no answer: InvalidTarget
    before anything is sent; AccessDenied where the token is unknown, revoked or over; NotPermitted where role or limits
    do not allow it; RequestRefused with a `code` for the rest of what the service refuses; Throttled, ServerFault,
    Unreadable and Unreachable.
    """

    def __init__(
        self,
        url: str,
        token: str,
        environment: str = ENVIRONMENT,
        *,
        transport: httpx2.BaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        timeout_s: float = ANSWER_WAIT_S,
    ) -> None:
        self._seat = seat(place_at(url), token, environment)
        super().__init__(transport=transport, verify=verify, timeout_s=timeout_s)

    def whoami(self) -> Operator:
        """Answer whose token it is: role, limits, and until when."""
        return self.play(control.whoami(self._seat))

    def operators(self) -> list[Operator]:
        """Answer all operators, by name, those who have ended too; for an admin of everything."""
        return self.play(control.operators(self._seat))

    def create_operator(
        self,
        name: str,
        role: str,
        *,
        environments: Sequence[str] = (),
        channels: Sequence[str] = (),
        ends_at: int | None = None,
        once: str | None = None,
    ) -> NewOperator:
        """
        Create an operator with a token, which is good for 90 days unless `ends_at` says otherwise.

        Without environments, or without channels, they act in all. Where the answer was lost, the token is: the error
        has the code `answered_once`.
        """
        new = (name, role, environments, channels, ends_at)
        return self.play(control.create_operator(self._seat, *new, once=named(once)))

    def revoke_operator(self, name: str, *, once: str | None = None) -> Receipt:
        """End an operator's token, on every server at once."""
        return self.play(control.revoke_operator(self._seat, name, once=named(once)))

    def explain(
        self, target: Target, *, requestor: str | None = None, mvpd: str | None = None, title: str | None = None
    ) -> Explained:
        """
        Say why a viewer may watch or may not: one explanation for each integration in which they have, or had, a trial,
        or for the one that is named.

        Without `title` one is meant that they have not watched. Here a device may also be the value of its header, a
        user key the value of its; both travel as they are, so that the service can warn of a spelling.
        """
        return self.play(control.explain(self._seat, target, requestor=requestor, mvpd=mvpd, title=title))

    def reset(
        self,
        requestor: str,
        mvpd: str,
        target: Target | Sequence[str],
        *,
        reason: str | None = None,
        once: str | None = None,
    ) -> Receipt:
        """
        Make a viewer new to a pass, or all of up to 1,000 digests: one act, which one undo takes back.
        """
        return self.play(control.reset(self._seat, requestor, mvpd, target, reason=reason, once=named(once)))

    def plan(
        self,
        requestor: str,
        mvpd: str,
        everybody: Kinds,
        *,
        only: Only = ALL,
        share: float | None = None,
        once: str | None = None,
    ) -> Planned:
        """
        Count, for a second at most, what a reset of everybody, or of those that `only` leaves, would touch.

        `share` is by how much of it the number may have moved when the plan is applied: a tenth where it is left out.
        """
        return self.play(control.plan(self._seat, requestor, mvpd, everybody, only, share, once=named(once)))

    def reset_everybody(
        self,
        requestor: str,
        mvpd: str,
        everybody: Kinds,
        *,
        plan: str,
        only: Only = ALL,
        reason: str | None = None,
        once: str | None = None,
    ) -> Receipt:
        """
        Do what the plan of that id has counted, once, within 15 minutes; everybody and `only` are those of the plan.

        The receipt has an `approval` where another operator has to confirm. RequestRefused has the code `plan_outdated`
        where the plan does not fit any more.
        """
        whom = (requestor, mvpd, everybody, only)
        return self.play(control.reset_everybody(self._seat, *whom, plan, reason, once=named(once)))

    def approvals(self) -> list[Approval]:
        """Answer the resets that wait for a second person, the oldest first."""
        return self.play(control.approvals(self._seat))

    def approve(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """Confirm what another operator asked for, and it is done; one's own is NotPermitted."""
        return self.play(control.decide(self._seat, approval_id, approve=True, once=named(once)))

    def decline(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """Let nothing come of what another operator, or oneself, asked for."""
        return self.play(control.decide(self._seat, approval_id, approve=False, once=named(once)))

    def grant(
        self,
        requestor: str,
        mvpd: str,
        target: Target,
        *,
        minutes: int | None = None,
        titles: int | None = None,
        reason: str | None = None,
        once: str | None = None,
    ) -> Receipt:
        """
        Give minutes or titles on top of a viewer's trial, running or over. RequestRefused has the code
        `nothing_to_grant` where there is none.
        """
        more = (minutes, titles, reason)
        return self.play(control.grant(self._seat, requestor, mvpd, target, *more, once=named(once)))

    def undo(
        self, act_id: str, *, reason: str | None = None, replace: bool = False, once: str | None = None
    ) -> Receipt:
        """
        Take back a reset, also one of the vendor's wire (its `reset_id`), or a grant: within a day, and once.

        RequestRefused has the code `new_trial` where the viewer has begun another one (`replace` overwrites it),
        `later_reset` where a later reset stands, `nothing_to_undo` where nothing was matched.
        """
        return self.play(control.undo(self._seat, act_id, reason, replace=replace, once=named(once)))

    def acts(self, wanted: Wanted = _ALL) -> Iterator[Act]:
        """Go through what was done, the newest first, page by page; all that one sees unless `wanted` says less."""
        after: int | None = None
        while True:
            page = self.play(control.acts(self._seat, wanted, after))
            yield from page.acts
            after = page.next
            if after is None:
                return

    def act(self, act_id: str) -> Act:
        """Answer one act, sealed or not."""
        return self.play(control.act(self._seat, act_id))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._seat.place.name!r}, environment={self._seat.environment!r})"


class AsyncControl(AsyncSetupDesk):
    """The same as Control, for one event loop; safe to share between its tasks."""

    def __init__(
        self,
        url: str,
        token: str,
        environment: str = ENVIRONMENT,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        timeout_s: float = ANSWER_WAIT_S,
    ) -> None:
        self._seat = seat(place_at(url), token, environment)
        super().__init__(transport=transport, verify=verify, timeout_s=timeout_s)

    async def whoami(self) -> Operator:
        """As Control.whoami."""
        return await self.play(control.whoami(self._seat))

    async def operators(self) -> list[Operator]:
        """As Control.operators."""
        return await self.play(control.operators(self._seat))

    async def create_operator(
        self,
        name: str,
        role: str,
        *,
        environments: Sequence[str] = (),
        channels: Sequence[str] = (),
        ends_at: int | None = None,
        once: str | None = None,
    ) -> NewOperator:
        """As Control.create_operator."""
        new = (name, role, environments, channels, ends_at)
        return await self.play(control.create_operator(self._seat, *new, once=named(once)))

    async def revoke_operator(self, name: str, *, once: str | None = None) -> Receipt:
        """As Control.revoke_operator."""
        return await self.play(control.revoke_operator(self._seat, name, once=named(once)))

    async def explain(
        self, target: Target, *, requestor: str | None = None, mvpd: str | None = None, title: str | None = None
    ) -> Explained:
        """As Control.explain."""
        return await self.play(control.explain(self._seat, target, requestor=requestor, mvpd=mvpd, title=title))

    async def reset(
        self,
        requestor: str,
        mvpd: str,
        target: Target | Sequence[str],
        *,
        reason: str | None = None,
        once: str | None = None,
    ) -> Receipt:
        """As Control.reset."""
        return await self.play(control.reset(self._seat, requestor, mvpd, target, reason=reason, once=named(once)))

    async def plan(
        self,
        requestor: str,
        mvpd: str,
        everybody: Kinds,
        *,
        only: Only = ALL,
        share: float | None = None,
        once: str | None = None,
    ) -> Planned:
        """As Control.plan."""
        return await self.play(control.plan(self._seat, requestor, mvpd, everybody, only, share, once=named(once)))

    async def reset_everybody(
        self,
        requestor: str,
        mvpd: str,
        everybody: Kinds,
        *,
        plan: str,
        only: Only = ALL,
        reason: str | None = None,
        once: str | None = None,
    ) -> Receipt:
        """As Control.reset_everybody."""
        whom = (requestor, mvpd, everybody, only)
        return await self.play(control.reset_everybody(self._seat, *whom, plan, reason, once=named(once)))

    async def approvals(self) -> list[Approval]:
        """As Control.approvals."""
        return await self.play(control.approvals(self._seat))

    async def approve(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """As Control.approve."""
        return await self.play(control.decide(self._seat, approval_id, approve=True, once=named(once)))

    async def decline(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """As Control.decline."""
        return await self.play(control.decide(self._seat, approval_id, approve=False, once=named(once)))

    async def grant(
        self,
        requestor: str,
        mvpd: str,
        target: Target,
        *,
        minutes: int | None = None,
        titles: int | None = None,
        reason: str | None = None,
        once: str | None = None,
    ) -> Receipt:
        """As Control.grant."""
        more = (minutes, titles, reason)
        return await self.play(control.grant(self._seat, requestor, mvpd, target, *more, once=named(once)))

    async def undo(
        self, act_id: str, *, reason: str | None = None, replace: bool = False, once: str | None = None
    ) -> Receipt:
        """As Control.undo."""
        return await self.play(control.undo(self._seat, act_id, reason, replace=replace, once=named(once)))

    async def acts(self, wanted: Wanted = _ALL) -> AsyncIterator[Act]:
        """As Control.acts, with `async for`."""
        after: int | None = None
        while True:
            page = await self.play(control.acts(self._seat, wanted, after))
            for each in page.acts:
                yield each
            after = page.next
            if after is None:
                return

    async def act(self, act_id: str) -> Act:
        """As Control.act."""
        return await self.play(control.act(self._seat, act_id))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._seat.place.name!r}, environment={self._seat.environment!r})"
