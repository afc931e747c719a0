"""Whether a StickyService may act at all: an ordered chain of pure checks; the first that objects decides."""

from stickyrouting.model import names
from stickyrouting.model.observed import Identity, Observed
from stickyrouting.model.plan import Reason, Verdict, no, yes


def _age(identity: Identity) -> tuple[str, str, str]:
    return (identity.created, identity.key.name, identity.uid)


def accepted(observed: Observed) -> Verdict:
    """Return whether the StickyService is accepted: of several on one Service only the oldest is."""
    older = sorted((r for r in observed.rivals if _age(r) < _age(observed.identity)), key=_age)
    if older:
        return no(
            Reason.CONFLICTED,
            f"Service {observed.identity.service} already belongs to the older StickyService {older[0].key.name};"
            " delete one of the two or name another Service in spec.service.name",
        )
    return yes(Reason.ACCEPTED, "the spec is valid")


def is_proxy_service(labels: dict[str, str]) -> bool:
    """True if the labels are those of a Service that we made in front of proxies."""
    return labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
