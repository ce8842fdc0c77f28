"""
`temppass reset`: one viewer, a file of viewers, or everybody.
"""

import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from temppass.client import control, flow
from temppass.client.client import Client
from temppass.client.control import Target
from temppass.client.desk import Control
from temppass.client.errors import InvalidTarget, RequestRefused, ServerFault, TempPassError, Unreachable
from temppass.client.exchange import Flow
from temppass.client.flow import ALL_DEVICES, ALL_KEYS, Everybody, ResetDone
from temppass.client.place import ENVIRONMENTS
from temppass.client.shell import Shell
from temppass.commands.planned import plan_options, planning_of, reset_planned
from temppass.commands.shared import (
    Asked,
    client_command,
    failure,
    many,
    printable,
    refuse_padding,
    say,
    show_json,
    show_table,
)
from temppass.core.identity import IDENTITY_BYTES_MAX, canonical_user_key
from temppass.core.rows import COLUMNS
from temppass.core.viewer import is_email
from temppass.failure import FAILED, PARTIAL, USAGE, Failure
from temppass.tools.bulk import DONE, FILE_BYTES_MAX, Journal, head_of, parse
from temppass.tools.bulk import FAILED as LINE_FAILED  # fmt: skip
from temppass.tools.bulk import Target as Line

#: resets a second from a file: to the vendor, and to a server of one's own
RATE_VENDOR, RATE_OWN = 1.0, 50.0
#: pauses before a line is tried again that was not answered, in seconds
RETRY_PAUSES_S = (1.0, 2.0, 4.0)
#: where the first lines are all refused, no more are tried
REFUSED_FIRST_MAX = 5
#: failed lines that a summary names
NAMED_MAX = 10


class One(NamedTuple):
    """One call: a device or a key, or everybody of a kind."""

    name: str
    target: str | Everybody


@click.command()
@click.option("--device", metavar="ID", help="One device, by its decoded id.")
@click.option("--key", metavar="HASH", help="One user key: a SHA-2 hash, or what it is the hash of.")
@click.option("--email", metavar="ADDR", help="One user key, hashed here exactly as typed.")
@click.option(
    "--subject", metavar="DIGEST", help="With an operator's profile: one viewer, by a digest that explain told."
)
@click.option("--all-devices", is_flag=True, help="Every device of the pass.")
@click.option("--all-keys", is_flag=True, help="Every user key of the pass.")
@click.option("--from", "from_", metavar="FILE", help="Devices, keys or emails, CSV or JSON lines; - reads stdin.")
@click.option("--as", "kind", type=click.Choice(["device", "key", "email"]), help="What a file without header holds.")
@click.option("--rate", type=click.FloatRange(0.01, 1000), help="Lines of a file a second; 1 to the vendor, else 50.")
@click.option("--journal", metavar="FILE", help="Where to note what was answered; else FILE.journal.")
@click.option("--resume", is_flag=True, help="Go on after a crash or Ctrl-C, by the journal.")
@click.option("--reason", metavar="TEXT", help="With an operator's profile: why, for the audit trail.")
@plan_options
@client_command()
def reset(
    *,
    asked: Asked,
    device: str | None,
    key: str | None,
    email: str | None,
    subject: str | None,
    all_devices: bool,
    all_keys: bool,
    from_: str | None,
    kind: str | None,
    rate: float | None,
    journal: str | None,
    resume: bool,
    reason: str | None,
    **planning: Any,
) -> None:
    """
    Make a viewer, a file of viewers, or everybody new to a pass.

    With the profile of an operator through the control API, device and key in one act: `temppass undo` takes it back.
    Everybody is then reset by a plan, which tells first how many that is.

    \b
    temppass reset --requestor REF --mvpd TempPassREF --device f238a1b2
    temppass reset --device f238a1b2 --email viewer@example.com     both halves of a promotional trial
    temppass reset --all-devices                                    asks for the pass's id, or --yes
    temppass reset --profile desk --all-devices --over --plan       how many; then --apply PLAN
    temppass reset --from viewers.csv --yes                         journal, progress, exit code 5 if some failed
    temppass reset --from viewers.csv --yes --resume                go on after a crash or Ctrl-C
    """
    if "" in {from_, journal}:
        raise InvalidTarget(f"{'--from' if from_ == '' else '--journal'} is empty", hint="is a variable unset?")
    if reason is not None and not asked.is_operators:
        raise click.UsageError("--reason goes with the profile of an operator.")
    if subject is not None and not asked.is_operators:
        raise click.UsageError("--subject goes with the profile of an operator.")
    singles = _singles(device, key, email, subject)
    everybody = [One("all devices", ALL_DEVICES)] * all_devices + [One("all keys", ALL_KEYS)] * all_keys
    if sum(map(bool, (singles, everybody, from_ is not None))) != 1:
        raise click.UsageError(
            "name one viewer (--device, --key, --email, --subject), or --all-devices / --all-keys, or a file (--from)."
        )
    wide = planning_of(asked, bool(everybody), **planning)
    if from_ is None:
        if stray := [name for name, value in {"--as": kind, "--rate": rate, "--journal": journal}.items() if value]:
            raise click.UsageError(f"{stray[0]} goes with --from.")
        if resume:
            raise click.UsageError("--resume goes with --from.")
        if wide is not None:
            reset_planned(asked, wide, [one.name for one in everybody], reason)
        else:
            _reset_ones(asked, _mouth(asked, reason), singles or everybody)
    else:
        _reset_file(asked, reason, from_, kind, rate, journal, resume=resume)


