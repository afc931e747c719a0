"""A timeout given by hand is counted from the moment it is given, however long the pod drains already."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kube.api.server import ApiServer
from kube.command import Kubectl
from stickyrouting.model.duration import parse_duration
from stickyrouting.watch.kinds import POD

MINUTE = timedelta(minutes=1)
TOLD = "shop-a  told to leave"


@pytest.fixture
def kubectl(api: ApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(api, tmp_path / "kubeconfig")


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def put_draining(api: ApiServer, since: str) -> None:
    """Put a pod that drains since a time."""
    notes = {"held-by": "shop", "draining": "ScaledDown", "draining-since": since}
    meta = {
        "namespace": "demo",
        "name": "shop-a",
        "labels": {"stickyrouting.io/hold": "true"},
        "annotations": {f"stickyrouting.io/{key}": value for key, value in notes.items()},
    }
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {}})


def written(api: ApiServer) -> dict[str, str]:
    found: dict[str, str] = api.get(POD, "demo", "shop-a")["metadata"]["annotations"]
    return {key.removeprefix("stickyrouting.io/"): value for key, value in found.items()}


@pytest.mark.parametrize("given", ["30m", "0s", "2h"])
async def test_on_a_pod_that_drains_for_hours_it_ends_when_it_has_passed_from_now_on(
    api: ApiServer, kubectl: Kubectl, given: str
) -> None:
    since = (datetime.now(UTC) - timedelta(hours=2)).replace(microsecond=0)
    put_draining(api, stamp(since))
    before = datetime.now(UTC)
    done = await kubectl.run("drain", "shop-a", "--timeout", given, "--no-wait")
    found = written(api)
    deadline = since + timedelta(milliseconds=parse_duration(found["drain-timeout"]).milliseconds)
    wanted = before + timedelta(milliseconds=parse_duration(given).milliseconds)
    assert timedelta(0) <= deadline - wanted < timedelta(seconds=5), "never sooner, and hardly later"
    assert done.out == f"{TOLD}, at {stamp(deadline)} at the latest\n"
    assert found["drain"] == found["drain-timeout"], "the timeout goes with the request when that is undone"
    assert (await kubectl.run("drain", "shop-a", "--undo", "--no-wait")).code == 0
    assert written(api).keys() == {"held-by", "draining", "draining-since"}


async def test_who_waits_is_told_the_deadline_too(api: ApiServer, kubectl: Kubectl) -> None:
    put_draining(api, stamp(datetime.now(UTC) - 10 * MINUTE))
    done = await kubectl.run("drain", "shop-a", "--timeout", "5m")
    told = done.out.partition("last session has ended, at ")[2].partition(" at the latest, see kubectl")[0]
    left = datetime.fromisoformat(told) - datetime.now(UTC)
    assert 4 * MINUTE < left < 6 * MINUTE, done.out


async def test_the_time_is_that_of_the_api_server_whatever_this_machines_clock_says(
    api: ApiServer, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = datetime.now(UTC) - 10 * MINUTE
    put_draining(api, stamp(since))
    monkeypatch.setattr("stickyrouting.kube.server_clock.time.time_ns", lambda: 0)
    await kubectl.run("drain", "shop-a", "--timeout", "5m", "--no-wait")
    timeout = timedelta(milliseconds=parse_duration(written(api)["drain-timeout"]).milliseconds)
    assert timedelta(0) <= timeout - 15 * MINUTE < timedelta(seconds=5)


async def test_a_start_that_can_not_be_read_counts_as_now_as_it_does_to_the_operator(
    api: ApiServer, kubectl: Kubectl
) -> None:
    put_draining(api, "yesterday")
    await kubectl.run("drain", "shop-a", "--timeout", "30m", "--no-wait")
    assert written(api)["drain-timeout"] == "30m"


async def test_a_start_that_can_not_be_true_is_named_and_nothing_is_written(
    api: ApiServer, kubectl: Kubectl
) -> None:
    put_draining(api, "1970-01-01T00:00:00Z")
    done = await kubectl.run("drain", "shop-a", "--timeout", "30m", "--no-wait")
    assert done.code == 7
    assert "pod shop-a drains since 1970-01-01T00:00:00Z, says its annotation" in done.err
    assert "drain-timeout" not in written(api)
