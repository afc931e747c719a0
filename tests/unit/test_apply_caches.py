"""Who is woken when a pod changes."""

from typing import Any

import msgspec
import pytest

from stickyrouting.apply.caches import Caches
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key
from stickyrouting.watch.cache import Key as Place
from stickyrouting.watch.cache import Listed
from unit.builders import listed, make_pod, make_slice

SHOP = Key("demo", "shop")


class Woken:
    """Caches with one slice of Service ``shop`` that lists pod ``a``; notes who is woken from then on."""

    def __init__(self) -> None:
        self.caches = Caches()
        self.heard: list[Key | tuple[str, str]] = []
        piece = make_slice(listed(make_pod("a")))
        labels = {"kubernetes.io/service-name": "shop"}
        meta = msgspec.structs.replace(piece.metadata, labels=labels)
        self.caches.slices.put(
            Listed(Place("demo", "shop-abc"), "1", msgspec.structs.replace(piece, metadata=meta))
        )
        self.caches.subscribe(self.heard.append, lambda namespace, name: self.heard.append((namespace, name)))

    def put(self, version: str, pod: Pod) -> None:
        self.caches.pods.put(Listed(Place("demo", pod.metadata.name), version, pod))

    def since(self) -> list[Key | tuple[str, str]]:
        heard = list(self.heard)
        self.heard.clear()
        return heard


@pytest.fixture
def woken() -> Woken:
    return Woken()


def test_a_listed_pod_that_nobody_holds_yet_wakes_those_on_its_service_at_every_change(woken: Woken) -> None:
    woken.put("1", make_pod("a"))
    assert woken.since() == [("demo", "shop")]
    woken.put("2", make_pod("a", ready="False"))
    assert woken.since() == [("demo", "shop")]
    woken.put("1", make_pod("b"))
    assert woken.since() == []


def test_a_pod_that_is_held_wakes_its_holder_also_when_foreign_hands_take_the_record_away(
    woken: Woken,
) -> None:
    woken.put("1", make_pod("b", record="42/0"))
    assert woken.since() == [SHOP]
    woken.put("2", make_pod("b"))
    assert woken.since() == [SHOP]


def test_a_proxy_wakes_its_stickyservice(woken: Woken) -> None:
    plain = make_pod("p")
    labels: dict[str, Any] = {
        "app.kubernetes.io/name": "sticky-proxy",
        "app.kubernetes.io/instance": "shop",
        "app.kubernetes.io/managed-by": "sticky-routing",
    }
    meta = msgspec.structs.replace(plain.metadata, labels=labels)
    woken.put("1", msgspec.structs.replace(plain, metadata=meta))
    assert woken.since() == [SHOP]
