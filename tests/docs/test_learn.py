"""docs/learn.md runs as it stands, and quotes the source as it is, in both languages."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

import pytest
from docpages import Block, blocks, execute, missing_quotes, page, quotes

ENGLISH, CHINESE = "docs/learn.md", "docs/learn.zh-CN.md"
GAN = "src/ganforge/objectives/gan.py"


def test_snippets_run_and_print_what_the_page_says() -> None:
    names: dict[str, Any] = {"__name__": "lesson"}
    assert execute(ENGLISH, names) >= 11
    # It is the package's own game that the reader was shown, and it was really played.
    assert type(names["game"]).__module__ == "ganforge.objectives.gan"
    assert len(names["curves"]) >= 300
    assert names["value"] == pytest.approx(-1.1635, abs=2e-3)


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_quoted_lines_stand_in_the_source(name: str) -> None:
    text = page(name)
    assert sum(len(runs) for _, runs in quotes(text)) >= 10
    assert missing_quotes(text) == []


def test_a_changed_line_is_noticed() -> None:
    text = page(ENGLISH)
    changed = text.replace("self.optimisers[player.name].step()", "self.optimiser.step()")
    assert changed != text
    assert any("self.optimiser.step()" in run for run in missing_quotes(changed))
    table = text.replace("`for _ in range(player.steps):`", "`for _ in range(player.moves):`")
    assert missing_quotes(table) == ["for _ in range(player.moves):"]
    assert missing_quotes(f"<!-- source: {GAN} -->\n```py\n```\n") == [f"nothing quoted of {GAN}"]


def test_lines_out_of_order_are_noticed() -> None:
    """Two lines that both exist, but not one after the other."""
    text = (
        f"<!-- source: {GAN} -->\n```py\nclass GAN(TwoPlayer):\nfrom torch import Tensor, nn\n```"
    )
    assert len(missing_quotes(text)) == 1


def test_both_languages_have_the_same_snippets() -> None:
    """The same code, whatever its comments say, with the same output; and the same chapters,
    formulas, pictures and tables."""

    def codes(name: str) -> list[tuple[str, str]]:
        return [(b.language, _bare(b)) for b in blocks(page(name)) if b.language]

    assert len(codes(ENGLISH)) > 20
    assert codes(ENGLISH) == codes(CHINESE)
    for pattern in (r"^#+ (?=\S)", r"\$\$.+?\$\$", r"^!\[", r"^\| --- [| -]*$", r"^\d\. \["):
        english, chinese = (
            [_symbols(f) for f in re.findall(pattern, page(name), re.M | re.S)]
            for name in (ENGLISH, CHINESE)
        )
        assert english == chinese
        assert english


def test_numbers_worked_by_hand() -> None:
    """What the text says beside the snippets, computed with nothing of the package."""
    ln = math.log
    by_hand = {
        "0.2554": -(ln(0.75) + ln(0.8)) / 2,
        "0.4904": -(ln(0.75) + ln(0.5)) / 2,
        "0.7458": -(ln(0.75) + ln(0.8) + ln(0.75) + ln(0.5)) / 2,
        "1.0397": -(ln(0.25) + ln(0.5)) / 2,
        "0.2760": (0.25 * ln(3) + 0.2 * ln(4)) / 2,
        "0.1373": 0.25 * ln(3) / 2,
        "0.4133": (0.25 * ln(3) + 0.2 * ln(4) + 0.25 * ln(3)) / 2,
        "1.3863": ln(4),
        "0.3285": -ln(0.9) - ln(0.8),
        "2.08": ln(8),
    }
    for name in (ENGLISH, CHINESE):
        for text, value in by_hand.items():
            assert text in page(name)
            assert f"{value:.{len(text.partition('.')[2])}f}" == text


def _bare(block: Block) -> str:
    """Code without its comments and docstrings, which each language has of its own."""
    if block.language != "python":
        return re.sub(r"\s+#.*", "", block.text)
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            del node.body[0]
    return ast.dump(tree)


def _symbols(formula: str) -> str:
    """A formula without the words in it."""
    return re.sub(r"\\text\{.*?\}|\s", "", formula)
