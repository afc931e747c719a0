"""What can go wrong, named by what the caller does about it."""


class StickyError(Exception):
    """Base of all errors that this product raises on purpose."""


class InvalidSpec(StickyError):
    """The StickyService's spec can't be honoured: report it and wait for a new generation."""

    def __init__(self, field_path: str, message: str) -> None:
        super().__init__(f"{field_path}: {message}")
        self.field_path = field_path
        self.message = message


class InvalidDesired(StickyError):
    """A desired state can't be read: keep the last one that was applied."""


class InvalidKeys(StickyError):
    """A key slot can't be read: keep the keys that are in force."""


class Unreachable(StickyError):
    """A party could not be reached or did not answer in time: retry after ``after`` seconds.

    ``status`` is the HTTP status, 0 if there was no answer.
    """

    def __init__(self, message: str, after: float = 1.0, status: int = 0) -> None:
        super().__init__(message)
        self.after = after
        self.status = status


class Refused(StickyError):
    """The API server refused a request for good (rights, quota, admission): report it, retry slowly.

    ``status`` is the HTTP status, 0 if it is not known.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Changed(StickyError):
    """The object changed since it was read (409): observe again."""


class NotFound(StickyError):
    """The object or its kind does not exist."""


class Gone(StickyError):
    """A watch's resource version is too old (410): list again."""
