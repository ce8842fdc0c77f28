"""
Explanations as JSON: the question in a body, and what is answered to it. Identities are in bodies alone.
"""

from msgspec import UNSET, UnsetType

from temppass import wire_control
from temppass.core.catalogue import RESOURCE_BYTES_MAX
from temppass.core.explain import Help, Part, State
from temppass.core.model import Standing, TrialState
from temppass.core.refusal import InvalidRequest
from temppass.core.viewer import WORDS, Named
from temppass.service.explain import Explanation, Explanations, Question, Touched


def question_of(body: wire_control.ExplainBody) -> Question:
    """Refuses: InvalidRequest."""
    title = _given(body.title)
    if title is not None and not 0 < len(title.encode(errors="replace")) <= RESOURCE_BYTES_MAX:
        raise InvalidRequest(f"A title is a text of 1 to {RESOURCE_BYTES_MAX} bytes of UTF-8.")
    for name, value in (("channel", body.channel), ("pass", body.pass_)):
        if value == "":
            raise InvalidRequest(f"The {name} is empty; leave it out, or say which you mean.")
        if value is not UNSET and "\0" in value:
            raise InvalidRequest("No name has a character of value 0.")
    named = Named(_given(body.device), _given(body.email), _given(body.key), _given(body.subject))
    return Question(named, _given(body.channel), _given(body.pass_), title)


def explanations_shape(found: Explanations) -> wire_control.Explanations:
    return wire_control.Explanations(
        found.because, [explanation_shape(each) for each in found.explanations], found.warnings
    )


def explanation_shape(explanation: Explanation) -> wire_control.Explanation:
    explained = explanation.explained
    return wire_control.Explanation(
        explanation.channel_id,
        explanation.pass_id,
        explained.because,
        wire_control.NextShape(explained.authorized, explained.code.value if explained.code is not None else None),
        [_subject(part) for part in explained.parts],
        _joined(explained.joined) if explained.joined is not None else None,
        [_help(each) for each in explained.helps],
        [_touch(each) for each in explanation.acts],
        explanation.warnings,
    )


def _subject(part: Part) -> wire_control.SubjectShape:
    ledger = part.ledger
    return wire_control.SubjectShape(
        WORDS[part.subject.kind],
        part.subject.digest.hex(),
        part.state,
        wire_control.moment(ledger.started_at) if ledger is not None else None,
        wire_control.moment(ledger.expires_at) if ledger is not None else None,
        ledger.used if ledger is not None else (),
        part.titles_max,
        ledger.bonus if ledger is not None and part.state is not State.RESET else 0,
    )


def _joined(standing: Standing) -> wire_control.JoinedShape:
    begun = standing.state is not TrialState.NEW
    return wire_control.JoinedShape(
        standing.state,
        wire_control.moment(standing.started_at) if begun else None,
        wire_control.moment(standing.expires_at) if begun else None,
        standing.used,
        standing.resources_max,
    )


def _help(each: Help) -> wire_control.HelpShape:
    subjects = tuple(subject.digest.hex() for subject in each.subjects)
    return wire_control.HelpShape(each.act, subjects, each.minutes, each.titles)


def _touch(touched: Touched) -> wire_control.ActShape:
    record = touched.record
    channel_id, pass_id = touched.place
    return wire_control.ActShape(
        record.id,
        touched.sequence,
        wire_control.moment(record.at),
        touched.kind,
        wire_control.actor_shape(record.actor),
        record.reason,
        channel_id,
        pass_id,
        getattr(record.act, "matched", None),
    )


def _given(text: str | UnsetType) -> str | None:
    return None if text is UNSET else text
