"""
Another secret: everything is sealed anew under it, in one transaction, once every server that is up knows both. What
was sealed is the same as before, so nobody becomes new, and nothing that was issued ends.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from msgspec.structs import replace

from temppass.core import act
from temppass.core.catalogue import EMPTY
from temppass.core.world import HOUSE, EnvironmentRecord
from temppass.service.context import Context
from temppass.service.register import up
from temppass.store import AmendmentOfAll, Holder, Whole


class NotYet(Exception):
    """Servers are up that would not open the store any more; the message names them, `hint` says what to do."""

    hint = "stop them, or restart them with the new secret and that of before; then run this again"


class Renewed(NamedTuple):
    """What is sealed anew, or would be: the names of environments, the house among them, in their order."""

    names: tuple[str, ...]
    #: how many there are
    of: int


class Renewal:
    """The secret of the context is the new one, with that of before beside it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def look(self, holder: Holder | None) -> Renewed:
        """Answer what `renew` would do, and change nothing. Raises as that does."""
        return await self._context.store.amend_all(lambda whole: (self._renewed(whole, holder)[0], {}, None))

    async def renew(self, holder: Holder | None, actor: act.Actor) -> Renewed:
        """
        Seal everything under the present secret that is not yet. That is an act, on record in the chain of the house,
        which comes into being if there is none. `holder` has the lock of an embedded store, if anybody has.

        Raises NotYet, WrongSecret, StoreUnavailable.
        """
        now, id_ = self._context.clock(), self._context.act_id()
        pair = await self._context.new_pair()

        def change(whole: Whole) -> AmendmentOfAll[Renewed]:
            sealed, changed = self._renewed(whole, holder)
            if not changed:
                return sealed, {}, None
            if HOUSE not in whole.environments:
                changed[HOUSE] = EnvironmentRecord(1, EMPTY, {}, {}, self._context.sealed_keys(HOUSE, pair))
            done = act.SecretRotate(tuple(name for name in sealed.names if name != HOUSE))
            return sealed, changed, act.recorded(act.Record(id_, now, actor, done))

        return await self._context.store.amend_all(change)

    def _renewed(self, whole: Whole, holder: Holder | None) -> tuple[Renewed, dict[str, EnvironmentRecord]]:
        """Answer what has to change, and to what. Raises NotYet, WrongSecret."""
        secret, changed = self._context.secret, dict[str, EnvironmentRecord]()
        for name, each in sorted(whole.environments.items()):
            sealed_keys = secret.renewed(name, each.sealed_keys, secrets.token_bytes(12))
            if sealed_keys is not None:
                changed[name] = replace(each, version=each.version + 1, sealed_keys=sealed_keys)
        if changed and (behind := self._behind(whole, holder)):
            raise NotYet(", ".join(behind))
        return Renewed(tuple(changed), len(whole.environments)), changed

    def _behind(self, whole: Whole, holder: Holder | None) -> list[str]:
        """Name who would not open anything any more."""
        secret = self._context.secret
        needed, there = {*secret.fingerprints()}, up(whole.servers, self._context.clock())
        behind = [
            told.name
            for told in there
            if not needed <= {*told.fingerprints} and (secret.place is None or told.place != secret.place)
        ]
        behind += [f"{program} (of a version before)" for program in whole.older]
        if holder is not None and holder.process not in {told.process.number for told in there}:
            who = f"process {holder.process}" if holder.process is not None else "another process"
            behind.append(f"{who}, which holds the file and does not say which secrets it knows")
        return behind
