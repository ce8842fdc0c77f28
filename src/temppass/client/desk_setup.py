"""
The part of an operator's faces (desk.py) that is about what is set up and issued: recurring resets, counters,
catalogue, applications with their statements and clients, signing keys.
"""

import uuid
from collections.abc import AsyncIterator, Iterator

from temppass.client import applications, keys, setup
from temppass.client.answers import CatalogueChange, CatalogueShown, Point, Receipt, Schedule
from temppass.client.applications import Application, NewStatement, Registration, Statement
from temppass.client.control import Seat
from temppass.client.keys import KeysRotated, SigningKey
from temppass.client.shell import AsyncShell, Shell


def named(once: str | None) -> str:
    """Name a call that its caller has not named."""
    return once if once is not None else str(uuid.uuid4())


class SetupDesk(Shell):
    """For threads; `Control` has the rest."""

    _seat: Seat

    def schedules(self) -> list[Schedule]:
        """Answer the recurring resets, with when they fall due."""
        return self.play(setup.schedules(self._seat))

    def pause(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """Pause a recurring reset, after what is due."""
        return self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=True, once=named(once)))

    def resume(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """Let a recurring reset go on; what fell due meanwhile is skipped."""
        return self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=False, once=named(once)))

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
        return self.play(setup.apply_catalogue(self._seat, toml, version, description, once=named(once)))

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
        return self.play(applications.mint_statement(self._seat, *new, once=named(once)))

    def revoke_statement(self, statement: str, *, once: str | None = None) -> Receipt:
        """End a statement, by its id, with the clients and tokens that came from it, on every server at once."""
        return self.play(applications.revoke_statement(self._seat, statement, once=named(once)))

    def revoke_statements(self, application: str, *, older: bool = False, once: str | None = None) -> Receipt:
        """End all that an application was given, or only what it was given before statements were listed (`older`)."""
        return self.play(applications.revoke_statements(self._seat, application, older=older, once=named(once)))

    def revoke_client(self, client: str, *, once: str | None = None) -> Receipt:
        """End one client, by its id, with its tokens."""
        return self.play(applications.revoke_client(self._seat, client, once=named(once)))

    def keys(self) -> list[SigningKey]:
        """Answer the signing keys, those that sign first."""
        return self.play(keys.keys(self._seat))

    def rotate_keys(
        self, *, compromised: bool = False, reason: str | None = None, once: str | None = None
    ) -> KeysRotated:
        """Publish the next signing keys; for an admin. Compromised ones end at once, with all that they signed."""
        return self.play(keys.rotate_keys(self._seat, reason, compromised=compromised, once=named(once)))


class AsyncSetupDesk(AsyncShell):
    """For an event loop, as SetupDesk; what a call means stands there."""

    _seat: Seat

    async def schedules(self) -> list[Schedule]:
        """As Control.schedules."""
        return await self.play(setup.schedules(self._seat))

    async def pause(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """As Control.pause."""
        return await self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=True, once=named(once)))

    async def resume(self, requestor: str, mvpd: str, *, once: str | None = None) -> Receipt:
        """As Control.resume."""
        return await self.play(setup.set_schedule(self._seat, requestor, mvpd, paused=False, once=named(once)))

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
        return await self.play(setup.apply_catalogue(self._seat, toml, version, description, once=named(once)))

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
        return await self.play(applications.mint_statement(self._seat, *new, once=named(once)))

    async def revoke_statement(self, statement: str, *, once: str | None = None) -> Receipt:
        """As Control.revoke_statement."""
        return await self.play(applications.revoke_statement(self._seat, statement, once=named(once)))

    async def revoke_statements(self, application: str, *, older: bool = False, once: str | None = None) -> Receipt:
        """As Control.revoke_statements."""
        return await self.play(applications.revoke_statements(self._seat, application, older=older, once=named(once)))

    async def revoke_client(self, client: str, *, once: str | None = None) -> Receipt:
        """As Control.revoke_client."""
        return await self.play(applications.revoke_client(self._seat, client, once=named(once)))

    async def keys(self) -> list[SigningKey]:
        """As Control.keys."""
        return await self.play(keys.keys(self._seat))

    async def rotate_keys(
        self, *, compromised: bool = False, reason: str | None = None, once: str | None = None
    ) -> KeysRotated:
        """As Control.rotate_keys."""
        return await self.play(keys.rotate_keys(self._seat, reason, compromised=compromised, once=named(once)))
