"""``python -m bench``: measures the proxy and prints the README's table; ``--rows`` prints what was measured before."""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from bench.figures import Plan, find_doubt, make_caption
from bench.ratio import BenchError
from bench.rows import make_table
from bench.run import measure
from lab.errors import LabError
from lab.paths import CHECKOUT
from lab.progress import Progress

DEMO = CHECKOUT / "build" / "demo.json"
BENCH = CHECKOUT / "build" / "bench.json"


def load_report(path: Path) -> dict[str, Any] | None:
    """Return a report, None if it was not made yet; raises ``BenchError`` if it can't be read."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BenchError(f"{path} is not JSON ({error}): remove it and measure again") from error
    return report


def print_rows() -> None:
    """Print the table of both reports; raises ``BenchError`` without any."""
    demo, bench = load_report(DEMO), load_report(BENCH)
    if demo is None and bench is None:
        raise BenchError(f"neither {DEMO} nor {BENCH}: run `make demo` or `make bench` first")
    print("\n".join(make_table(demo, bench)))
    if bench and (doubt := find_doubt(bench)):
        print(f"bench: {doubt}", file=sys.stderr)


def run_bench() -> None:
    """Measure, write the report, print the table under its caption."""
    figures = measure(Plan(), Progress())
    BENCH.parent.mkdir(exist_ok=True)
    BENCH.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"{make_caption(figures)}\n")
    print_rows()


def main() -> int:
    """Run; what cannot go on is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="What stickiness costs.")
    parser.add_argument("--rows", action="store_true", help="only print the table of the existing reports")
    rows = parser.parse_args().rows
    # So that a bench that is told to end takes its processes with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if rows:
            print_rows()
        else:
            run_bench()
    except (BenchError, LabError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; nothing is left running", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
