"""Options that verbs share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """Which cluster and namespace, and as whom; what is not given is taken from kubectl's configuration."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    as_user: str | None = None
    as_group: tuple[str, ...] = ()
    as_uid: str | None = None
    as_user_extra: tuple[str, ...] = ()


class Patience(Enum):
    """Whether to wait for the operator's answer."""

    WAIT = "wait"
    GO = "go"


def cluster_options(command: F) -> F:
    """Add kubectl's options of the same names, which :func:`where` returns; the last is shown first."""
    for flags, text, often in (
        (("--as-user-extra",), "Extra KEY=VALUE to act with; may be repeated.", True),
        (("--as-uid",), "UID to act as.", False),
        (("--as-group",), "Group to act as; may be repeated.", True),
        (("--as", "as_user"), "User to act as.", False),
        (("--kubeconfig",), "kubectl's configuration file.", False),
        (("--context",), "Context of that file.", False),
        (("--namespace", "-n"), "Namespace; the context's own unless given.", False),
    ):
        command = click.option(*flags, help=text, multiple=often, expose_value=False, callback=_keep)(command)
    return command


def where() -> Where:
    """Return the place that the options of the present command and of those around it name."""
    return click.get_current_context().find_root().ensure_object(_Given).place


def wait_options(seconds: int, timeout: str = "--timeout") -> Callable[[F], F]:
    """Return what adds ``--wait``, as ``patience``, and ``--timeout`` (under another name if that is taken)."""

    def add(command: F) -> F:
        command = click.option(
            timeout,
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


def _keep(context: click.Context, option: click.Parameter, value: str | tuple[str, ...] | None) -> None:
    given = context.find_root().ensure_object(_Given)
    if value:
        said: dict[str, Any] = {str(option.name): value}
        given.place = replace(given.place, **said)
