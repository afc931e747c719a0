"""``kubectl-sticky``: the verbs, put together."""

import os

import click

from stickyrouting.cli.cordon import cordon, uncordon
from stickyrouting.cli.drain import drain
from stickyrouting.cli.end import end
from stickyrouting.cli.explain import explain
from stickyrouting.cli.keys import keys
from stickyrouting.cli.options import cluster_options
from stickyrouting.cli.status import status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sticky-routing", prog_name="kubectl-sticky")
@cluster_options
def sticky() -> None:
    """Look after sessions that are kept on their pods.

    A session is named by the 16 hexadecimal digits that its state header shows to the application.
    """


for verb in (status, explain, drain, cordon, uncordon, end, keys):
    sticky.add_command(verb)


def main() -> None:
    """Run a command line; see the package for the exit codes."""
    # Click leaves colors out where no terminal is; who wants none at all says so (no-color.org).
    sticky(prog_name="kubectl sticky", color=False if os.environ.get("NO_COLOR") else None)


if __name__ == "__main__":
    main()
