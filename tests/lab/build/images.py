"""Which images there are, what goes into each, and its tag: a hash of all that goes in."""

from dataclasses import dataclass
from pathlib import Path

from lab.build.cache import key_of_files

PROJECT = ("pyproject.toml", "uv.lock")
IMAGES_FOLDER = "deploy/images"


@dataclass(frozen=True)
class Image:
    """An image to build from the checkout's root: its Dockerfile, the stage (None: the last) and its inputs."""

    name: str
    dockerfile: str
    target: str | None
    inputs: tuple[str, ...]

    def files(self, checkout: Path) -> list[Path]:
        """Return the input files, without what Python leaves beside its sources."""
        found = []
        for entry in (*self.inputs, self.dockerfile, self.ignorefile):
            path = checkout / entry
            found += [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
        return sorted({f for f in found if "__pycache__" not in f.parts})

    def tag(self, checkout: Path) -> str:
        """Return the tag: the same files give the same tag, and a tag never changes its content."""
        return key_of_files(self.files(checkout), checkout)

    @property
    def ignorefile(self) -> str:
        """Return the file that says what stays out of the build context."""
        return f"{self.dockerfile}.dockerignore"


_PRODUCT = (*PROJECT, f"{IMAGES_FOLDER}/launchers.py", "operator/stickyrouting")
IMAGES = (
    Image("operator", f"{IMAGES_FOLDER}/Dockerfile", "operator", _PRODUCT),
    Image("proxy", f"{IMAGES_FOLDER}/Dockerfile", "proxy", _PRODUCT),
    Image("apps", "tests/apps/Dockerfile", None, (*PROJECT, "tests/apps")),
)
