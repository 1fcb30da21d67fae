"""Training on a tiny base with random weights: real TRL, real PEFT, real files, real kills."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from persona_sdk.errors import InputError, TuningError
from persona_sdk.memory import person_key
from persona_sdk.tuning.cards import lineage, read_card
from persona_sdk.tuning.recipes import Recipe, Stage
from persona_sdk.tuning.rows import Example, Origin, Row
from tests.support.tiny import tiny_base
from tests.tuning.training_runs import RECIPE, job, rows

pytest.importorskip("trl", reason="the extra `tune` is not installed; `make test` installs it")

ROOT = Path(__file__).parents[2]
SFT = Recipe(name="one", stages=(Stage(method="sft", batch=8, patience=0),), rank=4, evaluations=2)
DPO = Recipe(name="one", stages=(Stage(method="dpo", batch=8, patience=0),), rank=4, evaluations=2)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("training") / "base")


@pytest.fixture(scope="session")
def finished(base, tmp_path_factory):
    """A run from beginning to end: its folder and its card."""
    from persona_sdk.tuning.training.run import train

    return train(job(base, seed=0), rows(), rows(2, first=8), tmp_path_factory.mktemp("training") / "work")


def history(folder):
    return json.loads((folder / "history.json").read_text())


def losses(log):
    return [entry["loss"] for entry in log if "loss" in entry]


def started(base, work, stage=1, step=0):
    """Run a training in a process of its own."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.tuning.training_runs", str(base), str(work), str(stage), str(step)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


class TestARun:
    def test_makes_an_adapter_that_peft_loads_on_the_base(self, base, finished):
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(finished[0]))
        trained = [p for name, p in model.named_parameters() if "lora_B" in name]
        assert trained
        assert all(float(p.abs().max()) > 0 for p in trained)

    def test_has_a_lora_on_every_attention_and_mlp_projection(self, finished):
        modules = json.loads((finished[0] / "adapter_config.json").read_text())["target_modules"]
        assert set(modules) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

    def test_says_on_its_card_whose_signals_are_in_it(self, finished):
        folder, card = finished
        taught = [*rows(), *rows(2, first=8)]
        assert read_card(folder) == card
        assert card.people == lineage(taught)
        assert {p.key for p in card.people} == {person_key("default", row.example.user_id) for row in taught}
        assert card.people[0].personas == (1,)

    def test_says_on_its_card_how_it_was_made(self, finished):
        card = finished[1]
        assert card.rows == {"train": 64, "validation": 16}
        assert card.rank == 4
        assert len(card.base.sha256) == 64
        assert {"torch", "trl", "peft"} <= set(card.versions)
        assert card.metrics["2-dpo/validation_accuracy"] is not None
        assert 0 <= card.metrics["2-dpo/validation_accuracy"] <= 1

    def test_holds_no_word_of_anybody(self, finished):
        words = [row.example.chosen.encode() for row in rows()] + [row.example.user_id.encode() for row in rows()]
        for file in finished[0].parent.rglob("*"):
            if file.is_file():
                held = file.read_bytes()
                assert not any(word in held for word in words), file

    def test_draws_its_curves(self, finished):
        assert (finished[0] / "curves.png").read_bytes().startswith(b"\x89PNG")

    def test_goes_on_from_the_sft_which_is_the_reference_of_the_dpo(self, finished):
        stages = history(finished[0])
        assert list(stages) == ["1-sft", "2-dpo"]
        # Policy and reference are the same model before the first step, whatever the pair: −log σ(0).
        assert losses(stages["2-dpo"])[0] == pytest.approx(math.log(2), abs=1e-4)

    def test_teaches_each_stage_its_own_half(self, finished):
        stages = history(finished[0])
        assert [len(losses(log)) for log in stages.values()] == [8, 4]  # 32 rows each, 8 at a time, twice and once

    def test_is_the_same_again(self, base, finished, tmp_path):
        from persona_sdk.tuning.training.run import train

        again, _ = train(job(base, seed=0), rows(), rows(2, first=8), tmp_path / "work")
        assert losses(history(again)["2-dpo"]) == losses(history(finished[0])["2-dpo"])

    def test_tells_how_far_it_is(self, base, tmp_path):
        from persona_sdk.tuning.training.run import train

        seen = []
        train(job(base, SFT), rows(4), [], tmp_path / "work", lambda *told: seen.append(told))
        assert seen[0] == (1, 1, "sft", 0, 4)
        assert seen[-1] == (1, 1, "sft", 4, 4)


