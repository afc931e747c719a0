"""Whether the Service still names a pod: somebody who changes a pod's labels, or the selector, takes pods out of it."""

from stickyrouting.model.objects import Pod, Service


def is_taken_out(pod: Pod, service: Service | None) -> bool:
    """True if a Service that has a selector does not select a pod; without one its EndpointSlices are made by hand."""
    selector = service.spec.selector if service else {}
    return any(pod.metadata.labels.get(key) != value for key, value in selector.items())
