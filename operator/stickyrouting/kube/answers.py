"""What an answer of the API server means to the caller: a value, or one of our errors.

Source: Kubernetes documentation, "API Concepts" and the Status type of the API reference.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError, Unreachable
from stickyrouting.watch.requests import retry_after
from stickyrouting.watch.wire import read_status

Manifest = dict[str, Any]

OK = range(200, 300)
# The cause that the API server gives with the reason NamespaceTerminating.
_NAMESPACE = "metadata.namespace"
_REFUSALS = frozenset({400, 401, 402, 403, 405, 406, 413, 415, 422})


def read_answer(code: int, headers: Mapping[str, str], body: bytes) -> Manifest:
    """Return the object in a good answer; raises the error that another answer stands for."""
    if code not in OK:
        raise error_of(code, headers, body)
    try:
        return msgspec.json.decode(body, type=Manifest)
    except msgspec.DecodeError as error:
        raise Unreachable(f"HTTP {code}, but the body is no JSON object: {error}") from error


def error_of(code: int, headers: Mapping[str, str], body: bytes) -> StickyError:
    """Return the error for an HTTP code: Changed 409, NotFound 404, Refused other 4xx, Unreachable the rest.

    A namespace that is being deleted refuses new objects with a 403; to us it is not there any more. A spent quota
    stays a refusal: the message says so.
    """
    status = read_status(body, code)
    message = status.message
    # A patch with the uid of another life is refused as an attempt to change the uid (seen on Kubernetes 1.35).
    if code == 409 or (code == 422 and status.blames("metadata.uid")):
        return Changed(message)
    if code == 404 or (code == 403 and status.blames(_NAMESPACE)):
        return NotFound(message)
    if code in _REFUSALS:
        return Refused(message, code)
    return Unreachable(f"HTTP {code}: {message}", after=max(1.0, retry_after(headers)), status=code)
