"""``kubectl sticky explain``: why a pod is still there."""

import click

from stickyrouting.cli.options import cluster_options, where


@click.command(short_help="Say why a pod is still there, and how to free it.")
@click.argument("name", metavar="POD|NAME")
@cluster_options
def explain(name: str) -> None:
    """Say why a pod is still there: what it waits for, until when, who holds it, and the commands that free it.

    Of a StickyService NAME, this is said of all its pods that drain. A pod may be given as pod/NAME, too.

    \b
    kubectl sticky explain shop-7d9f-abcde
    kubectl sticky explain shop
    """
    from stickyrouting.cli import explaining
    from stickyrouting.cli.cluster import in_cluster

    click.echo(in_cluster(where(), lambda cluster: explaining.explain(cluster, name)))
