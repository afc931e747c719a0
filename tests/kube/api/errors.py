"""Refusals as the API server words them."""

from typing import Any


class ApiError(Exception):
    """A request is refused: HTTP ``code``, the Status object's ``reason`` and message, the field at fault."""

    def __init__(self, code: int, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.field = field


def status_of(error: ApiError) -> dict[str, Any]:
    """Return the Status object of a refusal."""
    causes = [{"reason": "FieldValueInvalid", "field": error.field}] if error.field else []
    return {
        "details": {"causes": causes},
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
    }


def not_found(plural: str, name: str) -> ApiError:
    """Return the refusal of a name that nothing has."""
    return ApiError(404, "NotFound", f'{plural} "{name}" not found')


def conflict(plural: str, name: str, why: str) -> ApiError:
    """Return the refusal of a write that rests on another state."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {plural} "{name}": {why}')
