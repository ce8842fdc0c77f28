"""
The statement that finds records, for either database: only what is asked for stands in it, because a plan that is made
once has to go by the index of what is given.
"""

from collections.abc import Callable, Sequence

from temppass.core.act import Wanted
from temppass.core.model import Registered

#: moment and id, before those of every record
BEFORE_ALL = (0, "")
#: after whom the first page of clients is
AFTER_ALL = Registered("", 2**63 - 1)


def search(
    environment: str,
    wanted: Wanted,
    beyond: int | None,
    limit: int,
    *,
    newest_first: bool,
    mark: Callable[[int], str],
    schema: str = "",
) -> tuple[str, list[object]]:
    """
    Answer the statement and its values. `mark` is how the n-th value is named, `schema` what stands before a table.

    The arguments before are those of the port.
    """
    values: list[object] = []

    def put(given: object) -> str:
        values.append(given)
        return mark(len(values))

    def any_of(column: str, given: Sequence[object]) -> list[str]:
        return [f"{column} IN ({', '.join(put(each) for each in given)})"] if given else []

    where = [f"environment = {put(environment)}", "sequence IS NOT NULL"]
    for condition, given in (
        ("sequence < " if newest_first else "sequence > ", beyond),
        ("at >= ", wanted.since),
        ("at < ", wanted.until),
        ("pass = ", wanted.pass_id),
    ):
        if given is not None:
            where.append(condition + put(given))
    where += any_of("kind", wanted.kinds) + any_of("actor", wanted.actors) + any_of("channel", wanted.channels)
    if wanted.subjects:
        named = f"environment = {put(environment)} AND {any_of('subject', wanted.subjects)[0]}"
        where.append(f"id IN (SELECT act FROM {schema}target WHERE {named})")  # noqa: S608 - names of our own, and marks
    order = "DESC" if newest_first else "ASC"
    found = f"SELECT sequence, hash, document FROM {schema}audit WHERE {' AND '.join(where)}"  # noqa: S608 - marks alone
    return f"{found} ORDER BY sequence {order} LIMIT {put(limit)}", values
