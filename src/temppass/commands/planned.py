"""
A reset of everybody by an operator: counted first, then done by what was counted.
"""

import shlex
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click
import msgspec

from temppass.client import control
from temppass.client.answers import Only, Planned, Receipt
from temppass.client.control import Kinds
from temppass.client.errors import InvalidTarget
from temppass.client.exchange import Flow
from temppass.commands.shared import (
    Asked,
    many,
    moment,
    moment_given,
    say,
    show_fields,
    show_json,
    show_table,
)
from temppass.failure import USAGE, Failure

#: what stands for a plan that is not made yet, where requests are only shown
_PLAN = "PLAN"

_OPTIONS = (
    click.option(
        "--plan", is_flag=True, help="Of everybody, by an operator: count what it would touch, and keep that."
    ),
    click.option("--apply", "apply_", metavar="PLAN", help="Do what was counted, once, within 15 minutes."),
    click.option("--over", is_flag=True, help="Only those whose time is over."),
    click.option("--started-before", metavar="MOMENT", help="Only those that began before (2026-01-31T20:00:00Z)."),
    click.option("--app-id", metavar="ID", help="Only those that began in this application."),
    click.option(
        "--share", type=click.FloatRange(0, 1), metavar="SHARE", help="How far the count may move meanwhile; else 0.1."
    ),
)


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a reset of everybody, for `planning_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Planning(NamedTuple):
    """How everybody is to be reset: only counted, by the plan that is named, or by one that is made now."""

    is_only_counted: bool
    plan_id: str | None
    only: Only
    #: as it was typed
    started_before: str | None
    share: float | None


def planning_of(
    asked: Asked,
    is_everybody: bool,  # noqa: FBT001 - the first that it is told
    *,
    plan: bool,
    apply_: str | None,
    over: bool,
    started_before: str | None,
    app_id: str | None,
    share: float | None,
) -> Planning | None:
    """
    Answer how everybody is to be reset, None where nobody plans: one viewer, a file, the vendor's wire. Raises
    UsageError for options that go with something else, InvalidTarget for empty ones.
    """
    options = {"--plan": plan or None, "--apply": apply_, "--over": over or None, "--started-before": started_before,
               "--app-id": app_id, "--share": share}  # fmt: skip
    given = [name for name, value in options.items() if value is not None]
    if given and not asked.is_operators:
        raise click.UsageError(f"{given[0]} goes with the profile of an operator: the vendor's wire knows no plans.")
    if given and not is_everybody:
        raise click.UsageError(f"{given[0]} goes with --all-devices or --all-keys.")
    if not (is_everybody and asked.is_operators):
        return None
    if empty := [name for name in given if options[name] == ""]:
        raise InvalidTarget(f"{empty[0]} is empty", hint="is a variable unset?")
    if plan and apply_ is not None:
        raise click.UsageError("give --plan, look, and then --apply; or neither, and be asked.")
    if share is not None and apply_ is not None:
        raise click.UsageError("--share goes with --plan: the plan keeps it.")
    only = Only(over, moment_given(started_before, "--started-before"), app_id)
    return Planning(plan, apply_, only, started_before, share)


class _Reset(NamedTuple):
    """A reset of everybody, as it was typed: `names` are all devices, all keys or both."""

    asked: Asked
    seat: control.Seat
    planning: Planning
    names: Sequence[str]
    reason: str | None

    @property
    def kinds(self) -> Kinds:
        if len(self.names) > 1:
            return "both"
        return "devices" if self.names == ["all devices"] else "keys"

    @property
    def target(self) -> str:
        return " and ".join(self.names)

    @property
    def words(self) -> str:
        only = narrowed(self.planning.only)
        return f"{self.target.upper()} of {self.asked.requestor} / {self.asked.mvpd}{f', {only}' if only else ''}"

    def plan(self) -> Flow[Planned]:
        whom = (self.asked.requestor, self.asked.mvpd, self.kinds, self.planning.only)
        return control.plan(self.seat, *whom, self.planning.share, once=str(uuid.uuid4()))

    def apply(self, plan_id: str) -> Flow[Receipt]:
        whom = (self.asked.requestor, self.asked.mvpd, self.kinds, self.planning.only)
        return control.reset_everybody(self.seat, *whom, plan_id, self.reason, once=str(uuid.uuid4()))

    def command(self, plan_id: str) -> str:
        """Answer the command that applies a plan of this."""
        only, profile = self.planning.only, self.asked.chosen.profile
        words = ["temppass", "reset", *(["--profile", profile] if profile else [])]
        words += ["--requestor", self.asked.requestor, "--mvpd", self.asked.mvpd]
        words += [f"--{name.replace(' ', '-')}" for name in self.names]
        words += ["--over"] if only.over else []
        words += ["--started-before", self.planning.started_before] if self.planning.started_before is not None else []
        words += ["--app-id", only.app_id] if only.app_id is not None else []
        words += ["--reason", self.reason] if self.reason is not None else []
        return shlex.join([*words, "--apply", plan_id])


def reset_planned(asked: Asked, planning: Planning, names: Sequence[str], reason: str | None) -> None:
    """Count what a reset of everybody would touch, show it, and do it where that is asked for."""
    reset = _Reset(asked, asked.seat, planning, list(names), reason)
    if _is_only_shown(reset):
        return
    what = f"reset {reset.words}"
    if not (planning.is_only_counted or planning.plan_id or asked.yes or sys.stdin.isatty()):
        hint = "look first with --plan, then give --apply PLAN; or add --yes if you mean it"
        raise Failure(f"{what} needs a confirmation, and there is no terminal to ask at", hint, USAGE)
    with asked.control(reset.seat) as desk:
        planned = None
        if planning.plan_id is None:
            planned = desk.play(reset.plan())
            if planning.is_only_counted:
                _show_plan(reset, planned)
                return
            say(counted(planned.running, planned.over, is_exact=planned.is_exact))
            _show_examples(planned, err=True)
        asked.announce(what)
        if planned is not None:
            asked.confirm(what)
        receipt = desk.play(reset.apply(planned.id if planned is not None else planning.plan_id or ""))
    _show_done(reset, planned, receipt)


def _is_only_shown(reset: _Reset) -> bool:
    asked, planning = reset.asked, reset.planning
    if planning.is_only_counted:
        return asked.is_only_shown(f"count what a reset of {reset.words} would touch", reset.plan())
    calls = [reset.apply(planning.plan_id)] if planning.plan_id else [reset.plan(), reset.apply(_PLAN)]
    is_shown = asked.is_only_shown(f"reset {reset.words}", *calls)
    if is_shown and len(calls) > 1:
        say(f"{_PLAN} is the id that the first answers" if asked.show_request else "--plan tells how many that is")
    return is_shown


def _show_plan(reset: _Reset, planned: Planned) -> None:
    command = reset.command(planned.id)
    if reset.asked.as_json:
        show_json({**msgspec.to_builtins(planned), "apply": command})
        return
    click.echo(counted(planned.running, planned.over, is_exact=planned.is_exact))
    _show_examples(planned)
    show_fields([("plan", planned.id), ("until", moment(planned.ends_at)), ("apply", command)])


def _show_examples(planned: Planned, *, err: bool = False) -> None:
    if planned.examples:
        rows = [(each.kind, f"{each.subject}…", moment(each.started_at), each.titles) for each in planned.examples]
        show_table(("EXAMPLE", "DIGEST", "SINCE", "TITLES"), rows, err=err)


def _show_done(reset: _Reset, planned: Planned | None, receipt: Receipt) -> None:
    asked = reset.asked
    if asked.as_json:
        show_json([
            {"target": reset.target, "requestor": asked.requestor, "mvpd": asked.mvpd,
             "reset_id": receipt.id or None, "matched": receipt.matched, "approval": receipt.approval or None,
             "undo_until": receipt.undo_until or None, "plan": planned}
        ])  # fmt: skip
    elif receipt.approval:
        show_fields([("approval", receipt.approval)])
    else:
        matched = "-" if receipt.matched is None else receipt.matched
        show_table(("RESET", "MATCHED", "RESET ID"), [(reset.target, matched, receipt.id)])
    if receipt.approval:
        who = f"another operator (role operator or admin, of channel {asked.requestor})"
        say(f"nothing is reset yet: {who} has to confirm it within an hour, with a profile of their own:")
        say(f"  temppass approval confirm {shlex.quote(receipt.approval)}")
    tell_undo(asked, receipt)


def tell_undo(asked: Asked, receipt: Receipt) -> None:
    """Say how a reset of everybody is taken back."""
    if receipt.undo_until:
        profile = ["--profile", asked.chosen.profile] if asked.chosen.profile else []
        say(f"to take it back, until {moment(receipt.undo_until)}:")
        say(f"  {shlex.join(['temppass', 'undo', receipt.id, *profile])}")


def counted(running: int, over: int, *, is_exact: bool) -> str:
    """Say in a sentence how many trials a reset would touch."""
    how = "counted" if is_exact else "estimated"
    return f"{many(running, 'trial')} run{'s' if running == 1 else ''} and {over:,} {_are(over)} over ({how})"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def narrowed(only: Only) -> str:
    """Say whom of everybody a reset means; "" for all of them."""
    parts = ["are over"] if only.over else []
    parts += [f"began before {moment(only.started_before)}"] if only.started_before is not None else []
    parts += [f"began in application {only.app_id}"] if only.app_id is not None else []
    return f"only those that {' and '.join(parts)}" if parts else ""
