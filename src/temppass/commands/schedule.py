"""
`temppass schedule`: recurring resets, as an operator sees and stops them.
"""

import uuid
from collections.abc import Sequence

import click

from temppass.client import setup
from temppass.client.answers import Schedule
from temppass.client.errors import InvalidTarget
from temppass.commands.desk import show_receipt
from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.shared import Asked, client_command, moment, say, show_json, show_table


@click.group(cls=Group, epilog=EXIT_CODES)
def schedule() -> None:
    """
    List recurring resets, pause one, and let it go on.

    \b
    temppass schedule list --profile desk
    temppass schedule pause REF/TempPassDaily --profile desk
    temppass schedule resume REF/TempPassDaily --profile desk
    """


@schedule.command("list")
@client_command()
def list_(*, asked: Asked) -> None:
    """
    List recurring resets, of every pass that one sees: when each falls due next, and when it was done last.

    \b
    temppass schedule list --profile desk
    """
    conversation = setup.schedules(asked.seat)
    if asked.is_only_shown("list recurring resets", conversation):
        return
    with asked.control(asked.seat) as desk:
        found = desk.play(conversation)
    if asked.as_json:
        show_json(found)
        return
    if not found:
        say("no pass that you see has a recurring reset")
        return
    head = ("PASS", "CRON", "STATE", "NEXT", "ON THE WALL", "LAST")
    show_table(head, [_row(each) for each in found])


def _row(each: Schedule) -> Sequence[object]:
    state = f"paused since {moment(each.paused_at)}" if each.paused_at else "on"
    following = each.next[0] if each.next else None
    effect = f", {following.effect}" if following is not None and following.effect else ""
    wall = f"{following.local} {each.timezone}{effect}" if following is not None else each.timezone
    last = moment(each.last[0].at) if each.last else "-"
    at = moment(following.at) if following is not None else "-"
    return f"{each.requestor} / {each.mvpd}", each.cron, state, at, wall, last


@schedule.command()
@click.argument("integration", metavar="CHANNEL/PASS", required=False)
@client_command()
def pause(*, asked: Asked, integration: str | None) -> None:
    """
    Pause a recurring reset: what falls due from now on is skipped.

    CHANNEL/PASS is the pass on a channel; else --requestor and --mvpd, or those of the profile.

    \b
    temppass schedule pause REF/TempPassDaily --profile desk
    """
    _set(asked, integration, paused=True)


@schedule.command()
@click.argument("integration", metavar="CHANNEL/PASS", required=False)
@client_command()
def resume(*, asked: Asked, integration: str | None) -> None:
    """
    Let a recurring reset go on; what fell due meanwhile is not made up for.

    CHANNEL/PASS is the pass on a channel; else --requestor and --mvpd, or those of the profile.

    \b
    temppass schedule resume REF/TempPassDaily --profile desk
    """
    _set(asked, integration, paused=False)


def _set(asked: Asked, integration: str | None, *, paused: bool) -> None:
    requestor, mvpd = _integration(asked, integration)
    what = f"{'pause' if paused else 'resume'} the recurring reset of {requestor} / {mvpd}"
    seat = asked.seat
    conversation = setup.set_schedule(seat, requestor, mvpd, paused=paused, once=str(uuid.uuid4()))
    if asked.is_only_shown(what, conversation):
        return
    asked.announce(what)
    with asked.control(seat) as desk:
        show_receipt(desk.play(conversation), as_json=asked.as_json)


def _integration(asked: Asked, integration: str | None) -> tuple[str, str]:
    """Answer channel and pass. Raises InvalidTarget, and Failure where neither is named."""
    if integration is None:
        return asked.requestor, asked.mvpd
    requestor, _, mvpd = integration.partition("/")
    if not requestor or not mvpd or "/" in mvpd:
        raise InvalidTarget("name a channel and a pass with / between them, such as REF/TempPassDaily")
    return requestor, mvpd
