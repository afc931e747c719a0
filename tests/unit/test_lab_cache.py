"""The lab's cache: names by content, nothing unfinished is ever taken."""

import threading
from pathlib import Path

import pytest

from lab.build.cache import Artefact, ensure, key_of, key_of_files
from lab.build.golang import COREDNS, KUBERNETES, SOURCES
from lab.build.images import IMAGES, Image
from lab.paths import Places, places

ARTEFACT = Artefact("thing", "0123456789abcdef")


def test_where_one_part_ends_matters_to_the_key() -> None:
    assert key_of([b"ab", b"c"]) != key_of([b"a", b"bc"])
    assert key_of([b"ab", b"c"]) == key_of([b"ab", b"c"])


def test_the_key_of_files_follows_names_modes_and_contents(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    first = key_of_files([file], tmp_path)
    file.write_text("two")
    second = key_of_files([file], tmp_path)
    file.chmod(0o755)
    third = key_of_files([file], tmp_path)
    renamed = file.rename(tmp_path / "b")
    fourth = key_of_files([renamed], tmp_path)
    assert len({first, second, third, fourth}) == 4


def test_a_complete_artefact_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []
    for _ in range(2):
        folder = ensure(tmp_path, ARTEFACT, made.append)
    assert folder == tmp_path / "thing-0123456789abcdef"
    assert len(made) == 1


def test_an_interrupted_build_is_never_taken(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path, ARTEFACT, interrupted)
    assert not ARTEFACT.folder(tmp_path).exists()
    folder = ensure(tmp_path, ARTEFACT, lambda new: (new / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_two_that_want_the_same_artefact_build_it_once(tmp_path: Path) -> None:
    made: list[Path] = []
    building, finish = threading.Event(), threading.Event()

    def slowly(folder: Path) -> None:
        made.append(folder)
        building.set()
        finish.wait(10)

    threads = [threading.Thread(target=ensure, args=(tmp_path, ARTEFACT, slowly)) for _ in range(2)]
    threads[0].start()
    assert building.wait(10)
    threads[1].start()
    finish.set()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1


def test_the_go_modules_are_complete_and_pinned() -> None:
    for module in (KUBERNETES, COREDNS):
        assert {"go.mod", "go.sum"} <= {path.name for path in module.source.iterdir()}
    text = (SOURCES / "kubernetes" / "go.mod").read_text()
    assert "k8s.io/kubernetes v1.35.4" in text
    assert KUBERNETES.artefact.name == "kubernetes"


def test_an_image_tag_follows_its_inputs_and_ignores_bytecode(tmp_path: Path) -> None:
    for name in ("source/a.py", "Dockerfile", "Dockerfile.dockerignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    image = Image("x", "Dockerfile", None, ("source",))
    first = image.tag(tmp_path)
    (tmp_path / "source/__pycache__").mkdir()
    (tmp_path / "source/__pycache__/a.pyc").write_text("bytecode")
    (tmp_path / "elsewhere").write_text("not an input")
    assert image.tag(tmp_path) == first
    (tmp_path / "source/b.py").write_text("new")
    second = image.tag(tmp_path)
    (tmp_path / "Dockerfile").write_text("changed")
    assert len({first, second, image.tag(tmp_path)}) == 3


def test_every_input_of_an_image_is_in_the_checkout() -> None:
    checkout = places().checkout
    missing = [entry for image in IMAGES for entry in image.inputs if not (checkout / entry).exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HOME": "/home/u"}, "/home/u/.cache/sticky-routing"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "/x"}, "/x/sticky-routing"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "/x", "STICKY_CACHE": "/y"}, "/y"),
    ],
)
def test_the_cache_is_where_the_environment_says(environ: dict[str, str], cache: str) -> None:
    assert places(environ, Path("/checkout")) == Places(Path("/checkout"), Path(cache))


def test_the_kubeconfig_belongs_to_the_checkout_and_the_cluster_to_the_cache() -> None:
    here = Places(Path("/checkout"), Path("/cache"))
    assert str(here.kubeconfig) == "/checkout/build/kubeconfig"
    assert str(here.state) == "/cache/cluster"
