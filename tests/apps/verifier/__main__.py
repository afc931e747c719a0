"""Command line of the verifier."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from apps.verifier.control import controlling
from apps.verifier.load import Verifier
from apps.verifier.settings import Settings, SettingsError, parse_target
from apps.verifier.tally import Figures, Result


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m apps.verifier",
        description="Sends requests of many sessions through the proxies and checks every answer. "
        "Exit code 1: a violation or an error; 2: it could not start.",
    )
    parser.add_argument(
        "--target", action="append", default=[], help="HOST:PORT of the proxies; may be repeated"
    )
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument(
        "--rate", type=float, default=500.0, help="requests per second, all sessions together"
    )
    parser.add_argument("--births", type=float, default=1.0, help="new sessions per second while running")
    parser.add_argument("--workers", type=int, default=32, help="requests in flight at most")
    parser.add_argument(
        "--reopen", type=float, default=0.05, help="share of requests that end their connection"
    )
    parser.add_argument("--requests", type=int, default=0, help="stop after so many (0: no limit)")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after so long (0: no limit)")
    parser.add_argument(
        "--control", help="HOST:PORT to be steered at; then --requests and --seconds may be absent"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args(arguments)


def make_settings(arguments: argparse.Namespace) -> Settings:
    """Settings of the run; raise ``SettingsError``."""
    if not (arguments.requests or arguments.seconds or arguments.control):
        raise SettingsError("no end: give --requests, --seconds or --control")
    return Settings(
        targets=tuple(parse_target(text) for text in arguments.target),
        sessions=arguments.sessions,
        rate=arguments.rate,
        births_per_second=arguments.births,
        workers=arguments.workers,
        reopen=arguments.reopen,
        limit=arguments.requests,
    )


def describe(figures: Figures) -> str:
    """One phase in one line."""
    return (
        f"{figures.name}: {figures.verified} verified of {figures.requests} in {figures.seconds:.1f} s, "
        f"{figures.sessions} sessions ({figures.births} born, {figures.lost} lost), "
        f"{figures.violations} violations {figures.violation_kinds or ''}, "
        f"{figures.errors} errors {figures.error_kinds or ''}, "
        f"p50 {figures.p50:.1f} p95 {figures.p95:.1f} p99 {figures.p99:.1f} ms"
    )


async def run(settings: Settings, seconds: float, control: str | None) -> Result:
    """Run until the limit, the time or a signal; a control port outlives the limit."""
    verifier = Verifier(settings)
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    async with contextlib.AsyncExitStack() as stack:
        if control:
            where = parse_target(control)
            await stack.enter_async_context(controlling(verifier, where.host, where.port))
        await verifier.start()
        waits: list[asyncio.Task[object]] = [asyncio.create_task(interrupted.wait())]
        if not control:
            waits.append(asyncio.create_task(verifier.stopped()))
        await asyncio.wait(waits, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return await verifier.stop()


def main() -> int:
    """Run, print, and say by the exit code whether all was well."""
    arguments = parse_arguments(sys.argv[1:])
    try:
        settings = make_settings(arguments)
    except SettingsError as error:
        print(f"verifier: {error}", file=sys.stderr)
        return 2
    result = asyncio.run(run(settings, arguments.seconds, arguments.control))
    for figures in result.phases:
        print(describe(figures))
        for sample in figures.samples:
            print(f"  session {sample.session} {sample.kind}: {sample.text}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    return 1 if result.violations or result.errors else 0


if __name__ == "__main__":
    sys.exit(main())
