"""A moment as the API writes it."""

from datetime import UTC, datetime


def rfc3339(now_ms: int) -> str:
    """Return epoch milliseconds as the API's timestamp text, whole seconds in UTC."""
    return datetime.fromtimestamp(now_ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
