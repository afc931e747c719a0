"""The verifier: a client with many sessions that checks every answer against the process that the session
lives on.

Library: ``Verifier(settings)``, ``await start()``, ``phase(name)``, ``await reached(verified)``, ``await
stop()``. Command: ``python -m apps.verifier --help``.

Law: ``session``, ``tally`` and ``settings`` are pure. What counts as a violation is decided in ``session``
(what the answer says) and ``probe`` (whether the session's own pod could have answered), nowhere else.
"""

from apps.verifier.load import Verifier
from apps.verifier.settings import Settings
from apps.verifier.tally import Result

__all__ = ["Result", "Settings", "Verifier"]
