"""Try random files, graphs and operations for a while: ``python -m tests.fuzz.fuzz --minutes 60``.

Every try has a seed of its own, which is printed before it where a crash could hide it: ``--seed N --tries 1`` does it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.targets import TARGETS


def fuzz(seconds: float, seed: int, tries: int | None = None, told: Path | None = None) -> Counter[str]:
    """How the tries ended, by target.

    Args:
        seconds: to go on for.
        seed: of the first try; the next has the next.
        tries: how many at most.
        told: a file that holds the try that is made, for after a crash.
    """
    ends: Counter[str] = Counter()
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end and (tries is None or ends.total() < tries):
            rng = random.Random(seed)
            name = rng.choice(sorted(TARGETS))
            if told is not None:
                told.write_text(f"{name}, seed {seed}\n")
            try:
                ends[f"{name} {TARGETS[name](rng, Path(folder))}"] += 1
            except BaseException:
                print(f"failed: {name}, seed {seed}", file=sys.stderr)
                raise
            seed += 1
    return ends


def main() -> None:
    """Fuzz, and print how the tries ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**12)
    parser.add_argument("--tries", type=int)
    parser.add_argument("--told", type=Path)
    options = parser.parse_args()
    print(f"first seed {options.seed}", flush=True)
    for end, count in sorted(fuzz(60 * options.minutes, options.seed, options.tries, options.told).items()):
        print(f"{end}: {count:,}")


if __name__ == "__main__":
    main()
