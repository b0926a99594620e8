"""`make chaos`: a real server is killed, stopped and cut off while many use it. Exits with 1 if a law is broken.

With --many there are several of its processes, and what they stand on breaks too.

The same seed draws the same plan; what meets what in time is up to the machine.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import conductor, laws, many, report
from tests.chaos.plan import FULL, SHORT, draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description="Breaks Netra at random and looks what is left.")
    parser.add_argument("--seed", type=int, help="repeat the plan of an earlier chaos run")
    parser.add_argument("--quick", action="store_true", help="a short one, in some 20 s")
    parser.add_argument("--many", action="store_true", help="with PostgreSQL, Redis, two web processes and two workers")
    parser.add_argument("--keep", action="store_true", help="keep the server's data and log in any case")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    folder, begin = Path(tempfile.mkdtemp(prefix="netra-chaos-")), time.monotonic()
    print(f"seed {seed}", flush=True)

    def say(sentence: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {sentence}", flush=True)

    conduct = many.conduct if arguments.many else conductor.conduct
    record = conduct(draw(seed, SHORT if arguments.quick else FULL), folder, say)
    broken = laws.broken(record)
    print(report.describe(record, broken, time.monotonic() - begin))
    if broken or arguments.keep:
        print(f"the server's data and log: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
