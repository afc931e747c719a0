"""What a pod says of its own share of new sessions: its weight, and since when it is ready."""

from collections.abc import Sequence
from datetime import datetime

from stickyrouting.model import names
from stickyrouting.model.desired import DEFAULT_WEIGHT
from stickyrouting.model.objects import Pod

MAX_WEIGHT = 1000
NAMED = 3
SHOWN = 20
LONGEST = 9


def weight_of(pod: Pod | None) -> int:
    """Return a pod's weight, 0 to 1000; 100 if it says nothing that can be used, or for an address without a pod."""
    text = _annotation(pod)
    return int(text) if text is not None and _is_weight(text) else DEFAULT_WEIGHT


def ready_since_ms(pod: Pod | None) -> int:
    """Return when a pod turned ready, in epoch milliseconds; 0 if it is not, or if that is not known."""
    text = pod.ready_since if pod else ""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0


def remark(pods: Sequence[Pod]) -> str:
    """Return what to do about weights that can't be used, empty if all can."""
    bad = [pod for pod in pods if (text := _annotation(pod)) is not None and not _is_weight(text)]
    if not bad:
        return ""
    told = ", ".join(f"{pod.metadata.name} ({_shortened(pod)})" for pod in bad[:NAMED])
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return (
        f"annotation {names.ANNOTATION_WEIGHT} can't be used on {told}{more}:"
        f" write a whole number from 0 to {MAX_WEIGHT} in quotes; until then {DEFAULT_WEIGHT} is used"
    )


def _annotation(pod: Pod | None) -> str | None:
    return pod.metadata.annotations.get(names.ANNOTATION_WEIGHT) if pod else None


def _is_weight(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST and int(text) <= MAX_WEIGHT


def _shortened(pod: Pod) -> str:
    text = _annotation(pod) or ""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