class TestLearning:
    def test_what_was_chosen_becomes_likelier_than_what_was_rejected(self, base, tmp_path):
        from persona_plugins.lora.chat import TunedChat
        from persona_sdk.tuning.adapters import Adapters
        from persona_sdk.tuning.likelihood import margins
        from persona_sdk.tuning.training.run import train

        stage = Stage(method="dpo", batch=8, epochs=12, learning_rate=2e-2, patience=0)
        taught = [row for row in rows(16, 4) if "short" in row.prefix.text]
        folder, card = train(
            job(base, Recipe(name="one", stages=(stage,), rank=8, alpha=16)), taught * 2, rows(1), tmp_path / "work"
        )
        adapters = Adapters(tmp_path / "adapters")
        adapters.add(folder, card)
        chat = TunedChat(adapters.folder, base=base, device="cpu", dtype="float32")
        before = margins(chat.with_adapter(None), taught, system=card.system)
        after = margins(chat.with_adapter("small"), taught, system=card.system)
        assert sum(m > 0 for m in after) / len(after) > 0.7
        assert sum(after) > sum(before)

    def test_what_was_chosen_becomes_likelier(self, finished):
        found = losses(history(finished[0])["1-sft"])
        assert found[-1] < found[0]

    def test_the_best_checkpoint_is_kept_not_the_last(self, base, tmp_path):
        from persona_plugins.lora.chat import TunedChat
        from persona_sdk.tuning.adapters import Adapters
        from persona_sdk.tuning.training.run import train

        # A rate that is far too high: after the first evaluation everything becomes worse.
        stage = Stage(method="sft", batch=8, epochs=4, learning_rate=5.0, patience=0)
        recipe = Recipe(name="one", stages=(stage,), rank=4, evaluations=8, schedule="constant", warmup=0)
        folder, card = train(job(base, recipe), rows(2), rows(2, first=8), tmp_path / "work")
        checks = [entry for entry in history(folder)["1-sft"] if "eval_loss" in entry]
        best = min(checks, key=lambda entry: entry["eval_loss"])
        assert best["step"] < checks[-1]["step"]
        assert card.metrics["1-sft/validation_loss"] == pytest.approx(best["eval_loss"], rel=1e-3)
        adapters = Adapters(tmp_path / "adapters")
        adapters.add(folder, card)
        chat = TunedChat(adapters.folder, base=base, device="cpu", dtype="float32", adapter="small", strict=True)
        asked = [(row.conversation(card.system), row.example.chosen) for row in rows(2, first=8)]
        found = chat.log_likelihoods(asked)
        loss = -sum(one.total for one in found) / sum(one.tokens for one in found)
        assert loss == pytest.approx(best["eval_loss"], rel=0.02)  # the template ends a turn with one token more

    def test_thumbs_are_learnt_from_by_kto(self, base, tmp_path):
        from persona_sdk.tuning.training.run import train

        thumbs = []
        for n, row in enumerate(rows(4)):
            side = {"rejected": None} if n % 2 else {"chosen": None}
            thumbs.append(row.model_copy(update={"example": row.example.model_copy(update=side)}))
        recipe = Recipe(name="one", stages=(Stage(method="kto", batch=1, patience=0),), rank=4)
        folder, card = train(job(base, recipe), thumbs[::3][:8], [], tmp_path / "work")
        assert card.metrics["1-kto/steps"] == 4  # two at a time: one answer has no other prompt to be paired with
        assert all(math.isfinite(loss) for loss in losses(history(folder)["1-kto"]))

    def test_plain_text_is_learnt_by_a_base_without_a_chat_template(self, tmp_path):
        from persona_sdk.tuning.training.run import train

        bare = tiny_base(tmp_path / "base", template=False)
        folder, card = train(job(bare, DPO, template="plain"), rows(4), [], tmp_path / "work")
        assert card.template == "plain"
        assert (folder / "adapter_model.safetensors").is_file()

    def test_an_adapter_goes_on_from_its_parent(self, base, finished, tmp_path):
        from persona_sdk.tuning.training.run import train

        mine = rows(1, 16, first=10)
        child, card = train(job(base, DPO, rung="own", parent=finished), mine, [], tmp_path / "work")
        assert card.parent == "small"
        assert card.rank == 4
        assert {p.key for p in finished[1].people} < {p.key for p in card.people}
        assert losses(history(child)["1-dpo"])[0] == pytest.approx(math.log(2), abs=1e-4)


