"""What holds for the package as a whole: a light import, a complete shop window, and the house limits."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import persona_sdk

ROOT = Path(persona_sdk.__file__).parents[1]
CODE = [p for folder in ("persona_sdk", "plugins", "integrations") for p in sorted((ROOT / folder).rglob("*.py"))]
HEAVY = {"torch", "transformers", "chromadb", "langchain", "langchain_core", "numpy", "sqlalchemy"}
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 60, 7


def where(path, node=None):
    return str(path.relative_to(ROOT)) + (f":{node.lineno}" if node else "")


def parsed():
    assert len(CODE) > 50
    for path in CODE:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def functions():
    for path, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


# Import


def loaded_by(code):
    """The top-level modules that running `code` in a new interpreter loads."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_pulls_in_nothing_heavy():
    loaded = loaded_by("import persona_sdk")
    assert not loaded & HEAVY
    assert "pydantic" not in loaded  # names are imported when they are first used


def test_using_the_nouns_pulls_in_nothing_heavy():
    assert not loaded_by(f"from persona_sdk import {', '.join(sorted(set(persona_sdk.__all__)))}") & HEAVY


# The shop window


def window():
    """The source of `persona_sdk/__init__.py`: what its type-checking block imports, by module."""
    tree = ast.parse(Path(persona_sdk.__file__).read_text(encoding="utf-8"))
    (block,) = [n for n in tree.body if isinstance(n, ast.If)]
    imports = [n for n in block.body if isinstance(n, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    return {n.module.removeprefix("persona_sdk."): sorted(a.name for a in n.names) for n in imports}


def test_all_is_sorted_and_complete():
    offered = [*(name for names in window().values() for name in names), "__version__"]
    assert persona_sdk.__all__ == sorted(persona_sdk.__all__)
    assert persona_sdk.__all__ == sorted(offered)
    assert dir(persona_sdk) == persona_sdk.__all__


def test_type_checkers_and_the_interpreter_see_the_same():
    assert {module: sorted(names) for module, names in persona_sdk._HOME.items()} == window()


@pytest.mark.parametrize("name", persona_sdk.__all__)
def test_every_name_can_be_imported_from_where_it_lives(name):
    value = getattr(persona_sdk, name)
    if name != "__version__":
        home = importlib.import_module(f"persona_sdk.{persona_sdk._MODULE_OF[name]}")
        assert getattr(home, name) is value
        assert name in home.__all__


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="Personaliser"):
        _ = persona_sdk.Personaliser


@pytest.mark.parametrize("path", [p for p in CODE if p.is_relative_to(ROOT / "persona_sdk")], ids=where)
def test_what_a_module_says_it_offers_is_there(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(p for p in parts if p != "__init__"))
    offered = getattr(module, "__all__", [])
    assert len(set(offered)) == len(offered)
    assert all(hasattr(module, name) for name in offered)


def test_the_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert persona_sdk.__version__ == project["version"]


# The house limits


def catches_all(handler):
    """Whether an `except` takes every exception there is, and does not end by raising it again."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    everything = any(c is None or (isinstance(c, ast.Name) and c.id in ("Exception", "BaseException")) for c in caught)
    last = handler.body[-1]
    return everything and not (isinstance(last, ast.Raise) and last.exc is None)


def test_only_the_manager_and_the_pipeline_swallow_any_exception():
    found = {
        where(path)
        for path, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and not path.is_relative_to(ROOT / "integrations")
    }
    assert found == {"persona_sdk/hooks/manager.py", "persona_sdk/pipeline.py"}


def test_files_are_short():
    too_long = {where(p): n for p in CODE if (n := len(p.read_text(encoding="utf-8").splitlines())) > MAX_FILE}
    assert too_long == {}


def test_functions_are_short():
    too_long = {where(p, f): n for p, f in functions() if (n := f.end_lineno - f.lineno + 1) > MAX_FUNCTION}
    assert too_long == {}


def test_functions_have_few_parameters():
    def count(function):
        given = function.args
        if [ast.unparse(a.annotation) for a in given.args[:1] if a.annotation] == ["typer.Context"]:
            return 0  # a command has a parameter for each of its options
        named = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        return len(named) - (named[:1] in (["self"], ["cls"])) + bool(given.vararg) + bool(given.kwarg)

    assert {where(p, f): n for p, f in functions() if (n := count(f)) > MAX_PARAMETERS} == {}
