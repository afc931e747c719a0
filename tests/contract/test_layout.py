"""The layout's laws that no linter knows: what may not exist, and how large a function, a file, a signature may be."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[2]
ROOTS = ("operator", "tests")
MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 400
MAX_PARAMETERS = 5
VAGUE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A Python file with its syntax tree."""

    path: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        """Path below the checkout."""
        return str(self.path.relative_to(CHECKOUT))


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    paths = sorted(path for root in ROOTS for path in (CHECKOUT / root).rglob("*.py"))
    assert paths
    return [Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def functions(module: Module) -> Iterator[Function]:
    """Yield every function and method of a module."""
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines of a function from its ``def`` to its end, less its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    return lines - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)


def parameters(function: Function) -> int:
    """Parameters that a caller may give; ``self`` and ``cls`` are not."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return len([argument for argument in named if argument.arg not in {"self", "cls"}])


def is_test(function: Function) -> bool:
    """Test functions and fixtures take their surroundings as parameters: they are not called by hand."""
    decorators = {ast.unparse(decorator).split("(")[0] for decorator in function.decorator_list}
    return function.name.startswith("test_") or "pytest.fixture" in decorators


def test_nothing_in_the_source_root_shadows_the_standard_operator_module() -> None:
    source = CHECKOUT / "operator"
    assert not (source / "__init__.py").exists()
    assert list(source.rglob("operator.py")) == []


def test_no_module_has_a_name_that_says_nothing(modules: list[Module]) -> None:
    vague = [m.name for m in modules if VAGUE & {m.path.stem, *m.path.relative_to(CHECKOUT).parts}]
    assert vague == []


def test_every_package_opens_with_its_law(modules: list[Module]) -> None:
    packages = [module for module in modules if module.path.name == "__init__.py"]
    assert [m.name for m in packages if not ast.get_docstring(m.tree)] == []


def test_every_folder_of_the_product_is_a_package() -> None:
    folders = {path.parent for path in (CHECKOUT / "operator" / "stickyrouting").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_module_of_the_product_says_what_it_is_for(modules: list[Module]) -> None:
    product = [module for module in modules if module.name.startswith("operator/")]
    assert [m.name for m in product if not ast.get_docstring(m.tree)] == []


def test_no_file_is_longer_than_four_hundred_lines(modules: list[Module]) -> None:
    long = {
        m.name: lines for m in modules if (lines := len(m.path.read_text().splitlines())) > MAX_FILE_LINES
    }
    assert long == {}


def test_no_function_is_longer_than_fifty_lines(modules: list[Module]) -> None:
    long = {
        f"{module.name}:{function.lineno} {function.name}": lines
        for module in modules
        for function in functions(module)
        if (lines := length(function)) > MAX_FUNCTION_LINES
    }
    assert long == {}


def test_no_function_takes_more_than_five_parameters(modules: list[Module]) -> None:
    broad = {
        f"{module.name}:{function.lineno} {function.name}": count
        for module in modules
        for function in functions(module)
        if (count := parameters(function)) > MAX_PARAMETERS and not is_test(function)
    }
    assert broad == {}
