"""A session's name: what people, commands, status and events call it by.

Never its id: whoever knows that can take the session over. HAProxy makes the same name with
``sha2(256),bytes(0,8),hex,lower``.
"""

import hashlib
import re

_NAME = re.compile(r"[0-9a-f]{16}")


def session_name(session_id: bytes) -> str:
    """Return the name of a session: the first 16 hexadecimal digits of the SHA-256 of its id."""
    return hashlib.sha256(session_id).hexdigest()[:16]


def is_session_name(text: str) -> bool:
    """Whether a text can be the name of a session."""
    return _NAME.fullmatch(text) is not None
