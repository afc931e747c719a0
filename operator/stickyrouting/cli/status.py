"""``kubectl sticky status``: is it well, and if not, what to do."""

import click

from stickyrouting.cli.options import cluster_options, where


@click.command(short_help="Show whether sessions are kept, where they are, and what is wrong.")
@click.argument("name", required=False)
@cluster_options
@click.option("-A", "--all-namespaces", "scope", flag_value="all", help="List those of all namespaces.")
@click.option(
    "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", help="Form of the output."
)
def status(name: str | None, scope: str | None, form: str) -> None:
    """Show one StickyService in full, or list them all.

    \b
    kubectl sticky status               those of the namespace
    kubectl sticky status shop -n demo  one, with its pods and proxies
    kubectl sticky status -A -o json    for programs
    """
    if name and scope:
        raise click.UsageError("give a NAME or -A, not both")
    from stickyrouting.cli import showing
    from stickyrouting.cli.cluster import in_cluster

    if name:
        body = in_cluster(where(), lambda cluster: cluster.get(name))
        click.echo(showing.one(body, form))
        return
    bodies = in_cluster(where(), lambda cluster: cluster.everything() if scope else cluster.here())
    if not bodies and form == "text":
        click.echo("No StickyService found." + ("" if scope else " -A looks in all namespaces."), err=True)
        return
    click.echo(showing.many(bodies, form))
