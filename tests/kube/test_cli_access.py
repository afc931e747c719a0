"""The command before an API server that does not do as asked: what it says of logins, rights, refusals and ways."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from kube.api.faults import Refuse
from kube.api.server import ApiServer
from kube.api.waiting import until
from kube.command import Done, Kubectl
from kube.loop_site import sticky
from stickyrouting.model.names import ANNOTATION_END

ANN = "0123456789abcdef"


@pytest.fixture
async def kubectl(api: ApiServer, tmp_path: Path) -> Kubectl:
    api.put(sticky())
    return Kubectl(api, tmp_path / "kubeconfig")


NO_RIGHT = (
    'stickyservices.stickyrouting.io "shop" is forbidden: User "ann" cannot patch resource "stickyservices"'
)


async def test_a_right_that_lacks_is_named_with_the_question_to_ask(kubectl: Kubectl, api: ApiServer) -> None:
    api.faults.add(Refuse(403, NO_RIGHT), lambda call: call.verb == "patch")
    done = await kubectl.run("end", ANN, "-s", "shop")
    assert (done.code, done.err) == (
        4,
        f"Error: {NO_RIGHT}. You need the right to patch stickyservices.stickyrouting.io:"
        " kubectl auth can-i patch stickyservices.stickyrouting.io -n demo\n",
    )


async def test_a_right_on_pods_that_lacks_is_named_as_such_where_it_lacks(
    kubectl: Kubectl, api: ApiServer
) -> None:
    why = 'pods is forbidden: User "ann" cannot list resource "pods" in API group "" at the cluster scope'
    api.faults.add(Refuse(403, why))
    done = await kubectl.run("drain", "--node", "worker-1")
    assert (done.code, done.err) == (
        4,
        f"Error: {why}. You need the right to list pods: kubectl auth can-i list pods --all-namespaces\n",
    )


async def test_nobody_and_somebody_else_are_told_apart_from_a_right_that_lacks(
    kubectl: Kubectl, api: ApiServer
) -> None:
    api.faults.add(Refuse(403, 'x is forbidden: User "system:anonymous" cannot list resource "x"'), times=1)
    done = await kubectl.run("status")
    assert (done.code, done.err.endswith("Give the context a user, or log in\n")) == (3, True)
    api.faults.add(
        Refuse(403, 'users "bob" is forbidden: User "ann" cannot impersonate resource "users"'), times=1
    )
    done = await kubectl.run("status", "--as", "bob")
    assert (done.code, done.err.endswith("You need the right to act as others, or leave --as away\n")) == (
        4,
        True,
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, 'admission webhook "gate" denied the request: no changes on Fridays'),
        (422, "StickyService is invalid: metadata.annotations: Too long: must have at most 262144 bytes"),
        (400, "the body is no JSON"),
        (413, "Request entity too large"),
    ],
)
async def test_what_the_api_server_refuses_for_another_reason_is_told_in_its_words(
    kubectl: Kubectl, api: ApiServer, status: int, message: str
) -> None:
    api.faults.add(Refuse(status, message), lambda call: call.verb == "patch")
    done = await kubectl.run("keys", "rotate", "shop")
    assert done == Done(
        7, "", f"Error: the API server {api.url} (context test) refused it (HTTP {status}): {message}\n"
    )


async def test_an_identity_that_is_not_known_is_told_to_log_in(kubectl: Kubectl, api: ApiServer) -> None:
    api.faults.add(Refuse(401, "Unauthorized"))
    done = await kubectl.run("status")
    words = "does not know you (Unauthorized): your login is missing or has expired; log in again"
    assert (done.code, words in done.err) == (3, True)


async def test_a_login_that_expires_while_waiting_is_told_at_once(kubectl: Kubectl, api: ApiServer) -> None:
    running = asyncio.create_task(kubectl.run("end", ANN, "-s", "shop"))
    await until(lambda: ANNOTATION_END in kubectl.notes())
    api.faults.add(Refuse(401, "Unauthorized"))
    done = await asyncio.wait_for(running, 5)
    assert (done.code, done.out, "log in again" in done.err) == (3, f"{ANN}  asked for\n", True)


async def test_an_api_server_that_answers_with_a_fault_of_its_own_is_not_said_to_be_silent(
    kubectl: Kubectl, api: ApiServer
) -> None:
    api.faults.add(Refuse(503, "etcd is away"))
    done = await kubectl.run("status")
    assert (
        done.code,
        f"{api.url} (context test) can't do it now: HTTP 503: etcd is away. Check" in done.err,
    ) == (
        3,
        True,
    )


async def test_a_cluster_that_is_away_is_told_with_its_address(kubectl: Kubectl, api: ApiServer) -> None:
    api.down()
    done = await kubectl.run("status")
    assert (done.code, api.url in done.err, "kubectl config get-contexts" in done.err) == (3, True, True)


@asynccontextmanager
async def listener(heard: list[web.BaseRequest]) -> AsyncIterator[int]:
    """Serve an empty list to whoever asks, and note who asked; yields the port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        heard.append(request)
        return web.json_response({"items": []})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def lead_to(kubectl: Kubectl, server: str) -> None:
    """Let the kubeconfig name another API server, and a context without a user."""
    config = json.loads(kubectl.config.read_text())
    config["clusters"][0]["cluster"]["server"] = server
    del config["contexts"][0]["context"]["user"], config["users"]
    kubectl.config.write_text(json.dumps(config))


async def test_a_request_is_made_as_whom_the_options_name(kubectl: Kubectl) -> None:
    heard: list[web.BaseRequest] = []
    options = ("--as", "ann", "--as-group", "ops", "--as-group", "shop", "--as-uid", "7")
    async with listener(heard) as port:
        lead_to(kubectl, f"http://127.0.0.1:{port}")
        assert (await kubectl.run(*options, "status", "--as-user-extra", "Team/of=a=b")).code == 0
    (headers,) = [request.headers for request in heard]
    found = [(name, value) for name, value in headers.items() if name.startswith("Impersonate")]
    assert sorted(found) == [
        ("Impersonate-Extra-Team%2Fof", "a=b"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Group", "shop"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-User", "ann"),
    ]
    assert "Authorization" not in headers, "the context names no user"


async def test_the_way_leads_through_a_proxy_that_the_environment_names_without_a_scheme(
    kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[web.BaseRequest] = []
    lead_to(kubectl, "http://198.18.7.7:8001")
    async with listener(heard) as port:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{port}")
        assert (await kubectl.run("status")).code == 0
    assert [request.raw_path.partition("/apis/")[0] for request in heard] == ["http://198.18.7.7:8001"]
    done = await kubectl.run("status")
    assert (done.code, "198.18.7.7:8001 (context test) does not answer through its proxy: " in done.err) == (
        3,
        True,
    )
