"""The command on an API server: what it writes, what it waits for, what it says when something is wrong."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kube.api.faults import Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.command import Done, Kubectl
from kube.loop_site import Manifest, sticky
from stickyrouting.model.names import ANNOTATION_END
from stickyrouting.watch.kinds import STICKY_SERVICE

ANN, BOB = "0123456789abcdef", "fedcba9876543210"
SOURCE = Path(__file__).parents[2] / "operator"


@pytest.fixture
async def kubectl(api: ApiServer, tmp_path: Path) -> Kubectl:
    api.put(sticky())
    return Kubectl(api, tmp_path / "kubeconfig")


def ends(**states: str) -> list[Manifest]:
    return [
        {"session": {"ann": ANN, "bob": BOB}[who], "state": state, "askedAt": "2026-11-21T12:00:00Z"}
        for who, state in states.items()
    ]


async def written(kubectl: Kubectl, annotation: str) -> str:
    """Wait until the command has written an annotation."""
    for _ in range(500):
        if annotation in kubectl.notes():
            return kubectl.notes()[annotation]
        await asyncio.sleep(0.01)
    raise AssertionError(f"{annotation} was not written")


async def test_end_writes_the_names_waits_for_the_answers_and_tells_each(kubectl: Kubectl) -> None:
    running = asyncio.create_task(kubectl.run("end", ANN, BOB.upper(), "--service", "shop"))
    assert await written(kubectl, ANNOTATION_END) == f"{ANN},{BOB}"
    # What stands from an earlier time while the request is still to be taken up is no answer.
    kubectl.answer(kubectl.notes(), ends=ends(ann="Unknown", bob="Unknown"))
    await asyncio.sleep(0.5)
    kubectl.answer({}, ends=ends(ann="Pending", bob="Pending"))
    await asyncio.sleep(0.5)
    assert not running.done()
    kubectl.answer({}, ends=ends(ann="Ended", bob="Ended"))
    assert await running == Done(0, f"{ANN}  ended\n{BOB}  ended\n", "")


async def test_a_session_that_nobody_knows_is_told_with_exit_code_1(kubectl: Kubectl) -> None:
    running = asyncio.create_task(kubectl.run("end", "-", "-s", "shop", stdin=f"{ANN}\n{BOB}\n{ANN}\n"))
    await written(kubectl, ANNOTATION_END)
    kubectl.answer({}, ends=ends(ann="Ended", bob="Unknown"))
    done = await running
    assert (done.code, done.out.splitlines()[0]) == (1, f"{ANN}  ended")
    assert done.out.splitlines()[1].startswith(f"{BOB}  not known to any proxy")


async def test_end_without_waiting_only_asks(kubectl: Kubectl) -> None:
    assert await kubectl.run("end", ANN, "-s", "shop", "--no-wait") == Done(0, f"{ANN}  asked for\n", "")
    assert kubectl.notes() == {ANNOTATION_END: ANN}


async def test_what_others_asked_for_and_other_annotations_stay(kubectl: Kubectl, api: ApiServer) -> None:
    kubectl.answer({ANNOTATION_END: BOB, "example.com/mine": "1"})
    await kubectl.run("end", ANN, "-s", "shop", "--no-wait")
    assert kubectl.notes() == {ANNOTATION_END: f"{BOB},{ANN}", "example.com/mine": "1"}
    assert kubectl.body()["spec"] == sticky()["spec"]


async def test_a_write_by_another_hand_in_between_is_not_overwritten(
    kubectl: Kubectl, api: ApiServer
) -> None:
    def meanwhile(call: Call) -> None:
        if call.verb == "patch" and not kubectl.notes():
            kubectl.answer({ANNOTATION_END: BOB})

    api.admit = meanwhile
    assert (await kubectl.run("end", ANN, "-s", "shop", "--no-wait")).code == 0
    assert kubectl.notes() == {ANNOTATION_END: f"{BOB},{ANN}"}


async def test_more_names_than_status_shows_are_asked_for_in_turns(kubectl: Kubectl) -> None:
    names = [f"{number:016x}" for number in range(150)]
    running = asyncio.create_task(kubectl.run("end", "-", "-s", "shop", stdin="\n".join(names)))
    for part in (names[:100], names[100:]):
        assert await written(kubectl, ANNOTATION_END) == ",".join(part)
        told = [{"session": name, "state": "Ended", "askedAt": "2026-11-21T12:00:00Z"} for name in part]
        kubectl.answer({}, ends=told)
    done = await running
    assert (done.code, len(done.out.splitlines())) == (0, 150)


@pytest.mark.parametrize(
    ("status", "what"),
    [
        ({}, "the operator to take up the request (does it run? kubectl get deployments -A"),
        (
            {
                "conditions": [
                    {
                        "type": "ResolvedRefs",
                        "status": "False",
                        "reason": "ConnectionsRefused",
                        "message": "no",
                    }
                ]
            },
            "the operator to take up the request (does it run? kubectl get deployments -A",
        ),
        (
            {
                "conditions": [
                    {"type": "Accepted", "status": "False", "reason": "InvalidSpec", "message": "spec.x: no"}
                ]
            },
            "the operator to take up the request (Accepted is False: spec.x: no)",
        ),
    ],
)
async def test_an_operator_that_does_not_act_is_named_when_time_is_over(
    kubectl: Kubectl, status: Manifest, what: str
) -> None:
    kubectl.answer({}, **status)
    done = await kubectl.run("end", ANN, "-s", "shop", "--timeout", "0.5")
    assert (done.code, done.out) == (6, f"{ANN}  asked for\n")
    assert done.err.startswith(f"Error: after 0.5 s still waiting for {what}")


async def test_an_outcome_of_an_earlier_time_is_not_told_for_this_one(kubectl: Kubectl) -> None:
    kubectl.answer({}, ends=ends(ann="Ended"))
    done = await kubectl.run("end", ANN, "-s", "shop", "--timeout", "0.5")
    assert (done.code, done.out) == (6, f"{ANN}  asked for\n")


async def test_proxies_that_do_not_answer_are_named_when_time_is_over(kubectl: Kubectl) -> None:
    running = asyncio.create_task(kubectl.run("end", ANN, BOB, "-s", "shop", "--timeout", "4"))
    await written(kubectl, ANNOTATION_END)
    kubectl.answer({}, ends=ends(ann="Ended", bob="Pending"))
    done = await running
    assert (done.code, done.out) == (6, f"{ANN}  ended\n{BOB}  asked for\n")
    assert done.err == (
        f"waiting for the proxies to answer for {BOB}\n"
        f"Error: after 4 s still waiting for the proxies to answer for {BOB}\n"
    )


async def test_an_api_server_that_fails_while_waiting_is_asked_again(
    kubectl: Kubectl, api: ApiServer
) -> None:
    running = asyncio.create_task(kubectl.run("end", ANN, "-s", "shop"))
    await written(kubectl, ANNOTATION_END)
    api.faults.add(Refuse(503), lambda call: call.client == "kubectl-sticky", times=2)
    await asyncio.sleep(0.7)
    kubectl.answer({}, ends=ends(ann="Ended"))
    assert (await running).code == 0


async def test_status_of_one_of_some_and_of_all(kubectl: Kubectl, api: ApiServer) -> None:
    other = sticky("bank")
    api.put({**other, "metadata": {**other["metadata"], "namespace": "vault"}})
    assert (await kubectl.run("status", "shop")).out.startswith("shop in namespace demo: Service shop\n")
    assert [line.split()[:2] for line in (await kubectl.run("status")).out.splitlines()[1:]] == [
        ["demo", "shop"]
    ]
    everything = json.loads((await kubectl.run("status", "-A", "-o", "json")).out)
    assert [(one["namespace"], one["name"]) for one in everything] == [("demo", "shop"), ("vault", "bank")]
    assert (
        json.loads((await kubectl.run("status", "bank", "-n", "vault", "-o", "json")).out)["name"] == "bank"
    )


async def test_an_empty_namespace_is_said_on_standard_error(kubectl: Kubectl) -> None:
    done = await kubectl.run("status", "-n", "empty")
    assert done == Done(0, "", "No StickyService found. -A looks in all namespaces.\n")
    assert (await kubectl.run("status", "-n", "empty", "-o", "json")).out == "[]\n"


async def test_a_stickyservice_that_is_not_there_is_told_with_those_that_are(kubectl: Kubectl) -> None:
    for arguments in (("status", "shoop"), ("end", ANN, "-s", "shoop"), ("keys", "rotate", "shoop")):
        done = await kubectl.run(*arguments)
        assert (done.code, done.out) == (5, "")
        assert "no StickyService shoop in namespace demo (context test); there are: shop" in done.err
    assert "there is none; -n chooses" in (await kubectl.run("status", "x", "-n", "empty")).err


async def test_a_cluster_without_the_kind_is_told_to_lack_sticky_routing(
    kubectl: Kubectl, api: ApiServer
) -> None:
    api.kinds.remove(STICKY_SERVICE)
    for arguments in (("status",), ("status", "shop"), ("end", ANN, "-s", "shop")):
        done = await kubectl.run(*arguments)
        assert done.code == 5
        assert "Sticky Routing is not installed in the cluster of context test" in done.err


async def test_as_a_process_in_a_pipe_it_writes_no_colors(kubectl: Kubectl, api: ApiServer) -> None:
    kubectl.answer({}, conditions=[{"type": "Ready", "status": "True", "reason": "Ready", "message": "well"}])
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "stickyrouting.cli.main", "status", "shop"],
        env={**os.environ, "KUBECONFIG": str(kubectl.config), "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "  Ready     yes: well"
