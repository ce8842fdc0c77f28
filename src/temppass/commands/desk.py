"""
What an operator does from a terminal, through the control API: `explain`, `undo`, `grant` and `acts`. Each needs the
profile of an operator (`temppass login --operator`).
"""

import csv
import itertools
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NoReturn

import click
import msgspec

from temppass.client import control
from temppass.client.answers import Act, Explanation, LedgerState, Receipt
from temppass.client.control import Target, Wanted
from temppass.client.desk import Control
from temppass.client.errors import InvalidTarget
from temppass.client.exchange import Flow
from temppass.commands.shared import (
    Asked,
    client_command,
    many,
    moment,
    moment_given,
    printable,
    say,
    show_fields,
    show_json,
    show_table,
    target_of,
    target_options,
)
from temppass.failure import USAGE, Failure

#: acts of before that --follow shows, and how often it looks for new ones, in seconds
FOLLOWED_MAX = 10
FOLLOW_PAUSE_S = 1.0
#: what makes a cell a formula, to a spreadsheet
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@click.command()
@target_options
@click.option("--title", metavar="TITLE", help="The title that is asked for; else one that was never watched.")
@client_command()
def explain(*, asked: Asked, title: str | None, **viewer: str | None) -> None:
    """
    Say why a viewer may watch or may not, in a sentence to read out.

    Then what it rests on: the ledgers, and what was done last. Where no pass is named, every one in which the viewer
    has a trial. Changes nothing.

    \b
    temppass explain --profile desk --email viewer@example.com
    temppass explain --profile desk --device f238a1b2 --title FILM-1 --json
    """
    target, seat, chosen = _named(viewer), asked.seat, asked.chosen
    conversation = control.explain(seat, target, requestor=chosen.requestor, mvpd=chosen.mvpd, title=title)
    where = " / ".join(filter(None, (chosen.requestor, chosen.mvpd))) or "every pass"
    if asked.is_only_shown(f"explain one viewer of {where}", conversation):
        return
    with asked.control(seat) as desk:
        found = desk.play(conversation)
    if asked.as_json:
        show_json(found)
        return
    if not found.explanations:
        click.echo(printable(found.because))
    for number, explanation in enumerate(found.explanations):
        if number:
            click.echo()
        _show_explanation(explanation, is_one=len(found.explanations) == 1)
    for warning in dict.fromkeys([*found.warnings, *(said for each in found.explanations for said in each.warnings)]):
        say(f"warning: {warning}")


def _show_explanation(explanation: Explanation, *, is_one: bool) -> None:
    click.echo(printable(explanation.because if is_one else f"{explanation.mvpd}: {explanation.because}"))
    show_fields([
        ("pass", f"{explanation.requestor} / {explanation.mvpd}"),
        ("next", "permit" if explanation.authorized else f"deny, {explanation.code}"),
    ])  # fmt: skip
    ledgers = [
        *explanation.subjects,
        *([explanation.joined] if explanation.joined and explanation.subjects[1:] else []),
    ]
    if ledgers:
        show_table(("LEDGER", "STATE", "FROM", "UNTIL", "TITLES", "DIGEST"), [_ledger_row(each) for each in ledgers])
    if explanation.acts:
        show_table(_ACT_HEAD, [_act_row(each) for each in explanation.acts])


def _ledger_row(ledger: LedgerState) -> Sequence[object]:
    titles = str(len(ledger.titles)) if ledger.titles_max is None else f"{len(ledger.titles)} of {ledger.titles_max}"
    return (
        ledger.kind or "together", ledger.state.replace("_", " "), moment(ledger.started_at), moment(ledger.expires_at),
        titles, ledger.subject or "-",
    )  # fmt: skip


@click.command()
@click.argument("act")
@click.option("--reason", metavar="TEXT", help="Why, for the audit trail; it may name nobody.")
@click.option("--replace", is_flag=True, help="Also where the viewer has begun a new trial, which is lost then.")
@client_command()
def undo(*, asked: Asked, act: str, reason: str | None, replace: bool) -> None:
    """
    Take back a reset or a grant, within a day.

    ACT is the id that the reset or grant told, also one of the vendor's wire. Exit code 1 where it cannot be undone.

    \b
    temppass undo 5dc0ec46-006b-45a1-9b76-ddcc0eb95296 --profile desk --reason "wrong viewer"
    """
    seat = asked.seat
    conversation = control.undo(seat, act, reason, replace=replace, once=_once())
    _do(asked, f"undo {printable(act)}", conversation)


@click.command()
@target_options
@click.option("--minutes", type=click.IntRange(min=1), metavar="N", help="So many minutes more.")
@click.option("--titles", type=click.IntRange(min=1), metavar="N", help="So many titles more.")
@click.option("--reason", metavar="TEXT", help="Why, for the audit trail; it may name nobody.")
@client_command()
def grant(*, asked: Asked, minutes: int | None, titles: int | None, reason: str | None, **viewer: str | None) -> None:
    """
    Give a viewer minutes or titles on top of a trial.

    A trial that is over goes on from now. Exit code 1 where the viewer has none.

    \b
    temppass grant --profile desk --device f238a1b2 --minutes 15 --reason "the stream broke off"
    """
    if (minutes is None) == (titles is None):
        raise click.UsageError("Give either --minutes or --titles.")
    target, seat = _named(viewer), asked.seat
    more = many(minutes, "minute") if minutes is not None else many(titles or 0, "title")
    conversation = control.grant(seat, asked.requestor, asked.mvpd, target, minutes, titles, reason, once=_once())
    _do(asked, f"grant one viewer of {asked.requestor} / {asked.mvpd} {more}", conversation)


