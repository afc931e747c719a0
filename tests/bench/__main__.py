"""``python -m bench``: prints the README's table from build/demo.json."""

import json
import sys
from pathlib import Path

from bench.rows import make_rows

REPORT = Path(__file__).resolve().parents[2] / "build" / "demo.json"


def main() -> int:
    """Print the rows; 1 if there is no report."""
    try:
        report = json.loads(REPORT.read_text(encoding="utf-8"))
    except FileNotFoundError:
        print(f"bench: no {REPORT}: run `make demo` first", file=sys.stderr)
        return 1
    print("\n".join(make_rows(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
