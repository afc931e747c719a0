"""``kubectl sticky`` as a person runs it: a process of its own, with the cluster's kubeconfig."""

import asyncio
import os
import sys
from pathlib import Path

from cluster.world import World

SOURCE = Path(__file__).parents[2] / "operator"


async def sticky(world: World, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, its output and what it said beside."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stickyrouting.cli.main",
        *arguments,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "KUBECONFIG": str(world.provider.kubeconfig)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
