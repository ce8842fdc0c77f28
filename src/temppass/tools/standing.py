"""
Finds out where a trial stands: new, running, over or used up, and what it holds, of each ledger apart.

temppass tells it in headers beside a profile. A wire without them tells less: a window that moves from one profile to
the next is a projection, so the trial is new, and of a trial that is over or used up nothing but that is told.

One subject is seen alone in the company of a stranger, who has no ledger: a profile joins what it finds, and begins
nothing. Source: contract §4.2, §6.4.
"""

import re
from typing import Literal
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from temppass.client.errors import InvalidTarget, RequestRefused
from temppass.client.exchange import Flow, Wait
from temppass.client.flow import Deny, Party, ProfileState, Viewer, profile_and_more

State = Literal["new", "running", "over", "used up"]

#: between two profiles that are compared, in seconds: some write their moments in seconds
_COMPARED_AFTER_S = 1.1
_STATES: dict[str, State] = {"new": "new", "running": "running", "over": "over", "used_up": "used up"}
_TRIAL = re.compile(
    r"state=(new|running|over|used_up); started_at=([0-9]{1,18}); expires_at=([0-9]{1,18})"
    r"(?:; used=([0-9]{1,9}); resources_max=([0-9]{1,9}))?"
)
_NO_IDENTITY = "invalid_header_identity_for_temporary_access"


class Standing(Struct, frozen=True):
    """
    Where a trial stands. Moments are Unix milliseconds, 0 where the service does not say; those of a new trial are what
    an authorize would begin now.
    """

    state: State
    pass_id: str
    not_before: int = 0
    not_after: int = 0
    user_id: str = ""
    #: titles left, None for a basic pass or where the service does not say
    remaining: int | None = None
    #: titles watched, as far as the service names them; None as above
    used: tuple[str, ...] | None = None
    #: how many titles were watched
    used_count: int | None = None
    #: how the profile said no, where it did
    denial: Deny | None = None

    @property
    def counts_titles(self) -> bool:
        return self.remaining is not None or self.used_count is not None


def standing(party: Party, requestor: str, mvpd: str, viewer: Viewer) -> Flow[Standing]:
    """Tell where the trial of a viewer stands; begin nothing. Raises what `flow.profile` raises."""
    shown, told = yield from profile_and_more(party, requestor, mvpd, viewer)
    found = _plain(mvpd, shown)
    if trial := _TRIAL.fullmatch(told.get("temppass-trial", "")):
        return _exact(found, trial, told.get("temppass-titles", ""))
    if found.denial is not None or found.used:
        return found
    yield Wait(_COMPARED_AFTER_S)
    shown, _ = yield from profile_and_more(party, requestor, mvpd, viewer)
    later = _plain(mvpd, shown)
    return replace(later, state="new") if later.denial is None and later.not_before > found.not_before else later


def ledgers(
    party: Party,
    requestor: str,
    mvpd: str,
    *,
    device: str | bytes | None,
    key: str | None,
    stranger: str,
    identity_key: str = "email",
    forwarded_for: str | None = None,
) -> Flow[dict[str, Standing]]:
    """
    Tell where the trial of a device, of a user key, or of both stands: `device`, `user key`, and `together` where both
    are named. A basic pass has no ledger of a key. `stranger` is an id that nobody has, new each time.

    Raises InvalidTarget where neither is named, and what `flow.profile` raises.
    """

    def of(device: str | bytes, key: str | None) -> Flow[Standing]:
        return standing(party, requestor, mvpd, Viewer(device, key, identity_key, forwarded_for))

    if device is None and key is None:
        raise InvalidTarget("name a device, a user key, or both")
    found: dict[str, Standing] = {}
    if key is not None:
        of_key = yield from of(stranger, key)
        if of_key.counts_titles or of_key.denial is not None:
            found["user key"] = of_key
    if device is not None and key is not None and found:
        found["together"] = yield from of(device, key)
        found["device"] = yield from of(device, stranger)
    elif device is not None:
        try:
            found["device"] = yield from of(device, None)
        except RequestRefused as error:
            if error.code != _NO_IDENTITY:
                raise
            found["device"] = yield from of(device, stranger)
    return {name: found[name] for name in ("together", "device", "user key") if name in found}


def _plain(mvpd: str, shown: ProfileState | Deny) -> Standing:
    """Read what every wire tells. A projection looks like a trial that runs."""
    if isinstance(shown, Deny):
        return Standing("used up" if "_resources_" in shown.code else "over", mvpd, denial=shown)
    used_count = len(shown.used) if shown.used is not None else None
    return Standing(
        "running",
        shown.pass_id,
        shown.not_before,
        shown.not_after,
        shown.user_id,
        shown.remaining,
        shown.used,
        used_count,
    )


def _exact(found: Standing, trial: re.Match[str], titles: str) -> Standing:
    state, started_at, expires_at, used, resources_max = trial.groups()
    found = replace(found, state=_STATES[state], not_before=int(started_at), not_after=int(expires_at))
    if used is None:
        return found
    named = found.used if found.used is not None else tuple(unquote(title) for title in titles.split(", ") if title)
    return replace(found, used=named, used_count=int(used), remaining=max(int(resources_max) - int(used), 0))
