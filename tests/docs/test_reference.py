"""The reference lists every hook and every interface method, with its arguments as they are in the code."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from persona_sdk import calls, index, inference, memory, scoring, similar, tailoring
from persona_sdk.hooks import PluginHost, PluginStatus, Registry, specs

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
INTERFACES = (
    memory.Memory,
    inference.Inferrer,
    scoring.Scorer,
    scoring.StatementScorer,
    tailoring.Tailor,
    similar.SimilarPeople,
    similar.Study,
    index.VectorIndex,
)
MODULES = (calls, memory, inference, scoring, tailoring, similar, index)


def signature(function, name=None, *, method=True):
    """Return `name(arguments)` as the reference writes it: defaults and stars, no types."""
    parameters = list(inspect.signature(function).parameters.values())[method:]
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    text = str(inspect.Signature(bare))
    return f"{name or function.__name__}{text.replace('<factory>', '…').replace('<built-in function iter>', 'iter')}"


def own_methods(cls):
    return [m for name, m in vars(cls).items() if inspect.isfunction(m) and not name.startswith("_")]


def sections(page):
    """Return the signatures under each second-level heading, in order; "" stands for those above the first."""
    found, heading = {"": []}, ""
    for line in (REFERENCE / page).read_text(encoding="utf-8").splitlines():
        if title := re.fullmatch(r"## (.+)", line):
            heading = title[1].strip("`")
            found[heading] = []
        elif entry := re.fullmatch(r"### `(.+)`", line):
            found[heading].append(entry[1])
    return found


def test_every_hook_is_documented():
    hooks = [signature(f, method=False) for name, f in vars(specs).items() if name.startswith("persona_")]
    written = sections("hooks.md")
    assert [*written[""], *written["Observers"]] == hooks


def test_the_registry_and_the_host_are_documented():
    written = sections("hooks.md")
    assert written["Registry"] == [signature(m) for m in own_methods(Registry)]
    host = signature(PluginHost, "PluginHost", method=False)
    assert written["Host"] == [host, signature(PluginStatus, "PluginStatus", method=False)]


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda cls: cls.__name__)
def test_every_interface_method_is_documented(interface):
    assert sections("interfaces.md")[interface.__name__] == [signature(m) for m in own_methods(interface)]


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda cls: cls.__name__)
def test_every_class_attribute_is_documented(interface):
    text = (REFERENCE / "interfaces.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (mine,) = (part for part in section if part.startswith(f"{interface.__name__}\n"))
    attributes = [name for name in interface.__annotations__ if not name.startswith("_")]
    assert re.findall(r"^\| `(\w+)` \|", mine, flags=re.MULTILINE) == attributes


def test_everything_that_crosses_an_interface_is_documented():
    values = [
        cls
        for module in MODULES
        for name in module.__all__
        if inspect.isclass(cls := getattr(module, name)) and cls not in INTERFACES
    ]
    expected = sorted(signature(_plain(cls), cls.__name__, method=False) for cls in values)
    assert sorted(sections("interfaces.md")["What is passed"]) == expected


def _plain(cls):
    """Return a class whose signature names its fields, factories shown as `<factory>`."""
    if dataclasses.is_dataclass(cls) or issubclass(cls, tuple):
        return cls

    def fields(): ...

    fields.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.is_required() else _Default(field),
            )
            for name, field in cls.model_fields.items()
        ]
    )
    return fields


class _Default:
    def __init__(self, field):
        self.text = "…" if field.default_factory else repr(field.default)

    def __repr__(self):
        return self.text