def _do(asked: Asked, what: str, conversation: Flow[Receipt]) -> None:
    if asked.is_only_shown(what, conversation):
        return
    asked.announce(what)
    with asked.control(asked.seat) as desk:
        show_receipt(desk.play(conversation), as_json=asked.as_json)


def show_receipt(receipt: Receipt, *, as_json: bool) -> None:
    if as_json:
        show_json(receipt)
        return
    show_fields([
        ("act", receipt.id or None),
        ("matched", receipt.matched),
        ("undo until", moment(receipt.undo_until) if receipt.undo_until else None),
        ("approval", receipt.approval or None),
    ])  # fmt: skip
    if receipt.approval:
        say("nothing is done yet: another operator has to confirm it within an hour")


@click.command()
@target_options
@click.option("--since", metavar="MOMENT", help="From then on (2026-01-31T20:00:00Z, or Unix time).")
@click.option("--until", metavar="MOMENT", help="Before then.")
@click.option("--actor", metavar="KIND:NAME", help="Only of this one, such as operator:anna or shell:root.")
@click.option("--kind", metavar="KIND", help="Only such acts: reset, reset.everybody, grant, undo, catalogue.apply …")
@click.option("--csv", "as_csv", is_flag=True, help="All of them as CSV on stdout.")
@click.option("--follow", is_flag=True, help="The last ten, and then each as it is done, until Ctrl-C.")
@client_command()
def acts(
    *,
    asked: Asked,
    since: str | None,
    until: str | None,
    actor: str | None,
    kind: str | None,
    as_csv: bool,
    follow: bool,
    **viewer: str | None,
) -> None:
    """
    List who did what, when and why, the newest first.

    Shows the last hundred, and all with --csv or --json.

    \b
    temppass acts --profile desk --since 2026-11-21T00:00:00Z
    temppass acts --profile desk --email viewer@example.com
    temppass acts --profile desk --actor operator:anna --csv > anna.csv
    """
    if as_csv + asked.as_json + follow > 1:
        raise click.UsageError("Give one of --csv, --json and --follow.")
    if empty := [name for name, value in (("--actor", actor), ("--kind", kind)) if value == ""]:
        raise InvalidTarget(f"{empty[0]} is empty", hint="is a variable unset?")
    begins, ends = moment_given(since, "--since"), moment_given(until, "--until")
    target = _named(viewer) if any(value is not None for value in viewer.values()) else Target()
    wanted = Wanted(begins, ends, actor, kind, asked.chosen.requestor, asked.chosen.mvpd, target)
    seat = asked.seat
    where = " / ".join(filter(None, (wanted.requestor, wanted.mvpd))) or "every pass, and of none"
    if asked.is_only_shown(f"list the acts of {where}", control.acts(seat, wanted)):
        return
    with asked.control(seat) as desk:
        if follow:
            _follow(desk, wanted)
        if as_csv:
            _write_csv(desk.acts(wanted))
        elif asked.as_json:
            show_json(list(desk.acts(wanted)))
        else:
            page = desk.play(control.acts(seat, wanted))
            show_table(_ACT_HEAD, [_act_row(each) for each in page.acts])
            if page.next is not None:  # a second later than the last, because moments are written in seconds
                say(f"there are more before these: --until {moment(page.acts[-1].at + 1_000)}, or --csv for all")
            elif page.kept_since:
                say(f"what was done up to {moment(page.kept_since)} is kept no more")


_ACT_HEAD = ("AT", "WHAT", "WHO", "PASS", "MATCHED", "REASON", "ACT")


def _act_row(act: Act) -> Sequence[object]:
    where = " / ".join(filter(None, (act.requestor, act.mvpd)))
    matched = "-" if act.matched is None else act.matched
    return moment(act.at), act.kind, act.actor, where or "-", matched, act.reason or "-", act.id


def _follow(desk: Control, wanted: Wanted) -> NoReturn:
    """Print acts in the order in which they were done, a line each between tabs."""
    seen: int | None = None
    while True:
        newest = desk.acts(wanted)
        if seen is None:
            new = list(itertools.islice(newest, FOLLOWED_MAX))
        else:
            new = list(itertools.takewhile(partial(_is_after, seen), newest))
        for act in reversed(new):
            click.echo("\t".join(printable(str(cell)) for cell in _act_row(act)))
        seen = max([seen or 0, *(act.sequence or 0 for act in new)])
        time.sleep(FOLLOW_PAUSE_S)


def _is_after(sequence: int, act: Act) -> bool:
    return (act.sequence or 0) > sequence


def _write_csv(found: Iterable[Act]) -> None:
    head = ("id", "sequence", "at", "kind", "actor", "reason", "channel", "pass", "matched", "more")
    rows, found = csv.writer(sys.stdout), iter(found)
    first = list(itertools.islice(found, 1))  # before anything is written: it may be refused
    rows.writerow(head)
    for act in itertools.chain(first, found):
        cells = (act.id, act.sequence, moment(act.at), act.kind, act.actor, act.reason, act.requestor, act.mvpd)
        more = msgspec.json.encode(act.more).decode() if act.more else ""
        rows.writerow([_cell(cell) for cell in (*cells, act.matched, more)])


def _cell(value: object) -> str:
    """Write a cell so that no spreadsheet takes it for a formula."""
    text = "" if value is None else printable(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _named(viewer: Mapping[str, str | None]) -> Target:
    target = target_of(**viewer)
    if target == Target():
        raise Failure("no viewer is named", "give --device, --email, --key or --subject", USAGE)
    return target


def _once() -> str:
    return str(uuid.uuid4())
