"""What the lab says when it can't do what it was asked: what is wrong, where, what to do."""

import io
import os
import shutil
from pathlib import Path

import pytest

from lab import cli
from lab.choose import choose_name
from lab.current import CurrentCluster
from lab.errors import CommandFailed, LabError
from lab.kind import require_program
from lab.native import machines, ownership, prerequisites
from lab.native.faults import node_named
from lab.native.machines import Machine
from lab.native.prerequisites import Tool
from lab.native.processes import Process
from lab.native.site import require_visible
from lab.paths import Places
from lab.progress import SILENT, Progress
from lab.provider import Fault, FaultKind, parse_fault

NOWHERE = Tool("no-such-program", "no-such-package")


def test_kind_is_chosen_where_docker_answers_and_native_elsewhere() -> None:
    assert choose_name({}, lambda: True) == "kind"
    assert choose_name({}, lambda: False) == "native"


def test_the_environment_chooses_without_asking_docker() -> None:
    def unasked() -> bool:
        raise AssertionError("docker was asked")

    assert choose_name({"STICKY_PROVIDER": "current"}, unasked) == "current"


def test_an_unknown_provider_is_refused_with_the_names() -> None:
    with pytest.raises(
        LabError, match="STICKY_PROVIDER=minikube is unknown; use one of kind, native, current"
    ):
        choose_name({"STICKY_PROVIDER": "minikube"}, lambda: False)


def test_without_root_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root") as error:
        prerequisites.require_root()
    assert "\n" not in str(error.value)


def test_missing_tools_are_named_with_the_command_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError) as error:
        prerequisites.ensure([NOWHERE, Tool("sh", "dash")], SILENT)
    assert str(error.value) == (
        "missing on this machine: no-such-program; run as root: "
        "apt-get install --yes --no-install-recommends no-such-package"
    )


def test_tools_that_are_here_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    prerequisites.ensure([Tool("sh", "dash"), Tool("/proc/self/stat", "-")], SILENT)


def test_a_missing_program_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LabError, match="kind is not installed; get it with: go install"):
        require_program("kind", "go install sigs.k8s.io/kind@latest")


def test_a_cache_that_the_machines_would_hide_is_refused() -> None:
    with pytest.raises(LabError, match="the cache /var/lib/x lies below /var/lib: set STICKY_CACHE"):
        require_visible(Path("/var/lib/x"))
    require_visible(Path("/root/.cache/sticky-routing"))


def test_a_cluster_of_another_checkout_is_named() -> None:
    process = Process(1, 0, 0, ("bash", "machine-init.sh", "cp", "/cache/cluster", "/theirs"))
    machine = Machine("cp", Path("/cache/cluster"), Path("/theirs"), process)
    ownership.require_ours(machine, Places(Path("/theirs"), Path("/cache")))
    with pytest.raises(LabError, match=r"checkout /theirs is up .* `make cluster-down` there"):
        ownership.require_ours(machine, Places(Path("/mine"), Path("/cache")))


def test_machines_are_read_from_their_command_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("bash", "/x/machine-init.sh", "n1", "/cache/cluster", "/checkout")
    table = [
        Process(7, 1, 5, argv),
        Process(6, 1, 5, ("unshare", "--pid", "--", *argv)),
        Process(8, 1, 5, ("bash", "/x/another.sh", "n1", "/cache/cluster", "/checkout")),
        Process(9, 1, 5, ("bash", "/x/machine-init.sh", "cp", "/cache/cluster", "/checkout", "lifeline")),
    ]
    monkeypatch.setattr(machines, "processes", lambda: iter(table))
    found = list(machines.running())
    assert [(m.name, m.process.pid, m.has_lifeline) for m in found] == [("n1", 7, False), ("cp", 9, True)]


@pytest.mark.parametrize(
    ("verb", "nodes", "fault"),
    [
        ("node-off", ["n1"], Fault(FaultKind.NODE_OFF, ("n1",))),
        ("link-cut", ["n1", "n2"], Fault(FaultKind.LINK_CUT, ("n1", "n2"))),
        ("api-down", [], Fault(FaultKind.API_DOWN)),
    ],
)
def test_faults_are_read_from_the_command_line(verb: str, nodes: list[str], fault: Fault) -> None:
    assert parse_fault(verb, nodes) == fault


@pytest.mark.parametrize(
    ("verb", "nodes", "message"),
    [
        ("melt", [], "no fault 'melt'; there are node-off, node-on"),
        ("node-off", [], "fault node-off takes 1 different node names, got 0"),
        ("link-cut", ["n1", "n1"], "fault link-cut takes 2 different node names, got 2: n1 n1"),
    ],
)
def test_a_wrong_fault_is_refused_with_what_is_right(verb: str, nodes: list[str], message: str) -> None:
    with pytest.raises(LabError, match=message):
        parse_fault(verb, nodes)


def test_an_unknown_node_is_refused_with_the_names() -> None:
    with pytest.raises(LabError, match="no node 'n9'; there are n1, n2, n3"):
        node_named("n9")


def test_the_users_own_cluster_is_never_broken_and_needs_pushed_images() -> None:
    cluster = CurrentCluster({"KUBECONFIG": "/a:/b"})
    assert cluster.kubeconfig == Path("/a")
    with pytest.raises(LabError, match="node-off: not on a cluster that the lab did not make"):
        cluster.fault(Fault(FaultKind.NODE_OFF, ("n1",)))
    with pytest.raises(LabError, match="STICKY_IMAGE_TAG is not set: push the images"):
        cluster.images(SILENT)
    told = CurrentCluster({"STICKY_IMAGE_PREFIX": "r.example/x", "STICKY_IMAGE_TAG": "1"})
    assert told.images(SILENT)["proxy"] == "r.example/x/proxy:1"


def test_a_failed_command_shows_the_end_of_its_output() -> None:
    failure = CommandFailed(["a", "b"], 3, "\n".join(str(line) for line in range(30)))
    assert str(failure).startswith("`a b` ended with 3:\n10\n11\n")


def test_errors_become_one_message_and_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STICKY_PROVIDER", "minikube")
    assert cli.main(["status"]) == 1
    assert (
        capsys.readouterr().err
        == "lab: STICKY_PROVIDER=minikube is unknown; use one of kind, native, current\n"
    )


def test_a_long_command_shows_a_sign_of_life_every_few_seconds() -> None:
    times = iter([0.0, 1.0, 2.0, 5.0, 5.0, 5.0, 6.0])
    out = io.StringIO()
    pulse = Progress(out=out, clock=lambda: next(times), every=3.0).pulse("Kubernetes")
    for line in ("one", "two", "three"):
        pulse(line)
    assert out.getvalue() == "   5.0 s  Kubernetes: 2 lines so far, now two\n"
