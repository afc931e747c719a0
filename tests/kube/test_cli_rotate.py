"""``keys rotate``: one request at a time, and the right answer for everybody who asks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kube.api.server import ApiServer
from kube.api.waiting import until
from kube.command import Done, Kubectl, end_of
from kube.loop_site import Manifest, operator, put_shop, sticky
from kube.rotation_site import follow, phase
from kube.slot_site import hear, proxies
from stickyrouting.model.names import ANNOTATION_ROTATE_KEYS

SINCE = {"signedSince": "2026-11-21T12:00:00Z"}
DONE = Done(0, "shop  every proxy signs with the key of epoch 2; former cookies are accepted on\n", "")
JOINED = "a rotation is on its way already, whose key has signed nothing yet: it serves this request too\n"


@pytest.fixture
async def kubectl(api: ApiServer, tmp_path: Path) -> AsyncIterator[Kubectl]:
    api.put(sticky())
    found = Kubectl(api, tmp_path / "kubeconfig")
    found.answer({ANNOTATION_ROTATE_KEYS: "before"}, keys=keys(1, "Settled", "before", **SINCE))
    yield found
    await found.close()


def keys(epoch: int, phase: str, request: str, **more: object) -> Manifest:
    return {"epoch": epoch, "phase": phase, "lastRequest": request, "began": "2026-11-21T11:00:00Z", **more}


def asked(kubectl: Kubectl) -> str:
    return kubectl.notes().get(ANNOTATION_ROTATE_KEYS, "")


async def begin(kubectl: Kubectl, *options: str) -> asyncio.Task[Done]:
    """Start the command; return once it has asked."""
    before = asked(kubectl)
    process = await kubectl.start("keys", "rotate", "shop", *options)
    await until(lambda: asked(kubectl) != before, seconds=10)
    return asyncio.create_task(end_of(process))


async def join(kubectl: Kubectl) -> asyncio.Task[Done]:
    """Start the command; return once it has said that it waits for what was asked for before."""
    process = await kubectl.start("keys", "rotate", "shop")
    assert process.stderr is not None
    assert (await process.stderr.readline()).decode() == JOINED
    return asyncio.create_task(end_of(process))


async def test_it_writes_a_new_value_and_waits_until_every_proxy_signs(kubectl: Kubectl) -> None:
    running = await begin(kubectl)
    notes, request = kubectl.notes(), asked(kubectl)
    for phase_, epoch in (("Preparing", 1), ("Switching", 2)):
        kubectl.answer(notes, keys=keys(epoch, phase_, request))
        await asyncio.sleep(0.5)
        assert not running.done()
    kubectl.answer(notes, keys=keys(2, "Retiring", request, **SINCE))
    assert await running == DONE


async def test_of_two_at_once_the_second_writes_nothing_and_both_get_the_answer(kubectl: Kubectl) -> None:
    first = await begin(kubectl)
    notes, request = kubectl.notes(), asked(kubectl)
    second = await join(kubectl)
    kubectl.answer(kubectl.notes(), keys=keys(1, "Preparing", request))
    third = await join(kubectl)
    assert kubectl.notes() == notes
    kubectl.answer(notes, keys=keys(2, "Retiring", request, **SINCE))
    found = [await first, await second, await third]
    assert [done._replace(err="") for done in found] == [DONE] * 3


async def test_many_at_the_same_moment_make_one_request(kubectl: Kubectl) -> None:
    started = [await kubectl.start("keys", "rotate", "shop") for _ in range(5)]
    said = [asyncio.create_task(p.stderr.readline()) for p in started if p.stderr]
    await until(lambda: sum(line.done() for line in said) == 4, seconds=20)
    assert asked(kubectl) != "before"
    kubectl.answer(kubectl.notes(), keys=keys(2, "Retiring", asked(kubectl), **SINCE))
    assert sorted([(await line).decode() for line in said]) == ["", *[JOINED] * 4]
    assert [await end_of(process) for process in started] == [DONE] * 5


async def test_a_request_that_other_hands_overwrote_is_answered_by_theirs(kubectl: Kubectl) -> None:
    running = await begin(kubectl)
    kubectl.answer({ANNOTATION_ROTATE_KEYS: "theirs"}, keys=keys(1, "Preparing", "theirs"))
    await asyncio.sleep(0.5)
    kubectl.answer({ANNOTATION_ROTATE_KEYS: "theirs"}, keys=keys(2, "Settled", "theirs", **SINCE))
    assert await running == DONE


async def test_an_answer_that_the_next_rotation_hides_at_once_is_seen(kubectl: Kubectl) -> None:
    running = await begin(kubectl)
    kubectl.answer(
        {ANNOTATION_ROTATE_KEYS: "next"}, keys=keys(2, "Preparing", "next", next=3, former=[1], **SINCE)
    )
    assert await running == DONE


async def test_who_asks_while_a_new_key_begins_to_sign_gets_another_one(kubectl: Kubectl) -> None:
    kubectl.answer({ANNOTATION_ROTATE_KEYS: "before"}, keys=keys(1, "Switching", "before"))
    running = await begin(kubectl)
    notes, request = kubectl.notes(), asked(kubectl)
    kubectl.answer(notes, keys=keys(1, "Retiring", "before", **SINCE))
    await asyncio.sleep(0.5)
    assert not running.done()
    kubectl.answer(notes, keys=keys(2, "Retiring", request, **SINCE))
    assert await running == DONE


@pytest.mark.parametrize("taken", ["the annotation is taken away", "the record is lost"])
async def test_a_request_that_nobody_will_act_on_is_told_at_once(kubectl: Kubectl, taken: str) -> None:
    running = await begin(kubectl)
    lost = taken == "the record is lost"
    notes = kubectl.notes() if lost else {}
    kubectl.answer(notes, keys=keys(1, "Settled", asked(kubectl) if lost else "before", **SINCE))
    done = await asyncio.wait_for(running, 5)
    assert (done.code, done.out, done.err.endswith("before it was acted on: ask again\n")) == (1, "", True)


async def test_it_tells_what_the_rotation_waits_for(kubectl: Kubectl) -> None:
    blocked = {
        "type": "KeysCurrent",
        "status": "False",
        "reason": "RotationBlocked",
        "message": "p is silent",
    }
    running = await begin(kubectl, "--timeout", "1")
    kubectl.answer(kubectl.notes(), keys=keys(1, "Preparing", asked(kubectl)), conditions=[blocked])
    assert await running == Done(6, "", "Error: after 1 s still waiting for the proxies: p is silent\n")


async def test_without_waiting_it_asks_once(kubectl: Kubectl) -> None:
    said = Done(0, "shop  rotation of its keys asked for\n", "")
    assert await kubectl.run("keys", "rotate", "shop", "--no-wait") == said
    request = asked(kubectl)
    assert await kubectl.run("keys", "rotate", "shop", "--no-wait") == said._replace(err=JOINED)
    assert asked(kubectl) == request
    kubectl.answer(kubectl.notes(), keys=keys(2, "Retiring", request, **SINCE))
    assert await kubectl.run("keys", "rotate", "shop", "--no-wait") == said
    assert asked(kubectl) > request


async def test_two_commands_before_an_operator_end_together_with_one_new_key(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    kubectl = Kubectl(api, tmp_path / "kubeconfig")
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p", "q") as (one, two):
            await hear(site, one, two)
            first = await begin(kubectl)
            await hear(site, one, two)
            assert phase(api) == (0, "Preparing")
            second = await join(kubectl)
            for _ in range(3):
                await follow(site, one, two)
            assert [done.out.partition(";")[0] for done in (await first, await second)] == [
                "shop  every proxy signs with the key of epoch 1"
            ] * 2
            assert phase(api) == (1, "Retiring")
