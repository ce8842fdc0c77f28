"""
`temppass approval`: resets of everybody that one operator has asked for and another has to confirm.
"""

import uuid

import click

from temppass.client import control
from temppass.client.answers import Approval
from temppass.commands.desk import show_receipt
from temppass.commands.group import EXIT_CODES, Group
from temppass.commands.planned import counted, narrowed, tell_undo
from temppass.commands.shared import Asked, client_command, moment, printable, say, show_json, show_table


@click.group(cls=Group, epilog=EXIT_CODES)
def approval() -> None:
    """
    List, confirm and decline the resets of everybody that wait for a second person.

    \b
    temppass approval list --profile desk
    temppass approval confirm 01994b2e-7d10-7cc1-8a53-0b6a4a0f2f6e --profile desk
    """


@approval.command("list")
@client_command()
def list_(*, asked: Asked) -> None:
    """
    List what waits, the oldest first, of every pass that one sees.

    \b
    temppass approval list --profile desk
    """
    conversation = control.approvals(asked.seat)
    if asked.is_only_shown("list the resets that wait for a second person", conversation):
        return
    with asked.control(asked.seat) as desk:
        waiting = desk.play(conversation)
    if asked.as_json:
        show_json(waiting)
        return
    if not waiting:
        say("nothing waits for a second person")
        return
    head = ("PASS", "WHOM", "COUNTED", "ASKED BY", "UNTIL", "REASON", "APPROVAL")
    show_table(head, [(
        f"{each.requestor} / {each.mvpd}", _whom(each), _count(each), each.asked_by, moment(each.ends_at),
        each.reason or "-", each.id,
    ) for each in waiting])  # fmt: skip


@approval.command()
@click.argument("approval_id", metavar="APPROVAL")
@client_command()
def confirm(*, asked: Asked, approval_id: str) -> None:
    """
    Confirm what another operator has asked for, and it is done.

    It is counted anew before: exit code 1 where the number has moved too far, 4 where one has asked for it oneself.

    \b
    temppass approval confirm 01994b2e-7d10-7cc1-8a53-0b6a4a0f2f6e --profile desk
    """
    _decide(asked, approval_id, approve=True)


@approval.command()
@click.argument("approval_id", metavar="APPROVAL")
@client_command()
def decline(*, asked: Asked, approval_id: str) -> None:
    """
    Let nothing come of what another operator, or oneself, has asked for.

    \b
    temppass approval decline 01994b2e-7d10-7cc1-8a53-0b6a4a0f2f6e --profile desk
    """
    _decide(asked, approval_id, approve=False)


def _decide(asked: Asked, approval_id: str, *, approve: bool) -> None:
    seat, verb = asked.seat, "confirm" if approve else "decline"
    conversation = control.decide(seat, approval_id, approve=approve, once=str(uuid.uuid4()))
    if asked.is_only_shown(f"{verb} {printable(approval_id)}", conversation):
        return
    with asked.control(seat) as desk:
        meant = next((each for each in desk.play(control.approvals(seat)) if each.id == approval_id), None)
        if meant is not None:  # else the service says what is wrong
            where = f"{meant.requestor} / {meant.mvpd}"
            asked.announce(f"{verb} a reset of {_whom(meant)} of {where}, asked for by {meant.asked_by}")
            say(f"when it was planned, {_count(meant)}")
        receipt = desk.play(conversation)
    show_receipt(receipt, as_json=asked.as_json)
    tell_undo(asked, receipt)


def _whom(waiting: Approval) -> str:
    kinds = "devices and keys" if waiting.everybody == "both" else waiting.everybody
    only = narrowed(waiting.only)
    return f"all {kinds}{f', {only}' if only else ''}"


def _count(waiting: Approval) -> str:
    return counted(waiting.running, waiting.over, is_exact=waiting.is_exact)
