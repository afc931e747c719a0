"""What a spec must satisfy beyond its types: the rules of crds/stickyservices.yaml, same places and messages.

They are stated twice because an older CRD may be installed than the operator knows; a contract test compares
them.
``[*]`` in a field path stands for every item of a list.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from stickyrouting.model.desired import OnFull
from stickyrouting.model.duration import Duration
from stickyrouting.model.names import GROUP, LABEL_APP, LABEL_INSTANCE, LABEL_MANAGED_BY, MAX_NAME, child
from stickyrouting.model.quantity import parse_quantity
from stickyrouting.model.spec_edge_rules import EDGE_RULES
from stickyrouting.model.spec_fields import (
    Resources,
    SpreadConstraint,
    StickySpec,
    TaintEffect,
    Toleration,
    TolerationOperator,
    Unsatisfiable,
)
from stickyrouting.model.spec_rule import Check, Rule, matches
from stickyrouting.model.spec_session_rules import SESSION_RULES

DURATION_MESSAGE: Final = "write a duration above 0s and up to 24h, such as 500ms, 30s or 1h30m"
ANNOTATION_KEY_MESSAGE: Final = "write annotation keys as Kubernetes takes them, like example.com/name"
OUR_KEYS_MESSAGE: Final = "remove every stickyrouting.io/ key: the operator writes them"
_HOUR: Final = 3_600_000
_OUR_LABELS: Final = frozenset({LABEL_APP, LABEL_INSTANCE, LABEL_MANAGED_BY})
_QUALIFIED: Final = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_VALUE: Final = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_DNS_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def first_fault(name: str, spec: StickySpec) -> Rule | None:
    """Return the first rule that a StickyService of this name breaks, or None."""
    return next((rule for rule in RULES if not rule.kept(name, spec)), None)


def _port_kept(port: int | str | None) -> bool:
    if isinstance(port, int):
        return 1 <= port <= 65535
    return port is None or (matches(_DNS_LABEL, port) and re.search("[a-z]", port) is not None)


def _limit_kept(limit: int | str) -> bool:
    return 1 <= limit <= 10_000 if isinstance(limit, int) else matches("[1-9][0-9]{0,3}%", limit)


def _keys_kept(values: Mapping[str, str]) -> bool:
    return all(matches(_QUALIFIED, key) for key in values)


def _labels_kept(labels: Mapping[str, str]) -> bool:
    return _keys_kept(labels) and all(matches(_LABEL_VALUE, value) for value in labels.values())


def _foreign(keys: Iterable[str]) -> bool:
    """True if none of the keys belongs to the operator."""
    return not any(key.startswith(f"{GROUP}/") for key in keys)


def _requests_kept(resources: Resources | None) -> bool:
    if resources is None:
        return True
    both = resources.requests.keys() & resources.limits.keys()
    return all(parse_quantity(resources.requests[k]) <= parse_quantity(resources.limits[k]) for k in both)


def _names_taint(toleration: Toleration) -> bool:
    return bool(toleration.key) or toleration.operator is TolerationOperator.EXISTS


def _value_fits(toleration: Toleration) -> bool:
    return not toleration.value or toleration.operator is not TolerationOperator.EXISTS


def _seconds_fit(toleration: Toleration) -> bool:
    return toleration.toleration_seconds is None or toleration.effect is TaintEffect.NO_EXECUTE


def _domains_fit(constraint: SpreadConstraint) -> bool:
    return constraint.min_domains is None or constraint.when_unsatisfiable is Unsatisfiable.DO_NOT_SCHEDULE


def _tolerations(kept: Callable[[Toleration], bool]) -> Check:
    """Return the check that every toleration satisfies ``kept``."""
    return lambda _, s: all(map(kept, s.proxy.template.spec.tolerations))


def _timeout(field: str) -> Rule:
    """Return the rule of one of HAProxy's timeouts: positive, and far below its own limit of 24 days."""

    def kept(_: str, spec: StickySpec) -> bool:
        length: Duration = getattr(spec.proxy.timeouts, field)
        return 0 < length.milliseconds <= 24 * _HOUR

    return Rule(f"spec.proxy.timeouts.{field}", DURATION_MESSAGE, kept)


_IDENTITY_RULES: Final = (
    Rule(
        "metadata.name",
        "use at most 52 characters, only lower case letters, digits and '-', with a letter first and no '-'"
        " last: NAME-sticky becomes the name of the proxies' Service",
        lambda name, _: len(name) <= MAX_NAME and matches(r"[a-z]([-a-z0-9]*[a-z0-9])?", name),
    ),
    Rule(
        "spec.service.name",
        "this is the proxies' own Service; name the Service of the application",
        lambda name, s: s.service.name != child(name),
    ),
)

_SERVICE_RULES: Final = (
    Rule(
        "spec.service.name",
        "write the name of a Service in this namespace: lower case letters, digits and '-', without"
        " namespace or domain",
        lambda _, s: matches(_DNS_LABEL, s.service.name),
    ),
    Rule(
        "spec.service.port",
        "write a port number from 1 to 65535 (without quotes) or the name of one of the Service's ports",
        lambda _, s: _port_kept(s.service.port),
    ),
)

_PLACEMENT_RULES: Final = (
    Rule(
        "spec.session.onFull",
        "set maxPerPod beside it, or remove onFull: without a limit no pod is ever full",
        lambda _, s: s.session.max_per_pod is not None or s.session.on_full is not OnFull.OVERFLOW,
    ),
    Rule(
        "spec.session.maxPerPod",
        "set 1 or more, or leave the field out for no limit",
        lambda _, s: s.session.max_per_pod is None or s.session.max_per_pod >= 1,
    ),
    Rule(
        "spec.placement.slowStart",
        "write a duration from 0s (no slow start) to 1h, such as 30s or 2m",
        lambda _, s: s.placement.slow_start.milliseconds <= _HOUR,
    ),
)

