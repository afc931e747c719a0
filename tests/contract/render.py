"""Renders what is made from the CRD and the chart: ``python -m contract.render`` writes it, a test compares it.

The chart's copy of the CRD, the reference of its fields, and deploy/manifests/install.yaml for ``kubectl apply -f``.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

from contract.reference import render_reference

CHECKOUT = Path(__file__).parents[2]
CRD = CHECKOUT / "crds" / "stickyservices.yaml"
CHART = CHECKOUT / "deploy" / "helm"
CRD_IN_CHART = CHART / "files" / "stickyservices.yaml"
REFERENCE = CHECKOUT / "crds" / "reference.md"
INSTALL = CHECKOUT / "deploy" / "manifests" / "install.yaml"
RELEASE = "sticky-routing"
NAMESPACE = "sticky-routing"
HEADER = (
    "# Sticky Routing for kubectl apply -f, rendered from deploy/helm: edit the chart, then make manifests.\n"
)
HOOK = "helm.sh/hook"
HELM_MARKS = ("helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by")
ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
)

Manifest = dict[str, Any]


def render_chart(
    values: Mapping[str, Any] | None = None, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[Manifest]:
    """Return the chart's manifests; values are checked first, as ``helm install`` does (``HelmValuesError``)."""
    with Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(dict(values or {})))
        files = chart.render(dict(values or {}), name=release, namespace=namespace, is_install=True)
    texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


def render_notes(values: Mapping[str, Any] | None = None) -> str:
    """Return what Helm prints after an installation."""
    with Chart.load(CHART) as chart:
        files = chart.render(dict(values or {}), name=RELEASE, namespace=NAMESPACE, is_install=True)
    (notes,) = (text for path, text in files.items() if path.endswith("NOTES.txt"))
    return notes


def render_install() -> str:
    """Return the text of install.yaml: the chart's defaults in a namespace of their own, without Helm's marks."""
    own = [manifest for manifest in render_chart() if not is_hook(manifest)]
    manifests = sorted([make_namespace(), *map(without_helm, own)], key=_order)
    return HEADER + yaml.safe_dump_all(manifests, sort_keys=False, width=120, explicit_start=True)


def is_hook(manifest: Manifest) -> bool:
    """True for what Helm makes at a certain time only."""
    return HOOK in manifest["metadata"].get("annotations", {})


def make_namespace() -> Manifest:
    """Return the namespace of install.yaml; it admits restricted pods only."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }


def without_helm(manifest: Manifest) -> Manifest:
    """Return a manifest without the labels and annotations that only mean something to Helm."""
    plain: Manifest = _pruned(manifest)
    return plain


def _pruned(value: Any) -> Any:
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _pruned(item) for key, item in value.items() if key not in HELM_MARKS}
    return {key: item for key, item in kept.items() if not (key == "annotations" and item == {})}


def _order(manifest: Manifest) -> tuple[int, str, str]:
    kind = manifest["kind"]
    return ORDER.index(kind) if kind in ORDER else len(ORDER), kind, manifest["metadata"]["name"]


def generated() -> Iterable[tuple[Path, str]]:
    """Yield every generated file with the text that it must have; the CRD's copy first, as the chart reads it."""
    yield CRD_IN_CHART, CRD.read_text(encoding="utf-8")
    yield INSTALL, render_install()
    yield (
        REFERENCE,
        render_reference(yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]),
    )


def main() -> None:
    """Write the generated files."""
    for path, text in generated():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(CHECKOUT)}")


if __name__ == "__main__":
    main()
