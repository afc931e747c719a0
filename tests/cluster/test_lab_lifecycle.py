"""The native cluster comes up, goes without a trace and survives what happens to those who start it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import footprint
from lab.native import machines
from lab.native.addresses import NODES
from lab.native.cluster import NativeCluster
from lab.native.network import HOST_LINK
from lab.native.prerequisites import CNI_PLUGINS
from lab.paths import CHECKOUT, places
from lab.progress import SILENT

pytestmark = pytest.mark.lab

PLACES = places()


@pytest.fixture
def clean() -> Iterator[footprint.Footprint]:
    """No cluster before and after the test; yields the footprint of the machine without one."""
    NativeCluster(PLACES).down(SILENT)
    yield footprint.take()
    NativeCluster(PLACES).down(SILENT)


def lab(*argv: str, checkout: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Run ``python -m lab`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "lab", *argv],
        env=environment(checkout),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def start_lab(*argv: str) -> subprocess.Popen[str]:
    """Start ``python -m lab`` and return at once; it can be interrupted, also where the tests run in the background."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "lab", *argv],
        env=environment(CHECKOUT),
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which ``lab`` is that checkout's."""
    return {**os.environ, "STICKY_PROVIDER": "native", "PYTHONPATH": str(checkout / "tests")}


def kill_when_it_says(process: subprocess.Popen[str], text: str) -> None:
    """Kill the process by SIGKILL as soon as a line of its progress contains the text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            break
    else:
        pytest.fail(f"ended without saying {text!r}")
    process.kill()
    process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until the condition holds; fails when late."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def first_processes() -> dict[str, int]:
    """Return the host pid of every machine's first process."""
    return {m.name: m.process.pid for m in machines.running() if m.state == PLACES.state}


def run_a_pod_on_every_node() -> None:
    """Start one pod per node, so that there are shims, mounts, rules and cgroups of pods to clean up."""
    for node in NODES:
        spec = f'{{"spec": {{"nodeName": "{node.name}"}}}}'
        image = ["--image=lab.local/pause:1", "--image-pull-policy=Never", f"--overrides={spec}"]
        made = lab("kubectl", "run", f"pod-{node.name}", *image)
        assert made.returncode == 0, made.stderr
    ready = lab("kubectl", "wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    assert ready.returncode == 0, ready.stderr


def test_up_twice_changes_nothing_and_down_leaves_nothing(clean: footprint.Footprint) -> None:
    first = lab("up")
    assert first.returncode == 0, first.stderr
    before = first_processes()
    assert sorted(before) == ["cp", "n1", "n2", "n3"]
    run_a_pod_on_every_node()
    second = lab("up")
    assert second.returncode == 0, second.stderr
    assert first_processes() == before
    status = lab("status")
    assert status.returncode == 0
    assert [line for line in status.stdout.splitlines() if line.startswith("node")] == [
        "node n1: Ready=True",
        "node n2: Ready=True",
        "node n3: Ready=True",
    ]
    assert lab("down").returncode == 0
    assert clean.differences(footprint.take()) == []
    assert not PLACES.state.exists()
    assert not PLACES.kubeconfig.exists()


def test_a_second_checkout_is_told_who_is_in_its_way(clean: footprint.Footprint, tmp_path: Path) -> None:
    assert lab("up").returncode == 0
    before = first_processes()
    shutil.copytree(CHECKOUT / "tests" / "lab", tmp_path / "tests" / "lab")
    for verb in ("up", "down"):
        refused = lab(verb, checkout=tmp_path)
        assert refused.returncode == 1
        assert f"a cluster of the checkout {CHECKOUT} is up on this machine" in refused.stderr
        assert "`make cluster-down` there" in refused.stderr
    assert first_processes() == before
    assert lab("down", "--foreign", checkout=tmp_path).returncode == 0
    assert clean.differences(footprint.take()) == []


def test_down_finds_a_cluster_whose_files_are_lost(clean: footprint.Footprint) -> None:
    assert lab("up").returncode == 0
    for lost in ("complete", "configs", "logs", "pki"):
        path = PLACES.state / lost
        path.unlink() if path.is_file() else shutil.rmtree(path)
    assert lab("down").returncode == 0
    assert clean.differences(footprint.take()) == []


@pytest.mark.parametrize("moment", ["control plane machine started", "API server ready"])
def test_a_starter_killed_half_way_is_in_nobodys_way(clean: footprint.Footprint, moment: str) -> None:
    kill_when_it_says(start_lab("up"), moment)
    assert first_processes() != {}
    assert lab("down").returncode == 0
    assert clean.differences(footprint.take()) == []


def test_up_goes_on_where_a_killed_starter_stopped(clean: footprint.Footprint) -> None:
    kill_when_it_says(start_lab("up"), "API server ready")
    again = lab("up")
    assert again.returncode == 0, again.stderr
    assert lab("status").returncode == 0


def test_a_cluster_with_a_lifeline_ends_with_its_starter(clean: footprint.Footprint) -> None:
    kill_when_it_says(start_lab("up", "--lifeline"), "the cluster ends with this process")
    wait_for(lambda: first_processes() == {})
    wait_for(lambda: HOST_LINK not in footprint.take().links)
    assert lab("down").returncode == 0
    assert clean.differences(footprint.take()) == []


def test_interrupting_from_the_keyboard_says_what_to_do(clean: footprint.Footprint) -> None:
    starter = start_lab("up")
    assert starter.stderr is not None
    starter.stderr.readline()
    starter.send_signal(signal.SIGINT)
    assert "`python -m lab down` removes what was started" in starter.stderr.read()
    assert starter.wait() == 1


def test_the_plugins_that_the_configuration_names_are_installed() -> None:
    assert {"bridge", "host-local", "loopback", "portmap"} <= {path.name for path in CNI_PLUGINS.iterdir()}
