"""haproxy.cfg of one proxy, from the desired state of its StickyService."""

from stickyrouting.model.desired import Desired
from stickyrouting.render.haproxy_backend import Weights, render_app, render_fallback
from stickyrouting.render.haproxy_base import render_metrics, render_places, render_process, render_tables
from stickyrouting.render.haproxy_check import check_desired
from stickyrouting.render.haproxy_frontend import render_frontend
from stickyrouting.render.haproxy_settings import ProxySettings


def render_config(desired: Desired, weights: Weights, settings: ProxySettings) -> str:
    """Return the whole file; ``weights`` (server id, weight) says which endpoints take new sessions.

    Raises :class:`InvalidDesired`, so that HAProxy never sees a file that it would refuse or misread.
    """
    check_desired(desired)
    sections = (
        render_process(desired, settings),
        render_tables(desired, settings),
        render_places(desired, settings),
        render_metrics(settings),
        render_frontend(desired, settings),
        "\n",
        render_app(desired, weights, settings),
        render_fallback(desired),
    )
    return "".join(sections)
