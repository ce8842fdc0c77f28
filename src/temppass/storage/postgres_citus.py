"""
Putting the ledgers of a database into several slots, and slots onto the nodes of a Citus cluster. Nobody serves
meanwhile; it is done in one transaction, so that it is done or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from temppass.storage import postgres_sql as sql
from temppass.store import NotDistributed

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]

SLOTS_MAX = 256
#: tables of a slot, the first of which the others are kept beside
_TABLES = ("temppass.ledgers", "temppass.edition", "temppass.standing")


async def spread(connection: _Connection, keys: Sequence[int]) -> None:
    """
    Put the ledgers into slots of these keys, each of which learns what it has to know. Raises NotDistributed where
    programs of ours are connected, because each looks for ledgers in the slots that it knows.
    """
    await connection.execute(sql.CLOSE_DATABASE)
    _refuse_programs([row["program"] for row in await connection.fetch(sql.OTHER_PROGRAMS)])
    await connection.execute(sql.CLEAR_SLOTS)
    await connection.execute(sql.ADD_SLOTS, keys)
    await connection.execute(sql.MOVE_LEDGERS, keys)
    await connection.execute(sql.INTRODUCE_ALL, keys)
    await connection.execute(sql.CLOSE_SLOTS)


def _refuse_programs(names: Sequence[str]) -> None:
    if names:
        told = ", ".join(sorted({*names}))
        raise NotDistributed(f"servers are connected ({told}): stop them, and run this again")


async def distribute(connection: _Connection, slots: int | None) -> list[str]:
    """As the port's."""
    workers = await _ground(connection)
    said = [f"{len(workers)} workers: {', '.join(workers)}"]
    present = [tuple(row) for row in await connection.fetch(sql.SLOTS)]
    is_distributed = bool(await connection.fetchval(sql.IS_DISTRIBUTED))
    if is_distributed and len(present) == (slots or len(present)):
        said.append(f"{len(present)} slots already, nothing to do")
    else:
        async with connection.transaction():
            moved = await _distribute(connection, slots or len(workers), is_distributed=is_distributed)
        said.append(f"{moved} ledgers are in {slots or len(workers)} slots now")
    for table in _TABLES:  # which may have been broken off the last time
        if await connection.fetchval(sql.LOCAL_BYTES, table):
            await connection.execute(sql.EMPTY_LOCALLY, table)
    said += [f"slot {number} is on {host}:{port}" for number, _, host, port in await connection.fetch(sql.SLOT_NODES)]
    return said + await _advice(connection)


async def _distribute(connection: _Connection, slots: int, *, is_distributed: bool) -> int:
    if slots > SLOTS_MAX:
        raise NotDistributed(
            f"{slots} slots are too many: {SLOTS_MAX} at most, and one or two for each worker serve best"
        )
    await connection.execute(sql.ONE_CONNECTION)
    # a server that has lost its connection to the coordinator goes on at the workers
    rows = await connection.fetch(sql.ON_WORKERS, sql.PROGRAMS)
    _refuse_programs([name for row in rows for name in msgspec.json.decode(row["result"])])
    if is_distributed:
        for table in _TABLES:
            await connection.execute(sql.UNDISTRIBUTE, table)
    await connection.execute(sql.PROBE)
    await connection.execute(sql.DISTRIBUTE, "temppass.probe", slots)
    keys = [row["key"] for row in await connection.fetch(sql.PROBE_KEYS)]
    await connection.execute(sql.DROP_PROBE)
    await spread(connection, keys)
    moved = int(await connection.fetchval("SELECT count(*) FROM temppass.ledgers"))
    ledgers, *others = _TABLES
    await connection.execute(sql.DISTRIBUTE, ledgers, slots)
    for table in others:
        await connection.execute(sql.DISTRIBUTE_BESIDE, table, ledgers)
    for function, is_of_slot in await connection.fetch(sql.SLOT_FUNCTIONS):
        await connection.execute(sql.SEND_FUNCTION if is_of_slot else sql.SPREAD_FUNCTION, function)
    return moved


async def _ground(connection: _Connection) -> list[str]:
    """Answer the workers, as host:port, once everything that a cluster needs is there. Raises NotDistributed."""
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS citus")
    except asyncpg.PostgresError as error:
        hint = "install it on every node, put citus first into shared_preload_libraries and CREATE EXTENSION citus"
        raise NotDistributed(f"the extension citus is not to be had here ({error}): {hint}") from None
    nodes = await connection.fetch(sql.CITUS_NODES)
    if not any(node["groupid"] == 0 for node in nodes):
        raise NotDistributed("no node is known as the coordinator: SELECT citus_set_coordinator_host('<host>', <port>)")
    workers = [node for node in nodes if node["shouldhaveshards"]]
    if not workers:
        raise NotDistributed("the cluster has no workers: SELECT citus_add_node('<host>', <port>) for each")
    for node in nodes:
        if not (node["isactive"] and node["hasmetadata"]):
            where = f"{node['nodename']}:{node['nodeport']}"
            raise NotDistributed(
                f"{where} is not active with metadata: SELECT citus_activate_node(…), then run this again"
            )
    return [f"{node['nodename']}:{node['nodeport']}" for node in workers]


async def _advice(connection: _Connection) -> list[str]:
    """Answer what serves but not well."""
    said = []
    if any(value != "logical" for value in await _settings(connection, "wal_level")):
        said.append("wal_level is not logical on a node: a slot can be moved only while nobody writes to it")
    interval = await _settings(connection, "citus.recover_2pc_interval")
    if any(value not in {f"{seconds}s" for seconds in range(1, 11)} for value in interval):
        said.append(
            f"citus.recover_2pc_interval is {interval[0]}: what was being committed when a node went away waits as long"
            " after it is back; set 5s"
        )
    return said


async def _settings(connection: _Connection, name: str) -> list[str]:
    """Answer the value of a setting on each node. Raises NotDistributed where one does not answer."""
    rows = await connection.fetch(sql.CITUS_SETTING, f"SHOW {name}")
    for row in rows:
        if not row["success"]:
            raise NotDistributed(f"node {row['nodeid']} does not answer: {row['result']}")
    return [row["result"] for row in rows]
