"""What the proxies say of the certificate for clients: the operator never reads the user's Secret. Pure."""

from collections.abc import Sequence

from stickyrouting.model.observed import ProxyView
from stickyrouting.model.plan import Reason, Verdict, no


def with_certificate(resolved: Verdict, proxies: Sequence[ProxyView]) -> Verdict:
    """Return the verdict on the references: of one that holds, what a proxy says against the Secret of its certificate.

    The reason is the one that Gateway API gives a listener (ListenerConditionReason).
    """
    faults = [view.report.tls.fault for view in proxies if view.report and view.report.tls]
    said = [fault for fault in faults if fault]
    if not said or not resolved.holds:
        return resolved
    told = f"{len(said)} of {len(proxies)} proxies" if len(said) < len(proxies) else "all proxies"
    return no(Reason.INVALID_CERTIFICATE_REF, f"{said[0]} (say {told})")
