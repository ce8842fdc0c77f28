"""
What a thief of a statement can make of two processes of one PostgreSQL.
"""

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import CATALOGUE, Folder, Wire

IN_A_MINUTE, FLOOD = 10, 100
CATALOGUE += f"""
[[application]]
id = "flooded"
channels = ["ACME1"]
scopes = ["api:client:v2"]
registrations_per_minute = {IN_A_MINUTE}
"""


def test_a_flood_of_registrations_makes_so_many_rows_and_shuts_out_nobody_else(cluster: Folder) -> None:
    """Each process admits what it finds left, so two of them twice that at most."""
    cluster.declare(CATALOGUE)
    urls = [cluster.serve().url, cluster.serve().url]
    stolen, good = (cluster.temppass("statement", "mint", name).out.strip() for name in ("flooded", "ops"))
    wires = [Wire(url, good) for url in urls]

    def register(number: int) -> int:
        body = {"software_statement": stolen}
        return wires[number % 2].http.post("/o/client/register", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        told = [*pool.map(register, range(FLOOD))]
    honest = [wire.http.post("/o/client/register", json={"software_statement": good}).status_code for wire in wires]
    for wire in wires:
        wire.close()
    made = told.count(201)
    assert (IN_A_MINUTE <= made <= 2 * IN_A_MINUTE, told.count(429), honest) == (True, FLOOD - made, [201, 201])
