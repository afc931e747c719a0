"""Ends a cluster completely, from the process table alone: whatever was started, interrupted or lost."""

import shutil
from pathlib import Path

from lab.native import cgroups, machines, network
from lab.native.machines import CONTROL_PLANE, Machine


def remove_everything(state: Path) -> None:
    """Kill the cluster's machines, then remove what the kernel keeps (cgroups, routes) and the state folder."""
    for machine in _outermost_first(state):
        machines.stop(machine)
    network.remove_from_host()
    cgroups.remove()
    shutil.rmtree(state, ignore_errors=True)


def _outermost_first(state: Path) -> list[Machine]:
    ours = [machine for machine in machines.running() if machine.state == state]
    return sorted(ours, key=lambda machine: machine.name != CONTROL_PLANE)
