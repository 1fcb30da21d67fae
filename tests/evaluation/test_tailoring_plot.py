"""The picture of a tailoring report: it is drawn for every kind of report, and about the right arm."""

import struct

import pytest

from persona_sdk.errors import InputError
from persona_sdk.evaluation.tailoring import Setup, arms_of, evaluate_tailoring
from persona_sdk.memory import person_key
from tests.support.liking import Likes, choices, known

pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")

from persona_sdk.evaluation._plot_tailoring import main_arm, plot_tailoring


def report_of(people, models, kinds, trained=None):
    asked = [one for n in range(people) for one in choices(f"u{n}", *("red", "blue", "blue", "red")[: 1 + n % 4])]
    gold = known(**{f"u{n}": ("red", "blue")[n % 2] for n in range(people)})
    keys = None if trained is None else frozenset(person_key("default", f"u{n}") for n in range(trained))
    return evaluate_tailoring(asked, gold, arms_of(models, kinds), Setup(trained=keys))


@pytest.mark.parametrize(
    ("people", "names", "kinds", "trained"),
    [
        (9, ("base", "everybody"), ["gold", "shuffled:gold", "few_shot"], 5),
        (9, ("base", "everybody"), ["gold"], 0),
        (9, ("base", "$x^2$ <b> \\frac"), ["gold"], 9),
        (1, ("base",), [], None),
        (2, ("base", "a-very-long-name-of-an-adapter-that-somebody-chose"), [], None),
    ],
)
def test_every_report_can_be_drawn(people, names, kinds, trained, tmp_path):
    file = tmp_path / "plot.png"
    models = {name: Likes({"red": 0.1}, heeds=bool(place)) for place, name in enumerate(names)}
    plot_tailoring(report_of(people, models, kinds, trained), file)
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 9 * 150
    assert height > 1000


def test_the_picture_is_about_the_tuned_model_with_ones_own_prefix():
    models = {"base": Likes(), "tuned": Likes()}
    assert main_arm(report_of(2, models, ["gold", "persona", "shuffled:gold"])) == "tuned/persona"
    assert main_arm(report_of(2, models, ["shuffled:gold", "few_shot", "gold"])) == "tuned/few_shot"
    assert main_arm(report_of(2, models, ["shuffled:gold"])) == "tuned/shuffled:gold"
    assert main_arm(report_of(2, models, [])) == "tuned/none"
    assert main_arm(report_of(2, {"base": Likes()}, ["shuffled:gold"])) == "base/shuffled:gold"
    assert main_arm(report_of(2, {"base": Likes()}, [])) is None


def test_a_file_that_cannot_be_written_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        plot_tailoring(report_of(2, {"base": Likes()}, []), tmp_path / "no" / "where.png")
