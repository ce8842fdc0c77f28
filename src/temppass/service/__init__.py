"""
The use cases, one room each: plain values in, values or refusals out, one call into the store. No adapter and no HTTP
is known here.
"""

from collections.abc import Callable
from typing import NamedTuple

from temppass.core.secret import Secret
from temppass.core.world import World
from temppass.service.acts import Acts
from temppass.service.applications import Applications
from temppass.service.catalogues import Catalogues
from temppass.service.context import Context, Policy, wall_clock
from temppass.service.corrections import Corrections
from temppass.service.counters import Counters
from temppass.service.courses import Courses
from temppass.service.credentials import Credentials
from temppass.service.decisions import Decisions
from temppass.service.desk import Desk
from temppass.service.events import LOOK_S, Events
from temppass.service.explain import Explainer
from temppass.service.history import History
from temppass.service.lists import Lists
from temppass.service.narrowed import Going
from temppass.service.operators import Operators
from temppass.service.plans import Plans
from temppass.service.register import Register
from temppass.service.registrations import Near, Registrations
from temppass.service.renewal import Renewal
from temppass.service.resets import Resets
from temppass.service.schedules import Schedules
from temppass.service.sessions import Sessions
from temppass.service.signing import Signing
from temppass.service.signins import SignIns
from temppass.service.statements import Statements
from temppass.service.upkeep import PAUSE_S, Upkeep
from temppass.service.uses import Uses
from temppass.store import Store


class Service(NamedTuple):
    """Every room of one service on one store."""

    context: Context
    decisions: Decisions
    sessions: Sessions
    statements: Statements
    credentials: Credentials
    resets: Resets
    catalogues: Catalogues
    history: History
    upkeep: Upkeep
    desk: Desk
    operators: Operators
    schedules: Schedules
    counters: Counters
    explainer: Explainer
    acts: Acts
    events: Events
    corrections: Corrections
    applications: Applications
    plans: Plans
    courses: Courses
    register: Register
    renewal: Renewal
    signing: Signing
    signins: SignIns
    lists: Lists

    async def world(self, environment: str) -> World:
        """Answer the present world, for its public keys and domains."""
        return await self.context.worlds.present(environment)


def serve_from(
    store: Store,
    secret: Secret,
    policy: Policy = Policy(),  # noqa: B008 - it is frozen
    clock: Callable[[], int] = wall_clock,
    *,
    warn: Callable[[Near], None] = lambda _near: None,
    pause_s: float = PAUSE_S,
    look_s: float = LOOK_S,
) -> Service:
    """
    Build all rooms on one store; `pause_s` is how long the sweeper rests after each chunk, `look_s` how long it is
    between two looks at what those hear who listen; `warn` is told of bounds that are nearly reached.
    """
    context = Context(store, secret, policy, clock)
    history, signins, going = History(context), SignIns(context), Going()
    desk = Desk(context, signins)
    counters, register, signing = Counters(context, desk), Register(context), Signing(context, desk)
    corrections = Corrections(context, desk, counters, going)
    registrations = Registrations(context, pause_s, warn)
    decisions, uses = Decisions(context, counters), Uses(context.store)
    return Service(
        context,
        decisions,
        Sessions(context, decisions),
        Statements(context),
        Credentials(context, uses, registrations),
        Resets(context, counters),
        Catalogues(context, desk),
        history,
        Upkeep(context, history, counters, register, signing, uses, registrations, pause_s),
        desk,
        Operators(context, desk),
        Schedules(context, desk),
        counters,
        Explainer(context, desk, history),
        Acts(context, desk, history),
        Events(context, desk, history, counters, look_s),
        corrections,
        Applications(context, desk),
        Plans(context, desk, counters, going),
        Courses(context, desk, going),
        register,
        Renewal(context),
        signing,
        signins,
        Lists(context, desk, counters, corrections),
    )
