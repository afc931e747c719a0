"""The command line: parses, calls one method of the provider, prints."""

import argparse
import os
import signal
import sys
from dataclasses import replace
from typing import NoReturn

from lab.choose import choose
from lab.errors import LabError
from lab.native.cluster import NativeCluster
from lab.progress import Progress
from lab.provider import FaultKind, Provider, parse_fault


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        if argv[:1] == ["kubectl"]:
            return _kubectl(choose(), argv[1:])
        arguments = _parser().parse_args(argv)
        return int(arguments.run(choose(), arguments))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("lab: interrupted; `python -m lab down` removes what was started", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description="A Kubernetes cluster on this machine."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    up = verbs.add_parser("up", help="bring the cluster up, or mend it")
    up.add_argument("--lifeline", action="store_true", help="stay, and let the cluster end with this process")
    up.set_defaults(run=_up)
    down = verbs.add_parser("down", help="remove the cluster and every trace of it")
    down.add_argument("--foreign", action="store_true", help="also if another checkout started it")
    down.set_defaults(run=_down)
    verbs.add_parser("status", help="tell how the cluster is").set_defaults(run=_status)
    verbs.add_parser("images", help="build and publish images; prints NAME=REFERENCE").set_defaults(
        run=_images
    )
    # Listed for the help only: main hands its arguments to kubectl as they are.
    verbs.add_parser("kubectl", help="run kubectl on the cluster: kubectl ARGS...")
    fault = verbs.add_parser("fault", help="break or mend a part of the cluster")
    fault.add_argument("kind", metavar="KIND", help=", ".join(FaultKind))
    fault.add_argument("nodes", metavar="NODE", nargs="*")
    fault.set_defaults(run=_fault)
    return parser


def _up(provider: Provider, arguments: argparse.Namespace) -> int:
    progress = Progress()
    if arguments.lifeline:
        return _up_with_lifeline(provider, progress)
    provider.up(progress)
    progress.say(f"up ({provider.name}): export KUBECONFIG={provider.kubeconfig}")
    return 0


def _up_with_lifeline(provider: Provider, progress: Progress) -> int:
    if not isinstance(provider, NativeCluster):
        raise LabError(f"--lifeline: only the native cluster has one, this is {provider.name}")
    # This process alone holds the writing end, and holds it to its death.
    reading, _writing = os.pipe()
    replace(provider, lifeline=reading).up(progress)
    progress.say("up; the cluster ends with this process (Ctrl-C)")
    signal.pause()
    return 0


def _down(provider: Provider, arguments: argparse.Namespace) -> int:
    progress = Progress()
    if arguments.foreign and isinstance(provider, NativeCluster):
        provider = provider.whoever_holds_it()
    provider.down(progress)
    return 0


def _status(provider: Provider, _: argparse.Namespace) -> int:
    status = provider.status()
    print("\n".join((status.headline, *status.details)))
    return 0 if status.well else 1


def _images(provider: Provider, _: argparse.Namespace) -> int:
    for name, reference in provider.images(Progress()).items():
        print(f"{name}={reference}")
    return 0


def _kubectl(provider: Provider, argv: list[str]) -> NoReturn:
    environment = {**os.environ, "KUBECONFIG": str(provider.kubeconfig)}
    os.execvpe(provider.kubectl, [provider.kubectl, *argv], environment)


def _fault(provider: Provider, arguments: argparse.Namespace) -> int:
    provider.fault(parse_fault(arguments.kind, arguments.nodes))
    return 0
