"""Tables in docs are generated from committed results."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["modes", "restoration", "translation"])
def test_a_table_is_what_the_results_say(name: str) -> None:
    made = benchmark(name)
    assert made.PAGE.read_text() == made.page()
    assert any(made.RESULTS.glob("*.json"))
