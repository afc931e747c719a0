"""``kubectl sticky cordon`` and ``uncordon``: whether pods take new sessions."""

import click

from stickyrouting.cli.options import cluster_options, where


@click.command(short_help="Give pods no new sessions; they keep those that they have, and stay.")
@click.argument("pods", nargs=-1, required=True, metavar="POD...")
@cluster_options
def cordon(pods: tuple[str, ...]) -> None:
    """Give pods no new sessions as long as others can take them; they keep those that they have, and stay.

    \b
    kubectl sticky cordon shop-7d9f-abcde
    """
    from stickyrouting.cli import cordoning
    from stickyrouting.cli.cluster import in_cluster

    in_cluster(where(), lambda cluster: cordoning.cordon(cluster, pods))


@click.command(short_help="Give pods new sessions again.")
@click.argument("pods", nargs=-1, required=True, metavar="POD...")
@cluster_options
def uncordon(pods: tuple[str, ...]) -> None:
    """Give pods that were cordoned new sessions again.

    \b
    kubectl sticky uncordon shop-7d9f-abcde
    """
    from stickyrouting.cli import cordoning
    from stickyrouting.cli.cluster import in_cluster

    in_cluster(where(), lambda cluster: cordoning.uncordon(cluster, pods))
