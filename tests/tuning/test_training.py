"""Training on a tiny base with random weights: real TRL, real PEFT, real files, real kills."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from persona_sdk.errors import InputError
from persona_sdk.memory import person_key
from persona_sdk.tuning.cards import lineage, read_card
from persona_sdk.tuning.recipes import Recipe, Stage
from tests.support.tiny import tiny_base
from tests.tuning.training_runs import DPO, ROOT, SFT, history, job, losses, rows

pytest.importorskip("trl", reason="the extra `tune` is not installed; `make test` installs it")


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
