"""A new operator beside the CRD of an older version: what the API server drops is not written again and again."""

import copy
from typing import Any

import pytest

from kube.api.server import ApiServer
from kube.loop_site import conditions_of, operator, put_pods, put_shop
from stickyrouting.kube.client import Kube
from stickyrouting.watch.kinds import STICKY_SERVICE

DROPPED = ("keys", "ends", "cookieName")


@pytest.fixture
def old_crd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server drops fields of the status that its CRD does not have."""
    apply_status = Kube.apply_status

    async def pruned(kube: Kube, manifest: dict[str, Any]) -> dict[str, Any]:
        known = copy.deepcopy(manifest)
        for field in DROPPED:
            known["status"].pop(field, None)
        for endpoint in known["status"].get("endpoints", ()):
            endpoint.pop("state")
        return await apply_status(kube, known)

    monkeypatch.setattr(Kube, "apply_status", pruned)


@pytest.mark.usefixtures("old_crd")
async def test_a_status_of_which_the_api_server_drops_fields_is_written_once(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        assert "cookieName" not in api.get(STICKY_SERVICE, "demo", "shop")["status"]
        api.journal.clear()
        for _ in range(10):
            site.now_ms += 20_000
            await site.pass_time(20)
            await site.loop()
        assert site.writes() == []


@pytest.mark.usefixtures("old_crd")
async def test_news_are_still_told_and_an_edited_status_is_put_back(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        put_pods(api, "shop-a", "shop-b", "shop-c")
        await site.settle()
        body = api.get(STICKY_SERVICE, "demo", "shop")
        assert body["status"]["readyEndpoints"] == 3
        before = conditions_of(api)
        api.put({**body, "status": {**body["status"], "readyEndpoints": 9, "conditions": []}})
        await site.settle()
        assert api.get(STICKY_SERVICE, "demo", "shop")["status"]["readyEndpoints"] == 3
        assert conditions_of(api) == before


@pytest.mark.usefixtures("old_crd")
async def test_an_end_that_status_can_not_show_is_asked_for_once(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        body = api.get(STICKY_SERVICE, "demo", "shop")
        asked = {"stickyrouting.io/end": "0123456789abcdef"}
        api.put({**body, "metadata": {**body["metadata"], "annotations": asked}})
        await site.settle()
        site.now_ms += 61_000
        await site.settle()
        live = api.get(STICKY_SERVICE, "demo", "shop")
        assert not live["metadata"].get("annotations")
        api.journal.clear()
        for _ in range(5):
            site.now_ms += 5_000
            await site.loop()
        assert site.writes() == []
