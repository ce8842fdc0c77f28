"""
The faces of an operator's conversations (control.py): one for threads, one for an event loop.
"""

import ssl
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

import httpx2

from temppass.client import applications, control, keys, setup
from temppass.client.answers import (
    Act,
    Approval,
    CatalogueChange,
    CatalogueShown,
    Explained,
    NewOperator,
    Only,
    Operator,
    Planned,
    Point,
    Receipt,
    Schedule,
)
from temppass.client.applications import Application, NewStatement, Registration, Statement
from temppass.client.control import ALL, ENVIRONMENT, Kinds, Target, Wanted, seat
from temppass.client.keys import KeysRotated, SigningKey
from temppass.client.place import place_at
from temppass.client.shell import ANSWER_WAIT_S, AsyncShell, Shell

_ALL = Wanted()


class Control(Shell):
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
        return self.play(control.create_operator(self._seat, *new, once=_once(once)))

    def revoke_operator(self, name: str, *, once: str | None = None) -> Receipt:
        """End an operator's token, on every server at once."""
        return self.play(control.revoke_operator(self._seat, name, once=_once(once)))

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
        return self.play(control.reset(self._seat, requestor, mvpd, target, reason=reason, once=_once(once)))

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
        return self.play(control.plan(self._seat, requestor, mvpd, everybody, only, share, once=_once(once)))

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
        return self.play(control.reset_everybody(self._seat, *whom, plan, reason, once=_once(once)))

    def approvals(self) -> list[Approval]:
        """Answer the resets that wait for a second person, the oldest first."""
        return self.play(control.approvals(self._seat))

    def approve(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """Confirm what another operator asked for, and it is done; one's own is NotPermitted."""
        return self.play(control.decide(self._seat, approval_id, approve=True, once=_once(once)))

    def decline(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """Let nothing come of what another operator, or oneself, asked for."""
        return self.play(control.decide(self._seat, approval_id, approve=False, once=_once(once)))

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
        return self.play(control.grant(self._seat, requestor, mvpd, target, *more, once=_once(once)))

    def undo(
        self, act_id: str, *, reason: str | None = None, replace: bool = False, once: str | None = None
    ) -> Receipt:
        """
        Take back a reset, also one of the vendor's wire (its `reset_id`), or a grant: within a day, and once.

        RequestRefused has the code `new_trial` where the viewer has begun another one (`replace` overwrites it),
        `later_reset` where a later reset stands, `nothing_to_undo` where nothing was matched.
        """
        return self.play(control.undo(self._seat, act_id, reason, replace=replace, once=_once(once)))

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

    def schedules(self) -> list[Schedule]:
        """Answer the recurring resets, with when they fall due."""
        return self.play(setup.schedules(self._seat))

    def pause(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """Pause a recurring reset, after what is due."""
        return self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=True, once=_once(once)))

    def resume(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """Let a recurring reset go on; what fell due meanwhile is skipped."""
        return self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=False, once=_once(once)))

    def counters(
        self,
        requestor: str | None = None,
        mvpd: str | None = None,
        *,
        since: int | None = None,
        until: int | None = None,
        step: str | None = None,
    ) -> list[Point]:
        """
        Answer how often what happened, of everything that one sees unless channel or pass are named.

        Moments are Unix milliseconds, the last hour where they are left out; `step` is written as 1m, 1h or 1d.
        """
        return self.play(setup.counters(self._seat, requestor, mvpd, since, until, step))

    def catalogue(self) -> CatalogueShown:
        """Answer the catalogue that holds."""
        return self.play(setup.catalogue(self._seat))

    def plan_catalogue(self, toml: str) -> CatalogueChange:
        """Tell what applying a catalogue would change; for an admin."""
        return self.play(setup.plan_catalogue(self._seat, toml))

    def apply_catalogue(
        self, toml: str, *, version: int, description: str | None = None, once: str | None = None
    ) -> CatalogueChange:
        """
        Make a catalogue hold in place of `version`, the one that was looked at; for an admin.

        RequestRefused has the code `version_moved` where another one holds by now.
        """
        return self.play(setup.apply_catalogue(self._seat, toml, version, description, once=_once(once)))

    def applications(self) -> list[Application]:
        """Answer the applications that speak for a channel which one may see."""
        return self.play(applications.applications(self._seat))

    def clients(self, application: str, *, statement: str | None = None) -> Iterator[Registration]:
        """
        Go through the clients of an application that may ask for tokens, the last to register first; those of one
        statement, or of `older`, where it is named.
        """
        after = ""
        while True:
            page, after = self.play(applications.clients(self._seat, application, after, statement))
            yield from page
            if not after:
                return

    def statements(self, application: str) -> list[Statement]:
        """Answer the statements of an application that were not revoked, the oldest first."""
        return self.play(applications.statements(self._seat, application))

    def mint_statement(
        self, application: str, *, ends_at: int | None = None, reason: str | None = None, once: str | None = None
    ) -> NewStatement:
        """
        Mint a software statement, which ends at a moment, in Unix milliseconds, or never, and with it all that came
        from it. Older ones stay good; this one is shown once.
        """
        new = (application, ends_at, reason)
        return self.play(applications.mint_statement(self._seat, *new, once=_once(once)))

    def revoke_statement(self, statement: str, *, once: str | None = None) -> Receipt:
        """End a statement, by its id, with the clients and tokens that came from it, on every server at once."""
        return self.play(applications.revoke_statement(self._seat, statement, once=_once(once)))

    def revoke_statements(self, application: str, *, older: bool = False, once: str | None = None) -> Receipt:
        """End all that an application was given, or only what it was given before statements were listed (`older`)."""
        return self.play(applications.revoke_statements(self._seat, application, older=older, once=_once(once)))

    def revoke_client(self, client: str, *, once: str | None = None) -> Receipt:
        """End one client, by its id, with its tokens."""
        return self.play(applications.revoke_client(self._seat, client, once=_once(once)))

    def keys(self) -> list[SigningKey]:
        """Answer the signing keys, those that sign first."""
        return self.play(keys.keys(self._seat))

    def rotate_keys(
        self, *, compromised: bool = False, reason: str | None = None, once: str | None = None
    ) -> KeysRotated:
        """Publish the next signing keys; for an admin. Compromised ones end at once, with all that they signed."""
        return self.play(keys.rotate_keys(self._seat, reason, compromised=compromised, once=_once(once)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._seat.place.name!r}, environment={self._seat.environment!r})"


