"""The API server as the verbs need it: StickyServices read and annotated, each failure told to a person."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from stickyrouting.cli import objections
from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.kubeconfig import Target, find_target
from stickyrouting.cli.options import Where
from stickyrouting.kube.answers import read_answer
from stickyrouting.kube.server_clock import ServerClock
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError
from stickyrouting.watch.kinds import STICKY_SERVICE
from stickyrouting.watch.requests import NETWORK_FAULTS, describe

TIMEOUT = 10.0
FIELD_MANAGER = "kubectl-sticky"

Body = dict[str, Any]
T = TypeVar("T")


class Cluster:
    """The StickyServices of one cluster, as its user may see them; raises :class:`Failure`.

    ``clock`` is the API server's, as its answers tell it.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.clock = ServerClock()

    @property
    def namespace(self) -> str:
        """The namespace meant."""
        return self.target.namespace

    async def get(self, name: str) -> Body:
        """Return a StickyService."""
        try:
            return await self.send("GET", STICKY_SERVICE.path(self.namespace, name))
        except NotFound as error:
            raise await self._missing(name, error) from error

    async def here(self) -> list[Body]:
        """Return those of the namespace."""
        return await self._list(self.namespace)

    async def everything(self) -> list[Body]:
        """Return those of all namespaces."""
        return await self._list(None)

    async def annotate(self, body: Body, annotations: Mapping[str, str | None]) -> bool:
        """Change annotations of a StickyService as it was read; return False if it has changed since."""
        meta = body["metadata"]
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"], "annotations": dict(annotations)}}
        path = STICKY_SERVICE.path(self.namespace, meta["name"])
        try:
            await self.send("PATCH", path, patch)
        except Changed:
            return False
        except NotFound as error:
            raise await self._missing(meta["name"], error) from error
        return True

    async def _list(self, namespace: str | None) -> list[Body]:
        try:
            found: list[Body] = (await self.send("GET", STICKY_SERVICE.path(namespace))).get("items") or []
        except NotFound as error:
            raise objections.not_installed(self.target) from error
        return sorted(found, key=lambda body: (body["metadata"]["namespace"], body["metadata"]["name"]))

    async def send(
        self, method: str, path: str, body: Body | None = None, select: Mapping[str, str] | None = None
    ) -> Body:
        """Send a request, of a list with what it selects; raises Changed and NotFound for the caller to explain."""
        target = self.target
        sent = time.monotonic()
        query = {"fieldManager": FIELD_MANAGER} if body is not None else dict(select or {})
        try:
            async with target.connection.session.request(
                method,
                f"{target.connection.server}{path}",
                params=query,
                headers=self._headers(),
                data=None if body is None else msgspec.json.encode(body),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                server_hostname=target.server_name,
                proxy=target.proxy,
            ) as answer:
                self.clock.heard(answer.headers.get("Date", ""), sent)
                return read_answer(answer.status, answer.headers, await answer.read())
        except NETWORK_FAULTS as error:
            raise objections.no_answer(target, describe(error)) from error
        except Refused as error:
            raise objections.refused(target, method, error) from error
        except (Changed, NotFound):
            raise
        except StickyError as error:
            raise objections.useless_answer(target, str(error)) from error

    def _headers(self) -> list[tuple[str, str]]:
        return [
            ("Accept", "application/json"),
            ("Content-Type", "application/merge-patch+json"),
            ("User-Agent", FIELD_MANAGER),
            *self.target.headers,
            *self.target.connection.headers().items(),
        ]

    async def _missing(self, name: str, error: NotFound) -> Failure:
        """Return what is missing: the kind, or the object, and which there are."""
        if name not in str(error):
            return objections.not_installed(self.target)
        found = [body["metadata"]["name"] for body in await self.here()]
        there = (
            f"there are: {', '.join(found[:10])}" if found else "there is none; -n chooses another namespace"
        )
        return Failure(
            Exit.NOT_FOUND,
            f"no StickyService {name} in namespace {self.namespace} ({self.target.name}); {there}",
        )


def in_cluster(where: Where, work: Callable[[Cluster], Awaitable[T]]) -> T:
    """Do some work on the cluster that the options name."""
    target = find_target(where, os.environ)

    async def run() -> T:
        async with target.connection:
            return await work(Cluster(target))

    return asyncio.run(run())
