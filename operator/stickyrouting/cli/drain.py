"""``kubectl sticky drain``: pods leave when their sessions have."""

import click

from stickyrouting.cli.options import Patience, cluster_options, wait_options, where


@click.command(short_help="Let pods go when their sessions have ended; others start in their place.")
@click.argument("pods", nargs=-1, metavar="[POD...]")
@click.option(
    "--node", metavar="NODE", help="Every pod on this node that is held, in all namespaces but for -n."
)
@click.option("--all", "service", metavar="NAME", help="Every pod of this StickyService.")
@click.option("--undo", "action", flag_value="undo", help="Let those stay that were told to leave.")
@click.option(
    "--timeout",
    "deadline",
    metavar="DURATION",
    help="From now until they go at the latest, such as 30m; drain.timeout of the StickyService unless given.",
)
@cluster_options
@wait_options(30, "--wait-timeout")
def drain(**given: str | float | tuple[str, ...] | Patience | None) -> None:
    """Let pods go when their sessions have ended, at the latest at their deadline.

    They take no new sessions from now on, and their controllers start others in their place. Before a StickyService is
    deleted, lead new clients elsewhere, drain all its pods, and wait until kubectl sticky status shows no sessions.

    \b
    kubectl sticky drain shop-7d9f-abcde --timeout 30m
    kubectl sticky drain --node worker-1
    kubectl sticky drain --all shop
    kubectl sticky drain shop-7d9f-abcde --undo
    """
    from stickyrouting.cli import draining
    from stickyrouting.cli.cluster import in_cluster

    place = where()
    order = draining.parse_order(given, place.namespace)
    in_cluster(place, lambda cluster: draining.carry_out(cluster, order))
