"""Tables in docs are generated from committed results."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_modes_is_what_the_results_say():
    spec = importlib.util.spec_from_file_location("modes", ROOT / "benchmarks" / "modes.py")
    assert spec is not None
    assert spec.loader is not None
    modes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(modes)
    assert (ROOT / "docs" / "modes.md").read_text() == modes.page()
