"""Rows on their way into training: which are left out, in which order they come, and what processes share."""

import math
import os
import subprocess
import sys

import pytest

from tests.support.tiny import tiny_base
from tests.tuning.training_runs import DPO, ROOT, SFT, history, job, losses, rows

pytest.importorskip("trl", reason="the extra `tune` is not installed; `make test` installs it")


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

    def test_that_are_timed_are_as_long_as_rows_are(self):
        from persona_sdk.tuning.training.speed import typical

        def long(words):
            (row,) = rows(1, 1)
            return row.model_copy(update={"example": row.example.model_copy(update={"chosen": "word " * words})})

        every = [long(words) for words in (10, 400) * 20 + (100, 200) * 20]
        assert [len(row.example.chosen.split()) for row in typical(every)] == [10, 100, 200, 400]
        assert typical([]) == []
        assert len(typical(every[:3])) == 3
