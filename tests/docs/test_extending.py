"""docs/extending.md, run."""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ganforge.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_page_runs(tmp_path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S))
    rng = np.random.default_rng(0)
    given = 'data, folder = "fashion-mnist-mini", Path("runs")'
    assert given in code, "the page says where its data come from"
    code = code.replace(given, "")
    names = {"data": rng.integers(0, 255, (64, 16, 16), dtype=np.uint8), "folder": tmp_path}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["pictures"].shape == (4, 1, 16, 16)  # type: ignore[union-attr]


def test_its_recipe_as_a_file_on_the_command_line(tmp_path, capsys, monkeypatch):
    """The imports, MyGAN and `mine` of the page in a file; trained, resumed and sampled by name."""
    page = ast.parse("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)))
    wanted = [
        n
        for n in page.body
        if isinstance(n, ast.Import | ast.ImportFrom)
        or (isinstance(n, ast.ClassDef) and n.name == "MyGAN")
        or (isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "mine")
    ]
    (tmp_path / "mine.py").write_text(ast.unparse(ast.Module(wanted, [])))
    data = np.random.default_rng(0).integers(0, 255, (64, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "data.npy", data)
    monkeypatch.chdir(tmp_path)

    def ganforge(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ganforge", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    mine = ("--recipe", "./mine.py:mine")
    assert ganforge("train", "data.npy", *mine, "--run", "r", "--steps", "1") == 0
    assert ganforge("resume", "r", *mine, "--steps", "2") == 0
    assert ganforge("sample", "r", *mine, "--count", "4", "--out", "s.npy") == 0
    assert np.load("s.npy").shape == (4, 1, 16, 16)
    capsys.readouterr()
    assert ganforge("sample", "r", "--count", "4", "--out", "t.npy") == 2
    assert "mine" in capsys.readouterr().err
