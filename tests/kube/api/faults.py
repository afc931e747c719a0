"""What goes wrong, when: faults that tests order and the server commits."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .journal import Call


@dataclass(frozen=True)
class Refuse:
    """Answer with an error and do nothing."""

    status: int
    message: str = "induced"
    retry_after: int | None = None


@dataclass(frozen=True)
class DropBefore:
    """Cut the connection and do nothing."""


@dataclass(frozen=True)
class DropReply:
    """Do what was asked, then cut the connection: the lost reply."""


@dataclass(frozen=True)
class Delay:
    """Do what was asked, but wait some seconds first."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Never answer and do nothing."""


Action = Refuse | DropBefore | DropReply | Delay | Hang


@dataclass
class _Order:
    action: Action
    match: Callable[[Call], bool]
    skip: int
    left: float

    def due(self, call: Call) -> bool:
        """Count a matching call; tell whether it is one of those to break."""
        if not self.match(call) or self.left <= 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.left -= 1
        return True


@dataclass
class Faults:
    """The faults still to come."""

    _orders: list[_Order] = field(default_factory=list)

    def add(
        self,
        action: Action,
        match: Callable[[Call], bool] = lambda call: True,
        nth: int = 1,
        times: float = 1,
    ) -> None:
        """Break the ``nth`` call from now on that matches, and the next ``times - 1`` (math.inf: all)."""
        self._orders.append(_Order(action, match, nth - 1, times))

    def clear(self) -> None:
        """Call off all faults."""
        self._orders.clear()

    def take(self, call: Call) -> Action | None:
        """Return what shall go wrong with a call."""
        due = [order.action for order in self._orders if order.due(call)]
        return due[0] if due else None
