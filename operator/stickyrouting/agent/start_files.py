"""The files that a HAProxy starts from.

Law: a HAProxy that is restarted at any moment starts. Settings stand in the files only once a worker runs with them,
while a reload tries them, or while nothing runs that could try them; settings that HAProxy refused are taken back.
Endpoints, keys and weights are always the newest.
"""

from dataclasses import dataclass
from pathlib import Path

from stickyrouting.agent.files import write_atomically, write_if_changed
from stickyrouting.agent.running import Running
from stickyrouting.agent.target import Target, render_files, settings_of, started_with, with_settings
from stickyrouting.model.desired import Desired, encode_desired
from stickyrouting.planner.reload import reload_reasons
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapEntry, MapName


@dataclass(frozen=True, slots=True)
class StartFiles:
    """Writes them below the run directory, which outlives both containers; every method raises OSError."""

    settings: ProxySettings

    def keep(self, target: Target, running: Running | None) -> None:
        """Write what a HAProxy that is restarted now shall start from."""
        self.write(self._startable(target, running))

    def write(self, target: Target) -> None:
        """Write the files of ``target``, for a reload to try."""
        for path, text in render_files(target, self.settings).items():
            write_if_changed(Path(path), text.encode())

    def take_back(self, target: Target, running: Running) -> None:
        """Note that HAProxy refused the settings of ``target``, also for the agents to come."""
        write_atomically(self._refused, encode_desired(settings_of(target.desired)))
        self.keep(target, running)

    @property
    def _refused(self) -> Path:
        return Path(self.settings.run) / "refused.json"

    def _startable(self, target: Target, running: Running | None) -> Target:
        good = running.newest.started_with if running else self._last_good(target)
        if good is None or not reload_reasons(good, target.desired):
            return target
        return with_settings(target, good)

    def _last_good(self, target: Target) -> Desired | None:
        """Return the settings of the files if those of ``target`` were refused, so that nothing else may run."""
        try:
            if self._refused.read_bytes() != encode_desired(settings_of(target.desired)):
                return None
            lines = Path(self.settings.map_path(MapName.STATE)).read_text().splitlines()
        except FileNotFoundError:
            return None
        return started_with(tuple(MapEntry(*line.split(" ", 1)) for line in lines))
