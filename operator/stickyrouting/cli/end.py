"""``kubectl sticky end``: end sessions by their names."""

import sys

import click

from stickyrouting.cli.failure import Exit
from stickyrouting.cli.options import Patience, cluster_options, wait_options, where


@click.command(short_help="End sessions on all proxies, by their names.")
@click.argument("sessions", nargs=-1, required=True, metavar="SESSION...")
@click.option(
    "-s", "--service", required=True, metavar="NAME", help="The StickyService that keeps the sessions."
)
@cluster_options
@wait_options(75)
def end(sessions: tuple[str, ...], service: str, patience: Patience, timeout: float) -> None:
    """End sessions on all proxies: the clients' next requests begin new ones.

    SESSION is the session's name: 16 hexadecimal digits, as its state header (spec.session.stateHeader) shows them to
    the application. "-" reads names from standard input. What is open goes on until it ends.

    \b
    kubectl sticky end 5f0c1a9be2d34876 --service shop
    kubectl sticky end - --service shop < names.txt
    """
    from stickyrouting.cli import ending
    from stickyrouting.cli.cluster import in_cluster

    names = ending.parse_names(sessions, sys.stdin)
    order = ending.Order(service, names, patience, timeout)
    told = in_cluster(where(), lambda cluster: ending.end_sessions(cluster, order))
    if any(state != "Ended" for state in told.values()) and patience is Patience.WAIT:
        click.get_current_context().exit(Exit.PART)
