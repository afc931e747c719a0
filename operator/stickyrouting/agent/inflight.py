"""Requests and WebSockets in flight, in all workers: count them, and close some of them."""

from stickyrouting.haproxy.commands import ShowStat
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.haproxy.session_commands import ShowSessions, ShutdownSession
from stickyrouting.render.haproxy_names import APP, FALLBACK


async def count_in_flight(master: MasterClient) -> int:
    """Return their number, those that wait for a server included; raises StickyError."""
    answers = await master.every_worker(ShowStat())
    totals = [line for lines in answers.values() for line in lines if line.server == "BACKEND"]
    return sum(line.scur + line.qcur for line in totals if line.proxy in (APP, FALLBACK))


async def close_connections(master: MasterClient, count: int) -> int:
    """Close at most ``count`` of them, the oldest workers' first; return how many were; raises StickyError."""
    answers = await master.every_worker(ShowSessions((APP, FALLBACK)))
    found = [(pid, pointer) for pid, pointers in reversed(answers.items()) for pointer in pointers][:count]
    for pid, pointer in found:
        await master.worker(pid).run(ShutdownSession(pointer))
    return len(found)
