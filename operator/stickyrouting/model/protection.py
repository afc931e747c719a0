"""What keeps held pods from being deleted and evicted, as it was tried last."""

from enum import StrEnum

import msgspec


class EvictionMode(StrEnum):
    """What keeps held pods from being evicted: the operator's webhook, a budget of each namespace, or nothing."""

    WEBHOOK = "Webhook"
    BUDGET = "Budget"
    OFF = "Off"


class Guard(StrEnum):
    """What became of a write on a held pod that must be refused, asked for with every check but no effect."""

    UNTRIED = "Untried"
    HOLDS = "Holds"
    PASSES = "Passes"
    UNSURE = "Unsure"
    UNSERVED = "Unserved"
    NO_POLICY = "NoPolicy"
    NO_BINDING = "NoBinding"
    NO_WEBHOOK = "NoWebhook"


class Trial(msgspec.Struct, frozen=True):
    """What a try showed, and what the API server said to it."""

    guard: Guard = Guard.UNTRIED
    said: str = ""


class Budget(msgspec.Struct, frozen=True):
    """A PodDisruptionBudget of users: the UIDs of the pods that it counts, how many more may go."""

    name: str
    pods: frozenset[str]
    allowed: int


class Protection(msgspec.Struct, frozen=True):
    """What keeps the held pods of this operator: against controllers (by ``policy``, the object's name, empty if none
    is installed) and against evictions (by ``webhook``, the name of its configuration).

    ``clashes`` are foreign budgets that match held pods, as namespace/name. ``young``: the operator began a moment ago,
    and what is untried is about to be tried.
    """

    mode: EvictionMode = EvictionMode.WEBHOOK
    policy: str = ""
    webhook: str = ""
    deletions: Trial = Trial()
    evictions: Trial = Trial()
    clashes: tuple[str, ...] = ()
    young: bool = True
