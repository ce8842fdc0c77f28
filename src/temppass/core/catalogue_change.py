"""
What of a change of catalogue is grave: what ends for somebody, who has to send something else, who is new again, and
which guard is lifted. Everything else can be changed back without anybody noticing.

Source: docs/reference.md (catalogue file), design decision 8.24 (an application that leaves).
"""

from collections.abc import Iterator

from temppass.core.catalogue import Application, Catalogue, Channel, Pass, ResetAll


def grave(old: Catalogue, new: Catalogue) -> list[str]:
    """Tell, a sentence each, what is grave of applying `new` over `old`; nothing where nothing is."""
    return [
        *_of_channels(old, new),
        *(line for id_, was in old.passes.items() for line in _of_pass(was, new.passes.get(id_))),
        *(line for id_, was in old.applications.items() for line in _of_application(was, new.applications.get(id_))),
    ]


def _of_channels(old: Catalogue, new: Catalogue) -> Iterator[str]:
    for id_, was in old.channels.items():
        is_ = new.channels.get(id_)
        if is_ is None:
            yield f"Channel {id_} goes: whoever asks for it is refused."
        else:
            yield from _of_channel(was, is_)


def _of_channel(was: Channel, is_: Channel) -> Iterator[str]:
    if was.reset_all is ResetAll.EXPLICIT and is_.reset_all is ResetAll.IMPLICIT:
        yield f"Channel {was.id}: a reset over the wire that names nobody means everybody again."
    for domain in was.domains:
        if domain not in is_.domains:
            yield f"Channel {was.id}: its pages on {domain} are not answered any more."


def _of_pass(was: Pass, is_: Pass | None) -> Iterator[str]:
    if is_ is None:
        yield f"Pass {was.id} goes: nobody is permitted by it any more."
        return
    for channel_id, enabled in was.channels.items():
        if enabled and not is_.channels.get(channel_id, False):
            yield f"Pass {was.id} is not offered on {channel_id} any more."
    if was.usable and not is_.usable:
        yield f"Pass {was.id} cannot be used any more: nobody is permitted by it."
    yield from _of_kind(was, is_)
    if is_.resets is not None and is_.resets != was.resets:
        yield f"Pass {was.id}: everybody is new again, each time at {is_.resets!r}."
    if is_.retention_ms is not None and (was.retention_ms is None or is_.retention_ms < was.retention_ms):
        yield f"Pass {was.id}: trials are forgotten sooner, and their viewers are new again."
    if was.reason_required and not is_.reason_required:
        yield f"Pass {was.id} asks for no reason any more."
    if is_.approvals < was.approvals:
        yield f"Pass {was.id}: one person alone can reset everybody."


def _of_kind(was: Pass, is_: Pass) -> Iterator[str]:
    if was.identity_key == is_.identity_key:
        return
    if is_.identity_key is None:
        yield f"Pass {was.id} becomes basic: its titles are not counted any more, and viewers go by their device alone."
    else:
        yield f"Pass {was.id} knows users by {is_.identity_key!r}: applications that do not send it are refused."


def _of_application(was: Application, is_: Application | None) -> Iterator[str]:
    if is_ is None:
        yield f"Application {was.id} goes: its statements, clients and tokens end at once, also if it returns."
        return
    if is_.channels is not None:
        gone = [each for each in was.channels if each not in is_.channels] if was.channels is not None else None
        if gone is None:
            yield f"Application {was.id} speaks for {', '.join(is_.channels) or 'no channel'} instead of for all."
        elif gone:
            yield f"Application {was.id} does not speak for {', '.join(gone)} any more."
    if lost := [each for each in was.scopes if each not in is_.scopes]:
        yield f"Application {was.id} loses {', '.join(lost)}."
    for domain in was.domains:
        if domain not in is_.domains:
            yield f"Application {was.id}: its pages on {domain} are not answered any more."
    if is_.reset_all and not was.reset_all:
        yield f"Application {was.id} may reset everybody."
