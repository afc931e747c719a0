"""A moment as the API writes it."""

from datetime import UTC, datetime

LAST_SECOND = 253_402_300_799


def rfc3339(now_ms: int) -> str:
    """Return epoch milliseconds as the API's timestamp text, whole seconds in UTC, from 1970 to the end of 9999."""
    seconds = min(max(now_ms // 1000, 0), LAST_SECOND)
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
