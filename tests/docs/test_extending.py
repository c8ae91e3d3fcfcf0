"""docs/extending.md, run."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_page_runs(tmp_path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S))
    rng = np.random.default_rng(0)
    names = {"data": rng.integers(0, 255, (64, 16, 16), dtype=np.uint8), "folder": tmp_path}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["pictures"].shape == (4, 1, 16, 16)  # type: ignore[union-attr]