def _singles(device: str | None, key: str | None, email: str | None, subject: str | None) -> list[One]:
    """Raises InvalidTarget for what is empty, or a header in place of an id."""
    if any(value is not None and not value.strip() for value in (device, key, email, subject)):
        raise InvalidTarget("the target is empty, which would mean everybody", hint="is a variable unset?")
    refuse_padding(device=device, key=key, email=email)
    if email is not None and not is_email(email):
        raise InvalidTarget("--email holds no e-mail address", hint="--key hashes any text, exactly as typed")
    if device is not None and len(device.encode(errors="replace")) > IDENTITY_BYTES_MAX:
        raise InvalidTarget(f"a device id has at most {IDENTITY_BYTES_MAX} bytes")
    if key is not None and email is not None:
        raise click.UsageError("--key and --email both name a user key; give one of them.")
    singles = []
    if device is not None:
        if device.lower().startswith("fingerprint "):
            raise InvalidTarget("--device wants the decoded id, not the header", hint="`temppass id` tells it")
        singles.append(One("device", device))
    if (user := key or email) is not None:
        singles.append(One("key", user))
    if subject is not None:
        singles.append(One("subject", subject))
    if any(one.target == "all" for one in singles):
        raise InvalidTarget("'all' would mean everybody", hint="use --all-devices or --all-keys if you mean it")
    return singles


class _Application(NamedTuple):
    """Who resets over the vendor's wire: device and key are two calls."""

    asked: Asked
    party: flow.Party

    def calls(self, ones: Sequence[One]) -> list[tuple[str, Callable[[], Flow[ResetDone]]]]:
        return [(one.name, partial(self._flow, one)) for one in ones]

    def _flow(self, one: One) -> Flow[ResetDone]:
        of_devices = one.target is ALL_DEVICES or one.name == "device"
        call: Callable[..., Flow[ResetDone]] = flow.reset_device if of_devices else flow.reset_key
        return call(self.party, self.asked.requestor, self.asked.mvpd, one.target)

    def shell(self) -> Client:
        return self.asked.client(self.party)


class _Desk(NamedTuple):
    """Who resets through the control API: device and key are one act."""

    asked: Asked
    seat: control.Seat
    reason: str | None

    def calls(self, ones: Sequence[One]) -> list[tuple[str, Callable[[], Flow[ResetDone]]]]:
        """Name each call once, however often it is sent."""
        named = {one.name: one.target for one in ones}
        once = str(uuid.uuid4())
        return [(" and ".join(named), partial(self._flow, Target(**named), once))]  # type: ignore[arg-type]  # everybody is reset by a plan

    def _flow(self, target: Target, once: str) -> Flow[ResetDone]:
        asked = self.asked
        done = yield from control.reset(self.seat, asked.requestor, asked.mvpd, target, reason=self.reason, once=once)
        return ResetDone(done.id, done.matched)

    def shell(self) -> Control:
        return self.asked.control(self.seat)


