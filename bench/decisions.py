"""
Decisions a second against a bare JSON route of the same server, on one core: known subjects (the ledger exists, so
nothing is written) and new ones (a ledger is written durably). Every permit carries a signed media token.
"""

from harness import STORES, claim, empty_store, in_turn, ratio, run, temppass, wrk
from traffic import authorize, check_permit

BOUNDS = {("known", "sqlite"): 0.40, ("known", "postgres"): 0.37, ("new", "sqlite"): 0.33, ("new", "postgres"): 0.28}


def main() -> None:
    for store in STORES:
        print(f"decisions a second, {store}")
        with empty_store(store) as url, temppass(url) as ours:
            requests = {kind: [authorize(ours.token, f"@{kind.upper()}@")] for kind in ("known", "new")}
            variants = {
                "bare JSON route": lambda ours=ours: wrk(ours.served, [], path="/healthz"),
                "known subjects": lambda ours=ours, requests=requests: wrk(ours.served, requests["known"]),
                "new subjects": lambda ours=ours, requests=requests: wrk(ours.served, requests["new"]),
            }
            for warm_up in variants.values():
                warm_up()
            figures = in_turn(variants)
            check_permit(ours.served, ours.token)
        bare = figures["bare JSON route"]
        for kind in ("known", "new"):
            claim(
                f"{kind} subjects / bare route, {store}", ratio(figures[f"{kind} subjects"], bare), BOUNDS[kind, store]
            )


if __name__ == "__main__":
    run(main)
