"""kubectl's configuration: which files count, how they are one, what a user's credential plugin says.

Source: Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files" and "client-go credential plugins".
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.impersonation import Headers, impersonation
from stickyrouting.cli.options import Where
from stickyrouting.cli.proxies import proxy_of
from stickyrouting.watch.connection import (
    SERVICE_ACCOUNT,
    Connection,
    InvalidConnection,
    from_kubeconfig,
    in_cluster,
)

Section = Mapping[str, Any]
_LISTS = ("clusters", "contexts", "users")
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True, slots=True)
class Target:
    """The API server to talk to, as what, and the namespace meant; ``name`` is how people know it."""

    name: str
    connection: Connection
    namespace: str
    headers: Headers = ()
    server_name: str | None = None
    proxy: str | None = None


def find_target(where: Where, environ: Mapping[str, str]) -> Target:
    """Return what kubectl would talk to; raises :class:`Failure` that says what is wrong with its configuration."""
    paths = _paths(where, environ)
    try:
        if not paths and not where.context and environ.get("KUBERNETES_SERVICE_HOST"):
            return _own_target(where, environ)
        return _make_target(_merged(paths), where, environ)
    except InvalidConnection as error:
        raise Failure(Exit.NO_CLUSTER, str(error)) from error


def _own_target(where: Where, environ: Mapping[str, str]) -> Target:
    return Target(
        "this pod's cluster",
        in_cluster(environ),
        where.namespace or _own_namespace(),
        headers=impersonation({}, where),
    )


def _paths(where: Where, environ: Mapping[str, str]) -> list[Path]:
    if where.kubeconfig:
        if not Path(where.kubeconfig).is_file():
            raise Failure(Exit.NO_CLUSTER, f"--kubeconfig {where.kubeconfig}: there is no such file")
        return [Path(where.kubeconfig)]
    listed = [Path(path) for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    found = listed or [Path.home() / ".kube" / "config"]
    return [path for path in found if path.is_file()]


def _own_namespace() -> str:
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError:
        return "default"


def _merged(paths: list[Path]) -> dict[str, Any]:
    """Return one configuration of several: of what stands in more than one, the first counts."""
    if not paths:
        raise Failure(
            Exit.NO_CLUSTER,
            "no cluster is configured: give --kubeconfig, set KUBECONFIG, or make ~/.kube/config as your cluster's"
            " guide says",
        )
    merged: dict[str, Any] = {"current-context": None, **{section: [] for section in _LISTS}}
    for path in paths:
        config = _read(path)
        merged["current-context"] = merged["current-context"] or config.get("current-context")
        for section in _LISTS:
            merged[section] += _entries(config, section, path.parent)
    return merged


def _read(path: Path) -> Section:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise Failure(Exit.NO_CLUSTER, f"kubeconfig {path} can't be read: {reason}") from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise Failure(Exit.NO_CLUSTER, f"kubeconfig {path} holds no mapping: see kubectl config view")
    return config


def _entries(config: Section, section: str, base: Path) -> Iterator[dict[str, Any]]:
    for entry in config.get(section) or ():
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            yield {
                key: _absolute(value, base) if isinstance(value, dict) else value
                for key, value in entry.items()
            }


def _absolute(content: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return a cluster or user whose paths no longer depend on the file in which they stood."""
    found = {key: str(base / value) if key in _PATHS and value else value for key, value in content.items()}
    plugin = found.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        found["exec"] = {**plugin, "command": str(base / plugin["command"])}
    return found


def _make_target(config: dict[str, Any], where: Where, environ: Mapping[str, str]) -> Target:
    name = where.context or config["current-context"]
    if not name:
        raise Failure(
            Exit.NO_CLUSTER, "no context is chosen: give --context, or kubectl config use-context NAME"
        )
    context = _find(config, "contexts", name, "context")
    cluster = _find(config, "clusters", context.get("cluster"), "cluster")
    # A context may name no user: whoever the API server takes for one without a name.
    name_of_user = context.get("user") or ""
    user = dict(_find(config, "users", name_of_user, "user")) if name_of_user else {}
    if plugin := user.pop("exec", None):
        user |= _ask_plugin(plugin, cluster, environ)
    plain = {
        "contexts": [{"name": name, "context": {**context, "user": name_of_user}}],
        "users": [{"name": name_of_user, "user": user}],
    }
    connection = from_kubeconfig({**config, **plain}, Path(), name)
    return Target(
        name=f"context {name}",
        connection=connection,
        namespace=where.namespace or context.get("namespace") or "default",
        headers=impersonation(user, where),
        server_name=cluster.get("tls-server-name"),
        proxy=proxy_of(cluster, environ),
    )


def _find(config: Section, section: str, name: str | None, kind: str) -> Section:
    for entry in config[section]:
        if entry["name"] == name:
            found = entry.get(kind)
            return found if isinstance(found, dict) else {}
    known = ", ".join(dict.fromkeys(entry["name"] for entry in config[section])) or "none"
    raise Failure(Exit.NO_CLUSTER, f"kubeconfig: there is no {kind} named {name!r}; there are: {known}")


def _ask_plugin(plugin: Section, cluster: Section, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the user's token or certificate as the credential plugin tells it."""
    command, extra = str(plugin.get("command")), plugin.get("env") or ()
    variables = {item["name"]: item["value"] for item in extra}
    info = json.dumps(_exec_info(plugin, cluster))
    try:
        done = subprocess.run(  # noqa: S603 - the user's own configuration names the command
            [command, *(plugin.get("args") or ())],
            env={**environ, **variables, "KUBERNETES_EXEC_INFO": info},
            stdout=subprocess.PIPE,
            check=True,
        )
        status = json.loads(done.stdout)["status"]
        return _credential(status)
    except OSError as error:
        hint = plugin.get("installHint") or "install it, or choose another context"
        raise Failure(
            Exit.NO_CLUSTER, f"kubeconfig: credential plugin {command} can't be run: {error.strerror}. {hint}"
        ) from error
    except subprocess.CalledProcessError as error:
        raise Failure(
            Exit.NO_CLUSTER,
            f"kubeconfig: credential plugin {command} failed (exit code {error.returncode}): log in as it says above",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(
            Exit.NO_CLUSTER, f"kubeconfig: credential plugin {command} gave no ExecCredential: {error}"
        ) from error


def _exec_info(plugin: Section, cluster: Section) -> dict[str, Any]:
    interactive = plugin.get("interactiveMode") != "Never" and sys.stdin.isatty()
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        known = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data")
        spec["cluster"] = {key: cluster[key] for key in known if key in cluster}
    return {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": spec}


def _credential(status: Section) -> dict[str, str]:
    found = {"token": status.get("token")}
    for key, name in (
        ("client-certificate-data", "clientCertificateData"),
        ("client-key-data", "clientKeyData"),
    ):
        found[key] = base64.b64encode(status[name].encode()).decode() if status.get(name) else None
    known = {key: value for key, value in found.items() if value}
    if not known:
        raise ValueError("neither token nor certificate in its status")
    return known
