"""Pages of docs/ as tests read them: fenced blocks, quoted source, commands."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(`{3,})(\w*)[^\n]*\n(.*?)^\1[ ]*$", re.S | re.M)
MARK = re.compile(r"<!-- source: (.*?) -->\n")


class Block(NamedTuple):
    """A fenced block: its language, its text, the line on which that begins, and whether it
    follows the block before with nothing but space between."""

    language: str
    text: str
    line: int
    follows: bool


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    found, end = [], -1
    for m in FENCE.finditer(text):
        line = text.count("\n", 0, m.start(3)) + 1
        follows = end >= 0 and not text[end : m.start()].strip()
        found.append(Block(m[2], m[3], line, follows))
        end = m.end()
    return found


def execute(name: str, namespace: dict[str, Any]) -> int:
    """Run a page's ```python blocks in order, in one namespace. Where a ```text block follows,
    it is what they print. Returns how many ran."""
    found = blocks(page(name))
    ran = 0
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language != "python":
            continue
        # The lines before keep the page's line numbers in a traceback.
        code = compile("\n" * (block.line - 1) + block.text, str(ROOT / name), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        ran += 1
        if after is not None and after.language == "text" and after.follows:
            assert printed.getvalue().strip() == after.text.strip(), f"{name}:{after.line}"
    return ran


# -- quoted source ---------------------------------------------------------------------------
def quotes(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """What a page quotes after each <!-- source: FILE ... -->: the files, and runs of lines that
    stand together in one of them. In a ```py block a line of "..." divides them; in a table each
    `code` of the last column is one."""
    out = []
    for m in MARK.finditer(text):
        rest = text[m.end() :]
        block = FENCE.match(rest)
        if block is not None:
            runs, now = [], []
            for line in [*block[3].splitlines(), "..."]:
                if line.strip() == "...":
                    runs.append(now)
                    now = []
                elif line.strip():
                    now.append(line.strip())
            runs = [r for r in runs if r]
        else:
            rows = rest.split("\n\n")[0].splitlines()[2:]
            last = [r.strip().strip("|").split("|")[-1] for r in rows]
            runs = [[code.strip()] for cell in last for code in re.findall(r"`([^`]+)`", cell)]
        out.append((m[1].split(), runs))
    return out


def stands(run: list[str], sources: list[str]) -> bool:
    """Whether these lines follow one another in one of the sources; blank lines and
    indentation do not count."""
    for source in sources:
        lines = [s.strip() for s in source.splitlines() if s.strip()]
        n = len(run)
        if any(lines[i : i + n] == run for i in range(len(lines) - n + 1)):
            return True
    return False


def missing_quotes(text: str) -> list[str]:
    """The runs of quoted lines that the source does not have, and empty quotations."""
    out = []
    for files, runs in quotes(text):
        if not runs:
            out.append(f"nothing quoted of {', '.join(files)}")
        sources = [page(f) for f in files]
        out += ["\n".join(run) for run in runs if not stands(run, sources)]
    return out


# -- commands --------------------------------------------------------------------------------
def commands(text: str) -> list[list[str]]:
    """The arguments of every `ganforge ...` line in the ```sh blocks."""
    out = []
    for block in blocks(text):
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and Path(words[0]).name == "ganforge":
                    out.append(words[1:])
    return out
