"""The demo from beginning to end."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from apps.verifier import Result
from demo import install
from demo.board import Board, make_check_table, make_phase_table
from demo.counts import parse_status
from demo.kube import Kubectl, KubectlError, TooLateError
from demo.measure import (
    measure_counts,
    measure_delays,
    measure_failovers,
    measure_idle,
    measure_memory,
    measure_writes,
)
from demo.pods import list_pods
from demo.settings import (
    NAMESPACE,
    OPERATOR_SELECTOR,
    PROXY_SELECTOR,
    REPORT,
    SHOP,
    SHOP_SELECTOR,
    SYSTEM,
    Settings,
)
from demo.show import Show
from demo.traffic import Traffic, in_pod, make_settings, on_host, reached, reached_in_all
from demo.troubles import PHASES, Stage
from demo.verdict import Check, Held, Measured, judge, make_report
from lab.progress import Progress
from lab.provider import Provider, VerifierPlace

PHASE_PATIENCE = 180.0
SHOWN_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Demo:
    """One run of the demo."""

    provider: Provider
    kubectl: Kubectl
    settings: Settings
    show: Show
    board: Board = field(default_factory=Board)

    async def run(self) -> list[Check]:
        """Everything; returns the checks and leaves the cluster up."""
        self.show.say(f"cluster ({self.provider.name})")
        await asyncio.to_thread(self.provider.up, Progress())
        self.show.say("images")
        images = await asyncio.to_thread(self.provider.images, Progress())
        await install.install(self.kubectl, self.provider.kubeconfig, images, self.show.say)
        measured = Measured()
        result = await self._traffic(images, measured)
        checks = judge(result, measured, self.settings)
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(
            json.dumps(make_report(result, measured, checks), indent=2) + "\n", encoding="utf-8"
        )
        self._conclude(result, checks)
        return checks

    async def _traffic(self, images: Mapping[str, str], measured: Measured) -> Result:
        """All phases under the verifier's traffic, then the figures that need their own."""
        async with await self._verifier(images) as traffic:
            stage = Stage(self.kubectl, self.settings, self.show.say, traffic, measured)
            try:
                async with self.show.watching(lambda: self._look(traffic)):
                    await self._phases(stage, traffic)
                    await measure_memory(stage, measured)
                result = await traffic.stop()
                await measure_counts(stage, result, measured)
                await measure_failovers(stage, result, measured)
                await self._measure(stage, traffic, measured)
            except (KubectlError, TooLateError) as error:
                measured.failures.append(str(error)[:200])
                result = await traffic.stop()
            return result

    async def _phases(self, stage: Stage, traffic: Traffic) -> None:
        """The phases in order, each with enough verified requests."""
        for number, (name, trouble) in enumerate(PHASES):
            self.show.say(f"phase {number + 1} of {len(PHASES)}: {name}")
            if number:
                await traffic.phase(name)
            await trouble(stage)
            await reached(traffic, self.settings.least, PHASE_PATIENCE)
        await reached_in_all(traffic, self.settings.total, PHASE_PATIENCE)

    async def _measure(self, stage: Stage, traffic: Traffic, measured: Measured) -> None:
        """Figures without the verifier's sessions."""
        self.show.say("only new sessions from here on: how soon do pods get them, how soon no more?")
        await measure_delays(stage, traffic, measured)
        await measure_idle(stage, self.provider.audit_log, measured)
        await measure_writes(stage, self.provider.audit_log, measured)

    async def _verifier(self, images: Mapping[str, str]) -> AbstractAsyncContextManager[Traffic]:
        """The verifier where it can reach pods: here or in a pod."""
        settings = make_settings(self.settings, await install.service_target(self.kubectl))
        if self.provider.verifier_place is VerifierPlace.HOST:
            return on_host(settings)
        return in_pod(self.kubectl, settings, images["apps"])

    async def _look(self, traffic: Traffic) -> Board:
        """The board now; pods that cannot be read just now are left as they were."""
        self.board.result = await traffic.snapshot()
        try:
            shops, proxies, operators, sticky = await asyncio.gather(
                list_pods(self.kubectl, NAMESPACE, SHOP_SELECTOR),
                list_pods(self.kubectl, NAMESPACE, PROXY_SELECTOR),
                list_pods(self.kubectl, SYSTEM, OPERATOR_SELECTOR),
                self.kubectl.get("stickyservice", SHOP, "-n", NAMESPACE),
            )
        except KubectlError:
            return self.board
        self.board.shops, self.board.proxies, self.board.operators = shops, proxies, operators
        self.board.counted = parse_status(sticky)
        return self.board

    def _conclude(self, result: Result, checks: list[Check]) -> None:
        """Summary, and what can be looked at."""
        self.show.table(make_phase_table(result))
        self.show.table(make_check_table(checks))
        for figures in result.phases:
            for sample in figures.samples[:SHOWN_SAMPLES]:
                self.show.say(f"{figures.name}: session {sample.session} {sample.kind}: {sample.text}")
        broken = [check.what for check in checks if check.held is Held.NO]
        self.show.say(
            f"{len(broken)} promises broken: {', '.join(broken)}" if broken else "every promise kept"
        )
        self.show.say(f"figures: {REPORT}")
        self._invite()

    def _invite(self) -> None:
        """Commands to look around with."""
        self.show.say("the cluster stays up; look around:")
        for command in (
            f"export KUBECONFIG={self.provider.kubeconfig}",
            f"{self.provider.kubectl} get stickyservices -A",
            f"{self.provider.kubectl} describe stickyservice shop -n {NAMESPACE}",
            f"{self.provider.kubectl} get pods -n {NAMESPACE} -o wide",
            "make demo-down",
        ):
            self.show.say(f"  {command}")