class AsyncControl(AsyncShell):
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
        return await self.play(control.create_operator(self._seat, *new, once=_once(once)))

    async def revoke_operator(self, name: str, *, once: str | None = None) -> Receipt:
        """As Control.revoke_operator."""
        return await self.play(control.revoke_operator(self._seat, name, once=_once(once)))

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
        return await self.play(control.reset(self._seat, requestor, mvpd, target, reason=reason, once=_once(once)))

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
        return await self.play(control.plan(self._seat, requestor, mvpd, everybody, only, share, once=_once(once)))

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
        return await self.play(control.reset_everybody(self._seat, *whom, plan, reason, once=_once(once)))

    async def approvals(self) -> list[Approval]:
        """As Control.approvals."""
        return await self.play(control.approvals(self._seat))

    async def approve(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """As Control.approve."""
        return await self.play(control.decide(self._seat, approval_id, approve=True, once=_once(once)))

    async def decline(self, approval_id: str, *, once: str | None = None) -> Receipt:
        """As Control.decline."""
        return await self.play(control.decide(self._seat, approval_id, approve=False, once=_once(once)))

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
        return await self.play(control.grant(self._seat, requestor, mvpd, target, *more, once=_once(once)))

    async def undo(
        self, act_id: str, *, reason: str | None = None, replace: bool = False, once: str | None = None
    ) -> Receipt:
        """As Control.undo."""
        return await self.play(control.undo(self._seat, act_id, reason, replace=replace, once=_once(once)))

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

    async def schedules(self) -> list[Schedule]:
        """As Control.schedules."""
        return await self.play(setup.schedules(self._seat))

    async def pause(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """As Control.pause."""
        return await self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=True, once=_once(once)))

    async def resume(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """As Control.resume."""
        return await self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=False, once=_once(once)))

    async def counters(
        self,
        requestor: str | None = None,
        mvpd: str | None = None,
        *,
        since: int | None = None,
        until: int | None = None,
        step: str | None = None,
    ) -> list[Point]:
        """As Control.counters."""
        return await self.play(setup.counters(self._seat, requestor, mvpd, since, until, step))

    async def catalogue(self) -> CatalogueShown:
        """As Control.catalogue."""
        return await self.play(setup.catalogue(self._seat))

    async def plan_catalogue(self, toml: str) -> CatalogueChange:
        """As Control.plan_catalogue."""
        return await self.play(setup.plan_catalogue(self._seat, toml))

    async def apply_catalogue(
        self, toml: str, *, version: int, description: str | None = None, once: str | None = None
    ) -> CatalogueChange:
        """As Control.apply_catalogue."""
        return await self.play(setup.apply_catalogue(self._seat, toml, version, description, once=_once(once)))

    async def applications(self) -> list[Application]:
        """As Control.applications."""
        return await self.play(applications.applications(self._seat))

    async def clients(self, application: str, *, statement: str | None = None) -> AsyncIterator[Registration]:
        """As Control.clients, with `async for`."""
        after = ""
        while True:
            page, after = await self.play(applications.clients(self._seat, application, after, statement))
            for each in page:
                yield each
            if not after:
                return

    async def statements(self, application: str) -> list[Statement]:
        """As Control.statements."""
        return await self.play(applications.statements(self._seat, application))

    async def mint_statement(
        self, application: str, *, ends_at: int | None = None, reason: str | None = None, once: str | None = None
    ) -> NewStatement:
        """As Control.mint_statement."""
        new = (application, ends_at, reason)
        return await self.play(applications.mint_statement(self._seat, *new, once=_once(once)))

    async def revoke_statement(self, statement: str, *, once: str | None = None) -> Receipt:
        """As Control.revoke_statement."""
        return await self.play(applications.revoke_statement(self._seat, statement, once=_once(once)))

    async def revoke_statements(self, application: str, *, older: bool = False, once: str | None = None) -> Receipt:
        """As Control.revoke_statements."""
        return await self.play(applications.revoke_statements(self._seat, application, older=older, once=_once(once)))

    async def revoke_client(self, client: str, *, once: str | None = None) -> Receipt:
        """As Control.revoke_client."""
        return await self.play(applications.revoke_client(self._seat, client, once=_once(once)))

    async def keys(self) -> list[SigningKey]:
        """As Control.keys."""
        return await self.play(keys.keys(self._seat))

    async def rotate_keys(
        self, *, compromised: bool = False, reason: str | None = None, once: str | None = None
    ) -> KeysRotated:
        """As Control.rotate_keys."""
        return await self.play(keys.rotate_keys(self._seat, reason, compromised=compromised, once=_once(once)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._seat.place.name!r}, environment={self._seat.environment!r})"


def _once(once: str | None) -> str:
    """Name a call that its caller has not named."""
    return once if once is not None else str(uuid.uuid4())
