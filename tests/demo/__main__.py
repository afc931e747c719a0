"""``python -m demo up`` and ``python -m demo down``."""

import argparse
import asyncio
import os
import sys

from demo.kube import Kubectl, KubectlError
from demo.run import Demo
from demo.settings import SettingsError, parse_settings
from demo.show import make_show
from demo.verdict import Held
from lab.choose import choose
from lab.errors import LabError
from lab.progress import Progress


def up() -> int:
    """Run the demo; 1 if a promise was broken."""
    provider = choose()
    kubectl = Kubectl((provider.kubectl, f"--kubeconfig={provider.kubeconfig}"))
    demo = Demo(provider, kubectl, parse_settings(os.environ), make_show())
    checks = asyncio.run(demo.run())
    return 1 if any(check.held is Held.NO for check in checks) else 0


def down() -> int:
    """Remove the cluster and all that ran on it."""
    choose().down(Progress())
    return 0


def main() -> int:
    """Run one verb; what cannot go on is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Sticky Routing on a real cluster.")
    parser.add_argument("verb", choices=("up", "down"))
    verb = parser.parse_args().verb
    try:
        return up() if verb == "up" else down()
    except (LabError, KubectlError, SettingsError) as error:
        print(f"demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("demo: interrupted; `make demo-down` removes what was started", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