def _mouth(asked: Asked, reason: str | None) -> _Application | _Desk:
    return _Desk(asked, asked.seat, reason) if asked.is_operators else _Application(asked, asked.party)


def _reset_ones(asked: Asked, mouth: _Application | _Desk, ones: list[One]) -> None:
    calls = mouth.calls(ones)
    what = f"reset {' and '.join(map(_described, ones))} of {asked.requestor} / {asked.mvpd}"
    if asked.is_only_shown(what, *[begin() for _, begin in calls]):
        return
    asked.announce(what)
    if any(isinstance(one.target, Everybody) for one in ones):
        asked.confirm(what)
    with mouth.shell() as shell:
        done = [(name, shell.play(begin())) for name, begin in calls]
    _remark(ones, [result for _, result in done])
    if asked.as_json:
        show_json([
            {"target": name, "requestor": asked.requestor, "mvpd": asked.mvpd, "reset_id": result.reset_id or None,
             "matched": result.matched}
            for name, result in done
        ])  # fmt: skip
        return
    show_table(
        ("RESET", "MATCHED", "RESET ID"),
        [(name, "-" if r.matched is None else r.matched, r.reset_id or "-") for name, r in done],
    )


def _remark(ones: list[One], results: list[ResetDone]) -> None:
    """Say what a person would want to know of a reset that went well and may still not be the one that was meant."""
    if any(result.matched == 0 for result in results):
        say("nothing matched: is it spelled as the application sends it? `temppass id` shows its forms")
    elif [one.name for one in ones] in (["device"], ["key"]):
        other = "--key or --email" if ones[0].name == "device" else "--device"
        say(f"where the pass counts by device and by user key, reset the other half too: {other}")


def _described(one: One) -> str:
    if isinstance(one.target, Everybody):
        return one.name.upper()
    return f"{one.name} {printable(canonical_user_key(one.target) if one.name == 'key' else one.target)}"


# --- a file


class _Tally(NamedTuple):
    """What became of the lines of a file; `unmatched` are those that were reset and had no trial."""

    done: int
    before: int
    failed: list[tuple[int, str]]
    unmatched: list[int]


def _reset_file(
    asked: Asked,
    reason: str | None,
    source: str,
    kind: str | None,
    rate: float | None,
    journal: str | None,
    *,
    resume: bool,
) -> None:
    if source == "-" and journal is None and not (asked.dry_run or asked.show_request):
        raise click.UsageError("lines from stdin need --journal FILE, so that they can be resumed.")
    if source == "-" and asked.chosen.statement_file == "-":
        raise click.UsageError("only one of --from and --statement-file can be read from stdin.")
    targets = parse(_read(source), "stdin" if source == "-" else source, kind)
    mouth = _mouth(asked, reason)
    devices, keys = (sum(half is not None for half in half_of) for half_of in zip(*map(_halves, targets), strict=True))
    counted = f"{many(len(targets), 'line')}: {many(devices, 'device')}, {many(keys, 'user key')}"
    what = f"reset {counted} of {asked.requestor} / {asked.mvpd}"
    path = Path(journal or f"{source}.journal")
    head = head_of(asked.place.name, asked.requestor, asked.mvpd, targets)
    if asked.dry_run and path.exists():
        with Journal(path, head, resume=resume) as kept:
            say(f"{many(len(kept.done), 'line')} of them done before, by {path}")
    shown = (begin() for target in targets for _, begin in mouth.calls(_ones(target)))
    if asked.is_only_shown(what, *shown):
        return
    rate = rate or (RATE_VENDOR if asked.place.name in ENVIRONMENTS else RATE_OWN)
    with Journal(path, head, resume=resume) as kept, mouth.shell() as shell:
        before = len(kept.done)
        asked.announce(f"{what}{f', {before:,} done before' if before else ''}")
        asked.confirm(what)
        failed: list[tuple[int, str]] = []
        unmatched: list[int] = []
        try:
            left = [target for target in targets if target.line not in kept.done]
            _work(mouth, shell, left, kept, rate, failed, unmatched)
        except BaseException as error:
            _summarize(asked, _Tally(len(kept.done) - before, before, failed, unmatched), len(targets), path)
            how = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
            say(f"{how}; go on with --resume (journal {path})")
            raise
    _summarize(asked, _Tally(len(kept.done) - before, before, failed, unmatched), len(targets), path)
    if failed:
        raise Failure(
            f"{len(failed):,} of {len(targets):,} lines were refused",
            f"mend the cause and go on with --resume (journal {path}); for another pass, name another --journal",
            PARTIAL if len(kept.done) else FAILED,
        )


