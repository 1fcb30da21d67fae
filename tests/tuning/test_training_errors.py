"""What goes wrong in training is said, with what to change."""

import pytest

from persona_sdk.errors import InputError, TuningError
from persona_sdk.tuning.recipes import Recipe, Stage
from persona_sdk.tuning.rows import Example, Origin, Row
from tests.support.tiny import tiny_base
from tests.tuning.training_runs import DPO, job, rows

pytest.importorskip("trl", reason="the extra `tune` is not installed; `make test` installs it")


class TestErrors:
    def test_say_that_a_template_leaves_something_out(self, tmp_path):
        from persona_sdk.tuning.training.run import train

        forgetful = tiny_base(tmp_path / "base")
        template = forgetful / "chat_template.jinja"
        template.write_text(  # the system message is written only while nothing was answered
            "{% for m in messages %}{% if m['role'] != 'system' or messages[-1]['role'] == 'user' %}"
            "<|im_start|>{{ m['role'] }} {{ m['content'] }}<|im_end|>{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
        )
        with pytest.raises(InputError, match="writes a conversation differently once it is answered"):
            train(job(forgetful, DPO), rows(4), [], tmp_path / "work")

    def test_say_that_a_template_takes_no_such_conversation(self, tmp_path):
        from persona_sdk.tuning.training.run import train

        strict = tiny_base(tmp_path / "base")
        template = strict / "chat_template.jinja"
        refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        template.write_text(refusing + template.read_text())
        with pytest.raises(InputError, match="takes no conversation of system, user"):
            train(job(strict, DPO), rows(4), [], tmp_path / "work")

    def test_say_that_the_numbers_ran_away(self, base, tmp_path):
        from persona_sdk.tuning.training.run import train

        stage = Stage(method="sft", batch=8, learning_rate=1e30, patience=0)
        with pytest.raises(TuningError, match="lower the learning rate"):
            train(job(base, Recipe(name="wild", stages=(stage,), rank=4)), rows(4), [], tmp_path / "work")

    def test_say_that_another_process_trains_there(self, base, tmp_path):
        from filelock import FileLock

        from persona_sdk.tuning.training.run import train

        (tmp_path / "work").mkdir()
        with FileLock(tmp_path / "work" / "lock"), pytest.raises(InputError, match="another process"):
            train(job(base), rows(), [], tmp_path / "work")

    @pytest.mark.parametrize("held", ["{", "[]", '{"recipe": 1}'])
    def test_say_that_an_unfinished_run_is_damaged(self, base, tmp_path, held):
        from persona_sdk.tuning.training.run import begun_recipe, train

        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "run.json").write_text(held)
        assert begun_recipe(tmp_path / "work") is None
        with pytest.raises(InputError, match="is damaged; delete its folder"):
            train(job(base), rows(), [], tmp_path / "work")

    def test_say_that_a_base_with_a_template_is_not_taught_plain_text(self, base, tmp_path):
        from persona_sdk.tuning.training.run import train

        with pytest.raises(InputError, match="has a chat template"):
            train(job(base, DPO, template="plain"), rows(4), [], tmp_path / "work")

    @pytest.mark.parametrize(
        ("taught", "more", "said"),
        [
            ([], {}, "there are none to learn from"),
            (rows(1), {}, "all are of one person"),
            ([Row(example=Example(id="x", origin=Origin(user_id=u), prompt=rows(1)[0].example.prompt, chosen="a"))
              for u in "ab"], {"recipe": DPO}, "needs pairs"),
        ],
    )  # fmt: skip
    def test_say_what_is_wrong_with_the_rows(self, base, tmp_path, taught, more, said):
        from persona_sdk.tuning.training.run import train

        with pytest.raises(InputError, match=said):
            train(job(base, **more), taught, [], tmp_path / "work")

    def test_say_that_a_base_has_no_chat_template(self, tmp_path):
        from persona_sdk.tuning.training.run import train

        bare = tiny_base(tmp_path / "base", template=False)
        with pytest.raises(InputError, match=r"no chat template.*--template plain"):
            train(job(bare), rows(), [], tmp_path / "work")

    def test_say_that_a_parent_is_another_bases(self, finished, tmp_path):
        from persona_sdk.tuning.training.run import train

        other = tiny_base(tmp_path / "base", seed=1)
        with pytest.raises(InputError, match="not on the base"):
            train(job(other, parent=finished), rows(), [], tmp_path / "work")

    def test_say_what_to_change_when_memory_is_out(self, base, tmp_path, monkeypatch):
        # A machine without memory cannot be had here: the stage fails as it would there.
        import torch

        from persona_sdk.tuning.training import run

        def fails(*_):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        monkeypatch.setattr(run, "run_stage", fails)
        with pytest.raises(TuningError, match="--save-memory"):
            run.train(job(base), rows(), [], tmp_path / "work")

    @pytest.mark.parametrize("given", ["nowhere", "nowhere.gguf"])
    def test_say_that_there_is_no_such_base(self, given, tmp_path):
        from persona_sdk.tuning.training.bases import prepare

        with pytest.raises(InputError, match="nothing is downloaded"):
            prepare(str(tmp_path / given))
