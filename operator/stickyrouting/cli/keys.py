"""``kubectl sticky keys``: the keys that sign cookies."""

import click

from stickyrouting.cli.options import Patience, cluster_options, wait_options, where


@click.group(short_help="Look after the keys that sign cookies.")
def keys() -> None:
    """Look after the keys that sign cookies."""


@keys.command(short_help="Sign cookies with a new key from now on; no session is lost.")
@click.argument("name")
@cluster_options
@wait_options(600)
def rotate(name: str, patience: Patience, timeout: float) -> None:
    """Sign the cookies of StickyService NAME with a new key from now on.

    Cookies that former keys signed are accepted as long as one may live, so that no session is lost. The proxies get
    their keys from the kubelet, which takes a minute or two at each of two steps.
    """
    from stickyrouting.cli import rotating
    from stickyrouting.cli.cluster import in_cluster

    order = rotating.Order(name, patience, timeout)
    in_cluster(where(), lambda cluster: rotating.rotate(cluster, order))