_DRAIN_RULES: Final = (
    Rule(
        "spec.drain.timeout",
        "write a duration from 0s to 576h, such as 10m, 1h or 12h",
        lambda _, s: s.drain.timeout.milliseconds <= 576 * _HOUR,
    ),
    Rule(
        "spec.drain.maxDraining",
        "write a number of pods from 1 to 10000, or a share from 1% to 9999% such as 50%",
        lambda _, s: _limit_kept(s.drain.max_draining),
    ),
)

_PROXY_RULES: Final = (
    Rule(
        "spec.proxy.replicas",
        "set 1 or more; to stop the proxies delete the StickyService",
        lambda _, s: s.proxy.replicas is None or s.proxy.replicas >= 1,
    ),
    Rule(
        "spec.proxy.image",
        "write an image reference without spaces, or leave the field out for the operator's own image",
        lambda _, s: matches(r"\S+", s.proxy.image),
    ),
    Rule(
        "spec.proxy.resources.requests",
        "no request may be greater than its limit; lower the request or raise the limit",
        lambda _, s: _requests_kept(s.proxy.resources),
    ),
    Rule(
        "spec.proxy.terminationGracePeriod",
        "write a duration from 30s to 24h in whole seconds, such as 90s, 10m or 1h30m",
        lambda _, s: s.proxy.termination_grace_period.milliseconds in range(30_000, 24 * _HOUR + 1, 1000),
    ),
)

_TEMPLATE_RULES: Final = (
    Rule(
        "spec.proxy.template.metadata.labels",
        "write labels as Kubernetes takes them: keys like example.com/name, values of at most 63"
        " letters, digits, '-', '_' and '.' that begin and end with a letter or digit",
        lambda _, s: _labels_kept(s.proxy.template.metadata.labels),
    ),
    Rule(
        "spec.proxy.template.metadata.labels",
        "remove app.kubernetes.io/name, app.kubernetes.io/instance, app.kubernetes.io/managed-by and every"
        " stickyrouting.io/ key: the operator finds its proxies by them",
        lambda _, s: (
            _OUR_LABELS.isdisjoint(s.proxy.template.metadata.labels)
            and _foreign(s.proxy.template.metadata.labels)
        ),
    ),
    Rule(
        "spec.proxy.template.metadata.annotations",
        ANNOTATION_KEY_MESSAGE,
        lambda _, s: _keys_kept(s.proxy.template.metadata.annotations),
    ),
    Rule(
        "spec.proxy.template.metadata.annotations",
        OUR_KEYS_MESSAGE,
        lambda _, s: _foreign(s.proxy.template.metadata.annotations),
    ),
    Rule(
        "spec.proxy.template.spec.nodeSelector",
        "write node labels as Kubernetes takes them: keys like example.com/name, values of at most 63"
        " letters, digits, '-', '_' and '.' that begin and end with a letter or digit",
        lambda _, s: _labels_kept(s.proxy.template.spec.node_selector),
    ),
    Rule(
        "spec.proxy.template.spec.tolerations[*].key",
        "name the taint's key, or set operator Exists to tolerate every taint",
        _tolerations(_names_taint),
    ),
    Rule(
        "spec.proxy.template.spec.tolerations[*].value",
        "remove the value or use operator Equal",
        _tolerations(_value_fits),
    ),
    Rule(
        "spec.proxy.template.spec.tolerations[*].effect",
        "set effect NoExecute or remove tolerationSeconds",
        _tolerations(_seconds_fit),
    ),
    Rule(
        "spec.proxy.template.spec.topologySpreadConstraints[*].minDomains",
        "remove minDomains or set whenUnsatisfiable DoNotSchedule",
        lambda _, s: all(map(_domains_fit, s.proxy.template.spec.topology_spread_constraints)),
    ),
    Rule(
        "spec.proxy.template.spec.priorityClassName",
        "write the name of a PriorityClass, such as system-cluster-critical",
        lambda _, s: matches(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", s.proxy.template.spec.priority_class_name),
    ),
)

_TRAFFIC_RULES: Final = (
    *(_timeout(field) for field in ("connect", "client", "server", "tunnel", "queue")),
    Rule(
        "spec.proxy.service.annotations",
        ANNOTATION_KEY_MESSAGE,
        lambda _, s: _keys_kept(s.proxy.service.annotations),
    ),
    Rule(
        "spec.proxy.service.annotations",
        OUR_KEYS_MESSAGE,
        lambda _, s: _foreign(s.proxy.service.annotations),
    ),
    Rule(
        "spec.proxy.healthCheck.path",
        "begin the path with /, such as /healthz",
        lambda _, s: s.proxy.health_check.path is None or s.proxy.health_check.path.startswith("/"),
    ),
    Rule(
        "spec.proxy.healthCheck.path",
        "use characters of a URL path and query only; write others as %XX",
        lambda _, s: matches(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", s.proxy.health_check.path),
    ),
    Rule(
        "spec.proxy.healthCheck.interval",
        "write a duration from 100ms to 1h, such as 500ms, 1s or 1m30s",
        lambda _, s: 100 <= s.proxy.health_check.interval.milliseconds <= _HOUR,
    ),
)

RULES: Final = (
    *_IDENTITY_RULES,
    *_SERVICE_RULES,
    *SESSION_RULES,
    *_PLACEMENT_RULES,
    *_DRAIN_RULES,
    *_PROXY_RULES,
    *_TEMPLATE_RULES,
    *_TRAFFIC_RULES,
    *EDGE_RULES,
)