class TestAKill:
    # In the first stage within the second epoch: which rows are left of it has to be the same again.
    @pytest.mark.parametrize(("stage", "step"), [(1, 7), (2, 3)])
    def test_in_its_middle_costs_nothing(self, base, finished, tmp_path, stage, step):
        killed = started(base, tmp_path / "work", stage, step)
        assert killed.returncode == -9, killed.stderr[-2000:]
        assert not (tmp_path / "work" / "finished").exists()
        resumed = started(base, tmp_path / "work")
        assert resumed.returncode == 0, resumed.stderr[-2000:]
        folder = Path(json.loads(resumed.stdout.splitlines()[-1])["folder"])
        whole, again = history(finished[0]), history(folder)
        for name in ("1-sft", "2-dpo"):
            assert losses(again[name])[-1] == pytest.approx(losses(whole[name])[-1], abs=1e-5)
        assert read_card(folder).people == finished[1].people

    def test_that_left_half_a_checkpoint_is_survived(self, base, finished, tmp_path):
        assert started(base, tmp_path / "work", 2, 3).returncode == -9
        half = tmp_path / "work" / "2-dpo" / "checkpoint-99"
        half.mkdir()
        (half / "adapter_model.safetensors").write_bytes(b"half")
        from persona_sdk.tuning.training.run import train

        folder, _ = train(job(base), rows(), rows(2, first=8), tmp_path / "work")
        assert losses(history(folder)["2-dpo"])[-1] == pytest.approx(
            losses(history(finished[0])["2-dpo"])[-1], abs=1e-5
        )

    def test_does_not_go_on_with_other_rows(self, base, tmp_path):
        from persona_sdk.tuning.training.run import train

        assert started(base, tmp_path / "work", 1, 2).returncode == -9
        forgotten = [row for row in rows() if row.example.user_id != "planted003"]
        with pytest.raises(InputError, match=r"rows.* differ"):
            train(job(base), forgotten, rows(2, first=8), tmp_path / "work")


