"""A launcher of the images ends at a signal that comes before its program can handle one."""

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHERS = Path(__file__).parents[2] / "deploy/images/launchers.py"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_during_the_imports_ends_the_program_as_one_that_was_asked_to(
    tmp_path: Path, number: signal.Signals
) -> None:
    spec = importlib.util.spec_from_file_location("launchers", LAUNCHERS)
    assert spec is not None
    assert spec.loader is not None
    launchers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launchers)
    (tmp_path / "slow.py").write_text(
        "print('importing', flush=True)\nimport time\ntime.sleep(60)\nmain = print\n"
    )
    script = tmp_path / "launcher"
    script.write_text(launchers.LAUNCHER.format(python=sys.executable, module="slow", function="main"))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == 0
