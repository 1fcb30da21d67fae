"""Every ```python fence in the docs runs as it stands, those of one page one after the other.

A fence that cannot run in a test is marked ```python no-run. A page's fences share one namespace and an empty folder.
"""

import ast
import asyncio
import inspect
import os
import re
import sys
import textwrap
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL)


def fences(text):
    """Yield (line number, code) of every fence that is to run."""
    for fence in FENCE.finditer(text):
        if fence["info"].split() == ["python"]:
            yield text.count("\n", 0, fence.start("code")), textwrap.dedent(fence["code"])


def execute(code, line, page, namespace):
    tree = ast.increment_lineno(ast.parse(code, filename=str(page)), line)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compiled = compile(tree, str(page), "exec", flags=flags)
    result = eval(compiled, namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_fences_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PERSONA_")]:
        monkeypatch.delenv(name)
    module = types.ModuleType("docs_" + re.sub(r"\W", "_", page.stem))  # dataclasses and pydantic look it up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, code in fences(page.read_text(encoding="utf-8")):
        execute(code, line, page, vars(module))


def test_the_plugin_page_has_fences_that_run():
    page = ROOT / "docs" / "how-to" / "write-a-plugin.md"
    assert len(list(fences(page.read_text(encoding="utf-8")))) >= 4


def test_fences_are_found_and_marked_ones_are_left_out():
    page = (
        "```python\na = 1\n```\n\n```python no-run\nb\n```\n\n- item\n\n  ```python\n  c = 2\n  ```\n\n```sh\nd\n```\n"
    )
    assert list(fences(page)) == [(1, "a = 1\n"), (11, "c = 2\n")]


def test_a_failing_fence_fails_with_its_line():
    with pytest.raises(ZeroDivisionError) as failure:
        execute("x = 1\nx / 0\n", 40, "page.md", {})
    assert failure.traceback[-1].lineno + 1 == 42
