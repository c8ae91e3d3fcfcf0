"""docs/architecture.md's order of the parts is the order in which they import each other."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ganforge"


def order() -> list[str]:
    page = (ROOT / "docs" / "architecture.md").read_text()
    said = "".join(line[1:] for line in page.splitlines() if line.startswith(">"))
    return re.findall(r"\w+", said)


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Parts of ganforge that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("ganforge.")}
    return found - {"__version__"}


def test_the_page_names_every_part():
    parts = {part_of(p) for p in SOURCE.rglob("*.py")} - {"__init__", "__main__"}
    assert sorted(order()) == sorted(parts)


@pytest.mark.parametrize("part", order())
def test_a_part_imports_only_from_those_before_it(part):
    before = {*order()[: order().index(part)], part}
    for path in SOURCE.rglob("*.py"):
        if part_of(path) == part:
            later = imported(path) - before
            assert not later, f"{path.relative_to(ROOT)} imports {', '.join(sorted(later))}"
