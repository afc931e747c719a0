"""What an API server's answer other than the one wanted means to a person: what it said, and what to do."""

import re

from stickyrouting.cli.failure import Away, Exit, Failure
from stickyrouting.cli.kubeconfig import Target
from stickyrouting.model import names
from stickyrouting.model.errors import Refused

_ANONYMOUS = '"system:anonymous"'
_ADMISSION = re.compile(r"denied (the )?request")
"""So webhooks and policies say that they refuse what the user has the right to do."""
_RESOURCE = re.compile(r'resource "([a-z]+)"')
_CHECK = "Check that the cluster runs and that the context is the one you mean: kubectl config get-contexts"


def no_answer(target: Target, why: str) -> Away:
    """Say that the API server was not reached."""
    through = " through its proxy" if target.proxy else ""
    return Away(f"{_server(target)} does not answer{through}: {why}. {_CHECK}")


def useless_answer(target: Target, why: str) -> Away:
    """Say that what it answered is of no use."""
    return Away(f"{_server(target)} can't do it now: {why}. {_CHECK}")


def refused(target: Target, method: str, error: Refused) -> Failure:
    """Say what it refused, and whether a login or a right would help."""
    message = str(error)
    if error.status == 401:
        told = f"{_server(target)} does not know you ({message}): your login is missing or has expired; log in again"
        return Failure(Exit.NO_CLUSTER, told)
    if error.status == 403 and not _ADMISSION.search(message):
        return _no_right(target, method, message)
    return Failure(Exit.REFUSED, f"{_server(target)} refused it (HTTP {error.status}): {message}")


def not_installed(target: Target) -> Failure:
    """Say that the kind is not there."""
    return Failure(
        Exit.NOT_FOUND,
        f"Sticky Routing is not installed in the cluster of {target.name}: it has no kind {names.KIND}"
        f" ({names.API_VERSION}). Install the chart, or choose another --context",
    )


def _server(target: Target) -> str:
    return f"the API server {target.connection.server} ({target.name})"


def _no_right(target: Target, method: str, message: str) -> Failure:
    if " cannot impersonate " in message:
        return Failure(Exit.FORBIDDEN, f"{message}. You need the right to act as others, or leave --as away")
    if _ANONYMOUS in message:
        told = f"{_server(target)} takes you for nobody: {message}. Give the context a user, or log in"
        return Failure(Exit.NO_CLUSTER, told)
    verb = "patch" if method == "PATCH" else "get" if "cannot get" in message else "list"
    resource = _RESOURCE.search(message)
    what = resource[1] if resource and resource[1] != names.PLURAL else f"{names.PLURAL}.{names.GROUP}"
    scope = "--all-namespaces" if "cluster scope" in message else f"-n {target.namespace}"
    return Failure(
        Exit.FORBIDDEN,
        f"{message}. You need the right to {verb} {what}: kubectl auth can-i {verb} {what} {scope}",
    )
