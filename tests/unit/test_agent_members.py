"""Where the agent looks for others: DNS, or the list that it was given."""

import pytest

from stickyrouting.agent.members import Seeds
from stickyrouting.agent.settings import Settings, parse_settings
from stickyrouting.mesh.messages import Address

POD = {"POD_NAME": "shop-sticky-1", "POD_NAMESPACE": "demo", "STICKY_NAME": "shop", "POD_IP": "10.0.0.1"}


def settings(**more: str) -> Settings:
    return parse_settings({**POD, **more})


class Dns:
    """A name server with one answer."""

    def __init__(self, *addresses: str) -> None:
        self.answer: set[str] | OSError = set(addresses)
        self.asked: list[tuple[str, int]] = []

    async def look_up(self, host: str, port: int) -> set[str]:
        self.asked.append((host, port))
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


async def test_dns_is_asked_for_all_proxies_and_the_own_address_left_out() -> None:
    dns = Dns("10.0.0.1", "10.0.0.2", "fd00:0::2")
    seeds = Seeds(settings(), dns.look_up)
    await seeds.ask()
    assert dns.asked == [("shop-sticky-all", 8444)]
    assert seeds.current == (Address("10.0.0.2", 8444), Address("fd00::2", 8444))


async def test_nothing_is_known_before_the_first_answer() -> None:
    dns = Dns()
    dns.answer = OSError("no such name")
    seeds = Seeds(settings(), dns.look_up)
    await seeds.ask()
    assert seeds.current is None


async def test_a_name_server_that_fails_leaves_the_last_answer(caplog: pytest.LogCaptureFixture) -> None:
    dns = Dns("10.0.0.2")
    seeds = Seeds(settings(), dns.look_up)
    await seeds.ask()
    dns.answer = OSError("no such name")
    await seeds.ask()
    await seeds.ask()
    assert seeds.current == (Address("10.0.0.2", 8444),)
    assert caplog.messages == ["no addresses of other proxies, shop-sticky-all is not resolved: no such name"]


async def test_an_answer_without_others_is_an_answer() -> None:
    seeds = Seeds(settings(), Dns("10.0.0.1").look_up)
    await seeds.ask()
    assert seeds.current == ()


async def test_a_given_list_is_taken_as_it_is_and_dns_not_asked() -> None:
    dns = Dns("10.0.0.2")
    seeds = Seeds(settings(STICKY_PEERS="10.0.0.3:9,[fd00::3]:9"), dns.look_up)
    await seeds.run()
    assert seeds.current == (Address("10.0.0.3", 9), Address("fd00::3", 9))
    assert dns.asked == []


def test_an_empty_list_means_that_there_are_no_others_and_no_list_that_dns_knows() -> None:
    assert settings(STICKY_PEERS="").peers == ()
    assert settings().peers is None
