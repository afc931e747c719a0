"""Acting as somebody else: what the options and the kubeconfig say, as the headers that the API server reads.

Source: Kubernetes documentation, "User impersonation"; what an option says comes before the kubeconfig's word, field by
field.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.options import Where

Headers = tuple[tuple[str, str], ...]
_SYMBOLS = "!#$&'*+-.^_`|~"
"""What may stand in a header's name besides letters and digits (RFC 9110, section 5.6.2), but for the escape itself."""


def impersonation(user: Mapping[str, Any], where: Where) -> Headers:
    """Return the headers, none if nobody else is meant; raises Failure."""
    name = where.as_user or user.get("as")
    groups = where.as_group or _words(user.get("as-groups"))
    uid = where.as_uid or user.get("as-uid")
    extra = _extra(where.as_user_extra) or _said(user.get("as-user-extra"))
    headers = [("Impersonate-Uid", str(uid))] if uid else []
    headers += [("Impersonate-Group", group) for group in groups]
    headers += [(f"Impersonate-Extra-{quote(key, safe=_SYMBOLS)}", value) for key, value in extra]
    if not name and headers:
        raise Failure(
            Exit.USAGE, "a group, a UID or an extra to act as is given without a user: give --as USER too"
        )
    return _checked((("Impersonate-User", str(name)), *headers)) if name else ()


def _words(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def _said(found: object) -> Headers:
    extra = found if isinstance(found, dict) else {}
    return tuple((str(key), value) for key, values in extra.items() for value in _words(values))


def _extra(given: Sequence[str]) -> Headers:
    pairs = [one.partition("=") for one in given]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise Failure(Exit.USAGE, f"--as-user-extra {key}: give KEY=VALUE")
    return tuple((key, value) for key, _, value in pairs)


def _checked(headers: Headers) -> Headers:
    for name, value in headers:
        if not value.isprintable():
            raise Failure(Exit.USAGE, f"{name}: {value!r} holds what no header can: use printable characters")
    return headers
