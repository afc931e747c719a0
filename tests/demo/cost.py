"""Memory and CPU of processes in pods, read from /proc of their containers. Parsing is pure (proc(5))."""

import asyncio
from dataclasses import dataclass

from demo.kube import Kubectl
from demo.pods import list_pods

TICKS = 100  # USER_HZ: the unit of utime and stime in /proc/PID/stat, 100 on all Linux architectures


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one process in MiB: now and at its peak."""

    pod: str
    now: float
    peak: float


def parse_memory(pod: str, status: str) -> Memory:
    """Memory from /proc/PID/status."""
    kib = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    return Memory(pod, round(int(kib["VmRSS"]) / 1024, 1), round(int(kib["VmHWM"]) / 1024, 1))


def parse_cpu(stat: str) -> float:
    """Seconds of CPU used so far, from /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def memory_of(kubectl: Kubectl, namespace: str, selector: str, container: str) -> list[Memory]:
    """Memory of the first process of ``container`` in every pod."""
    pods = [pod.name for pod in await list_pods(kubectl, namespace, selector) if container in pod.containers]
    texts = await asyncio.gather(*(kubectl.read(namespace, pod, container, "/proc/1/status") for pod in pods))
    return [parse_memory(pod, text) for pod, text in zip(pods, texts, strict=True)]


async def cpu_of(kubectl: Kubectl, namespace: str, selector: str, container: str) -> dict[str, float]:
    """Seconds of CPU of the first process of ``container`` in every pod."""
    pods = [pod.name for pod in await list_pods(kubectl, namespace, selector) if container in pod.containers]
    texts = await asyncio.gather(*(kubectl.read(namespace, pod, container, "/proc/1/stat") for pod in pods))
    return {pod: parse_cpu(text) for pod, text in zip(pods, texts, strict=True)}


def shares(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """Percent of one CPU that each process used between two readings, for those in both."""
    return {pod: round(100.0 * (after[pod] - before[pod]) / seconds, 2) for pod in before if pod in after}