class TestRows:
    def test_longer_than_the_model_reads_are_left_out_and_counted(self, tmp_path, caplog):
        from persona_sdk.tuning.training.run import train

        bare = tiny_base(tmp_path / "base")
        long = rows(1)[0]
        long = long.model_copy(
            update={"example": long.example.model_copy(update={"id": "long", "chosen": "word " * 600})}
        )
        train(job(bare, SFT), [*rows(4), long], [], tmp_path / "work")
        assert "1 of 33 rows are longer than 512 tokens" in caplog.text
        assert "word" not in caplog.text

    def test_for_validation_may_be_longer_than_those_for_training(self, base, tmp_path):
        from persona_sdk.tuning.training.run import train

        longer = [
            row.model_copy(update={"example": row.example.model_copy(update={"chosen": row.example.chosen * 2})})
            for row in rows(2, first=8)
        ]
        folder, _ = train(job(base, DPO), rows(4), longer, tmp_path / "work")
        assert any("eval_loss" in entry for entry in history(folder)["1-dpo"])

    def test_for_validation_may_be_of_no_use(self, base, tmp_path):
        from persona_sdk.tuning.training.run import train

        thumbs = [
            row.model_copy(update={"example": row.example.model_copy(update={"rejected": None})})
            for row in rows(1, first=8)
        ]
        folder, _ = train(job(base, DPO), rows(4), thumbs, tmp_path / "work")
        assert not any("eval_loss" in entry for entry in history(folder)["1-dpo"])

    def test_for_validation_all_weigh_the_same(self, base, tmp_path, monkeypatch):
        from persona_sdk.tuning.training import stages

        assert [stages._divisor(17, 4), stages._divisor(64, 60), stages._divisor(12, 5), stages._divisor(3, 9)] == [
            1, 32, 4, 3,
        ]  # fmt: skip

    def test_are_drawn_by_seed_and_epoch_alone(self):
        import torch

        from persona_sdk.tuning.training.data import Alike

        def drawn(seed, epoch):
            torch.manual_seed(torch.seed() % 1000)  # whatever was drawn before
            sampler = Alike(4, list(range(40)), seed)
            sampler.set_epoch(epoch)
            return list(sampler)

        assert drawn(0, 1) == drawn(0, 1)
        assert drawn(0, 1) != drawn(0, 2)
        assert sorted(drawn(1, 0)) == list(range(40))

    def test_of_like_length_share_a_batch_and_steps_have_all_kinds(self):
        from persona_sdk.tuning.training.data import Alike

        lengths = [10] * 40 + [200] * 39 + [201]
        order = list(Alike(8, lengths, 0))
        steps = [[lengths[i] for i in order[at : at + 8]] for at in range(0, 80, 8)]
        assert all(step == sorted(step, reverse=True) for step in steps)
        assert steps[0][0] == 201  # whether memory is enough shows at once
        assert sum(min(step) == 10 and max(step) >= 200 for step in steps) >= 9

    def test_make_no_stage_of_two_processes_fail(self, base, tmp_path):
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                   "-m", "tests.tuning.training_runs", str(base), str(tmp_path / "work"), "0", "0"]  # fmt: skip
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert (tmp_path / "work" / "finished" / "adapter_model.safetensors").is_file()
        assert losses(history(tmp_path / "work" / "finished")["2-dpo"])[0] == pytest.approx(math.log(2), abs=1e-4)


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


class TestSelection:
    @pytest.mark.parametrize(
        ("metrics", "better"),
        [
            ({"eval_rewards/accuracies": 0.7, "eval_loss": 9.0}, {"eval_rewards/accuracies": 0.6, "eval_loss": 0.1}),
            ({"eval_rewards/accuracies": 0.6, "eval_loss": 0.5}, {"eval_rewards/accuracies": 0.6, "eval_loss": 0.6}),
            ({"eval_loss": 1.0}, {"eval_loss": 1.1}),
        ],
    )
    def test_goes_by_accuracy_first_and_then_by_loss(self, metrics, better):
        from persona_sdk.tuning.training.watching import SELECTION, Selecting

        for one in (metrics, better):
            Selecting().on_evaluate(None, None, None, one)
        assert metrics[SELECTION] > better[SELECTION]


@pytest.mark.parametrize(
    ("parameters", "method", "rate"),
    [(1e9, "dpo", 2e-4), (3e9, "dpo", 1e-4), (8e9, "dpo", 5e-5), (1.35e8, "sft", 1e-3), (8e9, "sft", 2e-4),
     (1, "dpo", 2.5e-4), (1e12, "dpo", 2e-5)],
)  # fmt: skip
def test_rates_follow_the_size_of_the_base(parameters, method, rate):
    from persona_sdk.tuning.recipes import learning_rate

    assert learning_rate(int(parameters), method) == pytest.approx(rate)
    assert learning_rate(2 * int(parameters), method) <= learning_rate(int(parameters), method)


def test_recipes_are_as_the_papers_have_them():
    from persona_sdk.tuning.recipes import PRESETS

    assert RECIPE.methods == "sft → dpo"
    sft, dpo = PRESETS["pt"].stages
    assert (PRESETS["pt"].rank, PRESETS["pt"].alpha, PRESETS["pt"].dropout) == (16, 32, 0.05)
    assert (sft.learning_rate, dpo.learning_rate, dpo.beta) == (2e-5, 5e-6, 0.1)
    assert PRESETS["pt"].halves
    assert (PRESETS["wikipersonas"].rank, PRESETS["wikipersonas"].stages[0].beta) == (8, 0.01)
    assert PRESETS["aloe"].stages[1].beta == 0.9