def _read(source: str) -> str:
    try:
        raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if source == "-" else _content(Path(source))
        if len(raw) > FILE_BYTES_MAX:
            raise Failure(f"{source} has more than {FILE_BYTES_MAX:,} bytes", "split it", USAGE)
        return raw.decode("utf-8")
    except OSError as error:
        raise Failure(f"cannot read {source}: {error.strerror}", f"its columns are {', '.join(COLUMNS)}") from None
    except UnicodeDecodeError:
        raise Failure(f"{source} is not UTF-8", "save it as UTF-8", USAGE) from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX + 1)


def _halves(target: Line) -> tuple[str | None, str | None]:
    return target.device, target.key


def _ones(target: Line) -> list[One]:
    """The device first, as the vendor's own tool does."""
    ones = [One("device", target.device)] if target.device is not None else []
    return [*ones, One("key", target.key)] if target.key is not None else ones


def _work(
    mouth: _Application | _Desk,
    shell: Shell,
    targets: list[Line],
    journal: Journal,
    rate: float,
    failed: list[tuple[int, str]],
    unmatched: list[int],
) -> None:
    """
    Reset line after line at a steady rate, and note each answer before the next line is sent. A line that is refused
    is noted in `failed`; what would fail every line (credentials, throttling, no service) is raised.
    """
    due = time.monotonic()
    with _progress(len(targets)) as advance:
        for target in targets:
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due + 1 / rate, time.monotonic())
            try:
                results = [_answered(shell, begin) for _, begin in mouth.calls(_ones(target))]
            except (RequestRefused, InvalidTarget) as error:
                code = f"{error.status or ''} {error.code}".strip()
                journal.record(target.line, _now(), LINE_FAILED, error=code)  # the service's words may name somebody
                failed.append((target.line, f"{code}: {error}" if code else str(error)))
                if len(failed) == REFUSED_FIRST_MAX and len(journal.done) == 0:
                    problem = f"the first {len(failed)} lines were all refused: {error}"
                    raise Failure(problem, "are --requestor and --mvpd right?") from None
            except TempPassError as error:
                failure_ = failure(error)
                raise Failure(f"line {target.line}: {failure_}", failure_.hint, failure_.code) from None
            else:
                if all(result.matched == 0 for result in results):
                    unmatched.append(target.line)
                counts = [result.matched for result in results if result.matched is not None]
                ids = ",".join(result.reset_id for result in results if result.reset_id)
                journal.record(target.line, _now(), DONE, reset_id=ids, matched=sum(counts) if counts else None)
            advance()


def _answered(shell: Shell, conversation: Callable[[], Flow[ResetDone]]) -> ResetDone:
    """Play a reset; one that was not answered may be played again, because resets are idempotent."""
    for pause_s in RETRY_PAUSES_S:
        try:
            return shell.play(conversation())
        except (Unreachable, ServerFault):
            time.sleep(pause_s)
    return shell.play(conversation())


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - 100 ms that a single reset does not need
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    columns: list[Any] = ["resetting", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _summarize(asked: Asked, tally: _Tally, total: int, journal: Path) -> None:
    if asked.as_json:
        show_json({
            "lines": total, "done": tally.done, "done_before": tally.before,
            "failed": [{"line": line, "error": error} for line, error in tally.failed],
            "unmatched": tally.unmatched, "journal": str(journal),
        })  # fmt: skip
        return
    before = f", {tally.before:,} before" if tally.before else ""
    left = total - tally.done - tally.before - len(tally.failed)
    nobody = f" ({len(tally.unmatched):,} had no trial)" if tally.unmatched else ""
    refused = f"{len(tally.failed):,} refused"
    say(f"{many(total, 'line')}: {tally.done:,} reset{nobody}{before}, {refused}, {left:,} left")
    for line, error in tally.failed[:NAMED_MAX]:
        say(f"  line {line}: {error}")
    if len(tally.failed) > NAMED_MAX:
        say(f"  and {len(tally.failed) - NAMED_MAX:,} more, in {journal}")
