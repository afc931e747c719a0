"""Options that verbs share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """Which cluster and namespace; what is None is taken from kubectl's configuration."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None


class Patience(Enum):
    """Whether to wait for the operator's answer."""

    WAIT = "wait"
    GO = "go"


def cluster_options(command: F) -> F:
    """Add ``--namespace``, ``--context`` and ``--kubeconfig``, which :func:`where` returns."""
    for flags, text in (
        (("--kubeconfig",), "kubectl's configuration file."),
        (("--context",), "Context of that file."),
        (("--namespace", "-n"), "Namespace; the context's own unless given."),
    ):
        command = click.option(*flags, help=text, expose_value=False, callback=_keep)(command)
    return command


def where() -> Where:
    """Return the place that the options of the present command and of those around it name."""
    return click.get_current_context().find_root().ensure_object(_Given).place


def wait_options(seconds: int) -> Callable[[F], F]:
    """Return what adds ``--wait``, as ``patience``, and ``--timeout``."""

    def add(command: F) -> F:
        command = click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=seconds,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait at most.",
        )(command)
        return click.option(
            "--wait/--no-wait",
            "patience",
            default=True,
            show_default=True,
            callback=lambda _, __, waits: Patience.WAIT if waits else Patience.GO,
            help="Wait for the operator's answer.",
        )(command)

    return add


class _Given:
    """What the options gave so far."""

    def __init__(self) -> None:
        self.place = Where()


def _keep(context: click.Context, option: click.Parameter, value: str | None) -> None:
    given = context.find_root().ensure_object(_Given)
    if value is not None:
        given.place = replace(given.place, **{str(option.name): value})
