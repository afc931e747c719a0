"""build/bench.json: parts that are measured alone or together, and the README's text from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.figures import find_doubts
from bench.ratio import BenchError
from bench.rows import make_bound_table, make_proxy_table
from lab.paths import CHECKOUT

DEMO = CHECKOUT / "build" / "demo.json"
BENCH = CHECKOUT / "build" / "bench.json"
README = CHECKOUT / "README.md"
BEGIN = "<!-- written by `python -m bench readme` -->"
END = "<!-- until here -->"


def load_report(path: Path) -> dict[str, Any] | None:
    """Return a report, None if it was not made yet; raises ``BenchError`` if it can't be read."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BenchError(f"{path} is not JSON ({error}): remove it and measure again") from error
    return report


def save_part(name: str, figures: Mapping[str, Any], busy: str, path: Path = BENCH) -> None:
    """Put one part into the report; ``busy`` says what speaks against the quiet of the machine."""
    report = load_report(path) or {}
    report[name] = {**figures, "busy": busy}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def find_all_doubts(report: Mapping[str, Any]) -> list[str]:
    """Return what speaks against publishing the figures; instructions are the same on a busy machine."""
    doubts = [report[part]["busy"] for part in ("proxies", "map") if report.get(part, {}).get("busy")]
    return doubts + (find_doubts(report["proxies"]) if "proxies" in report else [])


def make_text(report: Mapping[str, Any]) -> str:
    """Return the README's section: caption, tables, and what speaks against them."""
    lines = []
    if proxies := report.get("proxies"):
        lines += [make_caption(proxies), "", *make_proxy_table(proxies, report.get("instructions")), ""]
    lines += [*make_bound_table(report), ""]
    lines += [f"Measured although {doubt}." for doubt in find_all_doubts(report)]
    return "\n".join(lines).strip()


def make_caption(proxies: Mapping[str, Any]) -> str:
    """Return the sentence above the comparison: the command, and what was measured."""
    return (
        f"From `make bench`: one thread on a core of its own, loopback, {proxies['connections']} connections, "
        f"{proxies['sessions']} sessions, {proxies['servers']} servers; medians (and extremes) of {proxies['rounds']} "
        f"rounds of {proxies['seconds']} s in which the proxies took turns."
    )


def replace_section(readme: str, text: str) -> str:
    """Return the README with ``text`` between the marks; raises ``BenchError`` without them."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BenchError(f"README.md lacks `{BEGIN}` before `{END}`: put them where the tables belong")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
