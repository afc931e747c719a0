"""Makes a virtual environment run our commands from a source folder that is copied in later.

Usage: launchers.py PYPROJECT VENV SOURCE COMMAND...

Writes VENV/bin/COMMAND for each named entry of ``[project.scripts]`` and puts SOURCE on the import path. So the layer
with the libraries does not change when the source does, and the source needs no build step of its own.
"""

import sys
import tomllib
from pathlib import Path

LAUNCHER = """#!{python}
import os
import signal
import sys

# The first process of a container never gets a signal that it does not handle: one that comes while the imports below
# take their second would be lost, and the pod would stay for its whole grace period.
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda *_: os._exit(0))

from {module} import {function}

sys.exit({function}())
"""


def main(pyproject: Path, venv: Path, source: Path, commands: list[str]) -> None:
    """Write the launchers and the path file; raises KeyError for a command that pyproject.toml does not have."""
    scripts = tomllib.loads(pyproject.read_text())["project"]["scripts"]
    for command in commands:
        module, _, function = scripts[command].partition(":")
        launcher = venv / "bin" / command
        launcher.write_text(LAUNCHER.format(python=venv / "bin/python", module=module, function=function))
        launcher.chmod(0o755)
    packages = next((venv / "lib").glob("python3.*/site-packages"))
    (packages / "source.pth").write_text(f"{source}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
