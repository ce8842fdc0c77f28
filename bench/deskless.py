"""
Our program without what came with the desk, for desk.py: nothing is counted by the minute, no record gets its place in
the chain, and there is no control API.
"""

import sys

from temppass import cli
from temppass.service.counters import Counters
from temppass.service.upkeep import TICK_S, Upkeep

if __name__ == "__main__":
    Counters.add = lambda *_: None
    Upkeep.rhythms = lambda self: [(TICK_S, self.tick)]
    sys.argv.append("--no-control")
    cli.main()
