"""``python -m bench``: measures everything, or one part by its name; ``rows`` prints what was measured, ``readme``
writes it into the README.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from bench.cores import look_busy
from bench.ratio import BenchError
from bench.report import (
    BENCH,
    DEMO,
    README,
    find_all_doubts,
    load_report,
    make_text,
    replace_section,
    save_part,
)
from bench.rows import make_rows
from lab.errors import LabError
from lab.progress import Progress


def measure_instructions(progress: Progress) -> dict[str, Any]:
    """User-space instructions per request."""
    from bench import callgrind

    return callgrind.measure_instructions(progress)


def measure_proxies(progress: Progress) -> dict[str, Any]:
    """Speed beside other proxies."""
    from bench.figures import Plan
    from bench.run import measure_proxies

    return measure_proxies(Plan(), progress)


def measure_map(progress: Progress) -> dict[str, Any]:
    """What the shared session map carries."""
    from bench.fleet_run import measure_map

    return measure_map(progress)


def measure_loop(progress: Progress) -> dict[str, Any]:
    """The operator's loop over many pods."""
    from bench.loop import measure_loop

    return measure_loop(progress)


PARTS: Mapping[str, Callable[[Progress], dict[str, Any]]] = {
    "instructions": measure_instructions,
    "proxies": measure_proxies,
    "map": measure_map,
    "loop": measure_loop,
}


def run_parts(names: list[str]) -> None:
    """Measure, each part saved as soon as it is there; print the tables."""
    progress, busy = Progress(), look_busy()
    if busy:
        progress.say(f"this machine is not quiet: {busy}")
    for name in names:
        save_part(name, PARTS[name](progress), busy)
    print_tables()


def print_tables() -> None:
    """Print the tables of both reports, and what speaks against them; raises ``BenchError`` without any."""
    demo, bench = load_report(DEMO), load_report(BENCH)
    if demo is None and bench is None:
        raise BenchError(f"neither {DEMO} nor {BENCH}: run `make demo` or `make bench` first")
    print(
        "\n\n".join([*(["\n".join(make_rows(demo))] if demo else []), *([make_text(bench)] if bench else [])])
    )
    for doubt in find_all_doubts(bench or {}):
        print(f"bench: {doubt}; measure again when this machine is quiet", file=sys.stderr)


def write_readme() -> None:
    """Write the bench's tables into the README; raises ``BenchError`` without a report."""
    bench = load_report(BENCH)
    if bench is None:
        raise BenchError(f"no {BENCH}: run `make bench` first")
    README.write_text(replace_section(README.read_text(encoding="utf-8"), make_text(bench)), encoding="utf-8")


def run(what: str) -> None:
    """Do what the command line says."""
    if what == "rows":
        print_tables()
    elif what == "readme":
        write_readme()
    else:
        run_parts(list(PARTS) if what == "all" else [what])


def main() -> int:
    """Run; what cannot go on is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="What stickiness costs and carries.")
    parser.add_argument("what", nargs="?", default="all", choices=["all", *PARTS, "rows", "readme"])
    what = parser.parse_args().what
    # So that a bench that is told to end takes its processes with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(what)
    except (BenchError, LabError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; nothing is left running", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
