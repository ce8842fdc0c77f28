"""
Resets that come over the vendor's wire: one viewer, everybody, or everybody of one origin. Each is an act, recorded in
the transaction of what it changes, with what an undo needs.

Source: contract §5, design §3 and decisions 8.1 and 8.14.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, reset
from temppass.core.catalogue import Application, Channel, Offer, ResetAll
from temppass.core.identity import canonical_user_key, device, user_key
from temppass.core.model import ANYWHERE, Changes, Found, Subject, SubjectKind
from temppass.core.refusal import EverybodyGuarded, InvalidRequest, Refusal
from temppass.core.world import SCOPE_RESET, World
from temppass.service.context import Context, given, keys_of
from temppass.service.counters import RESET, Counters
from temppass.service.decisions import origin_of
from temppass.service.narrowed import Narrowed, go_through
from temppass.service.worlds import Plan


class Everybody(Enum):
    """The target of a reset that means all devices or all keys: a value of its own, never the absence of one."""

    #: by the word `all`
    NAMED = "all"
    #: because no target is named, which means everybody to the vendor, and here as far as the channel says so
    UNNAMED = ""


EVERYBODY = Everybody.NAMED


class ResetAsk(NamedTuple):
    """What a reset names. `target` is a device id, or the raw or hashed user key, or everybody of `kind`."""

    channel_id: str
    pass_id: str
    kind: SubjectKind
    target: bytes | str | Everybody
    #: the v1 parameters that narrow a device reset, None where absent or empty (design decision 8.1)
    app_id: str | None = None
    device_user: str | None = None


class Done(Struct, frozen=True, gc=False):
    """A reset that was done. `matched` is None where counting would need a scan."""

    id: str
    matched: int | None


class Resets:
    def __init__(self, context: Context, counters: Counters) -> None:
        self._context = context
        self._counters = counters

    async def reset(self, environment: str, token: str | None, asked: ResetAsk | Refusal) -> Done:
        """
        Make one subject, or everybody of a kind, new to a pass; idempotent, and true for the very next ask.

        Nobody is known to a basic pass by user key, so there such a reset matches nothing (contract §4.6).
        Refuses: InvalidToken, RevokedApplication, MissingScope, what reading refused, then the channel and the pass;
        for everybody as the catalogue asks, InvalidRequest and EverybodyGuarded, each as soon as it is known.
        """
        context = self._context
        now, id_ = context.clock(), self._context.act_id()

        def prepare(world: World) -> Plan[Done | Narrowed]:
            grant = context.worlds.grant(world, token, now)
            application = world.admit(grant, SCOPE_RESET, now)
            ask = given(asked)
            channel = world.channel_for(application, ask.channel_id)
            if isinstance(ask.target, Everybody):
                _check_everybody(application, channel, ask.target, ask.kind)
            offer = world.offer(channel, ask.pass_id)
            if isinstance(ask.target, Everybody):
                _check_guards(offer)
            origin = origin_of(world, ask.app_id, ask.device_user)
            subjects, actor = _subjects(world, ask), act.ByApplication(application.id, grant.client_id)
            known = ask.kind is SubjectKind.DEVICE or offer.identity_key is not None

            def recording(what: act.Act, changes: Changes) -> Changes:
                record = act.recorded(act.Record(id_, now, actor, what))
                return replace(changes, records=(*changes.records, record))

            def step(found: Found) -> tuple[Done | Narrowed, Changes]:
                channel_id, pass_id, narrowing = offer.channel_id, offer.pass_id, reset.Narrowing(origin)
                if subjects:
                    matched, changes = (
                        reset.reset_subjects(found, offer, subjects, narrowing, now, id_) if known else (0, Changes())
                    )
                    what = act.SubjectReset(
                        channel_id, pass_id, subjects, matched, origin if origin != ANYWHERE else None
                    )
                    return Done(id_, matched), recording(what, changes)
                if not known:
                    return Done(id_, 0), recording(act.EverybodyReset(channel_id, pass_id, ()), Changes())
                if origin != ANYWHERE:
                    begun = act.NarrowedReset(channel_id, pass_id, ask.kind, origin)
                    fired = reset.fire(found, offer, now)
                    changes = recording(begun, replace(fired, kept=(*fired.kept, reset.no_chunks(id_, now))))
                    return Narrowed(id_, offer, (ask.kind,), narrowing, actor), changes
                raised = reset.reset_everybody(found, offer, (ask.kind,), now, id_)
                return Done(id_, None), recording(act.EverybodyReset(channel_id, pass_id, (ask.kind,)), raised)

            return keys_of(world, offer, subjects, large=True), step

        answer = await context.worlds.ask(environment, prepare)
        ask = given(asked)
        self._counters.add(environment, ask.channel_id, ask.pass_id, now, (RESET,))
        return answer if isinstance(answer, Done) else Done(id_, await go_through(context, environment, answer))


def _check_everybody(application: Application, channel: Channel, target: Everybody, kind: SubjectKind) -> None:
    """Refuses: InvalidRequest, EverybodyGuarded."""
    name = "device_id" if kind is SubjectKind.DEVICE else "key"
    if target is Everybody.UNNAMED and channel.reset_all is ResetAll.EXPLICIT:
        raise InvalidRequest(
            f"Send {name}: on channel {channel.id!r} none, or an empty one, does not mean everybody. "
            f"If you mean everybody, send {name}=all."
        )
    if not application.reset_all:
        raise EverybodyGuarded(
            f"Application {application.id!r} may reset one viewer at a time; send {name}. "
            "Everybody is reset by an operator, through the control API."
        )


def _check_guards(offer: Offer) -> None:
    """Refuses: EverybodyGuarded."""
    guards = {"a reason": offer.reason_required, "a second person": offer.approvals > 1}
    if wanted := " and ".join(guard for guard, is_wanted in guards.items() if is_wanted):
        raise EverybodyGuarded(
            f"A reset of everybody of pass {offer.pass_id!r} takes {wanted}, for which this call has no room. "
            "An operator does it, through the control API."
        )


def _subjects(world: World, ask: ResetAsk) -> tuple[Subject, ...]:
    """Answer the one subject that a reset names, none where it means everybody. Refuses: InvalidIdentity."""
    match ask.target:
        case bytes() as device_id:
            assert ask.kind is SubjectKind.DEVICE
            return (device(device_id, world.pepper),)
        case str() as key:
            assert ask.kind is SubjectKind.USER_KEY
            return (user_key(canonical_user_key(key), world.pepper),)
        case _:
            return ()
