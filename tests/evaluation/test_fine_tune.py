from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO

from autoprune.errors import AutopruneError, ConfigError, TrialFailed
from autoprune.evaluation import fine_tune as fine_tune_module
from autoprune.evaluation.checkpoint import model_hash
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.fine_tune import FineTuned, fine_tune, settings_from
from autoprune.evaluation.inside import short_trainer
from autoprune.evaluation.inside.pruned_yolo import as_pruned_yolo, load_pruned
from autoprune.evaluation.inside.short_trainer import ShortTrainer
from autoprune.evaluation.inside.trainer import conv_shapes


@pytest.fixture
def training(data: DataSummary, tmp_path: Path) -> Path:
    return data.training_yaml(tmp_path / "derived")


def _tune(module: nn.Module, data: Path, folder: Path, **more: Any) -> FineTuned:
    hooks = {key: more.pop(key) for key in ("on_epoch", "most_s") if key in more}
    settings = settings_from({"epochs": 2, "batch": 8, "device": "cpu", **more})
    return fine_tune(module, data, 64, settings, folder, **hooks)


def test_it_trains_the_epochs_asked_for_keeps_the_shape_and_leaves_nothing_behind(
    pruned_module: nn.Module, dense: YOLO, training: Path, tmp_path: Path
) -> None:
    before = model_hash(pruned_module)
    threads = torch.get_num_threads()
    heard: list[tuple[int, int]] = []
    folder = tmp_path / "trial"
    tuned = _tune(
        as_pruned_yolo(pruned_module, dense),
        training,
        folder,
        on_epoch=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(1, 2), (2, 2)]
    assert (tuned.epochs, tuned.images_seen, tuned.batch) == (2, 32, 8)
    assert tuned.seconds > 0
    assert list(folder.iterdir()) == []
    assert model_hash(pruned_module) == before
    assert torch.get_num_threads() == threads
    module = tuned.module
    assert model_hash(module) != before
    assert conv_shapes(module) == conv_shapes(pruned_module)
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    assert all(value.is_contiguous() for value in module.parameters())
    assert not any(part.training for part in module.modules())
    as_pruned_yolo(module, dense).save(tmp_path / "tuned.pt")
    content = (tmp_path / "tuned.pt").read_bytes()
    assert str(folder).encode() not in content, "the run folder's name was saved"
    assert conv_shapes(load_pruned(tmp_path / "tuned.pt").model) == conv_shapes(pruned_module)


def test_a_time_limit_that_is_over_leaves_one_batch(
    pruned_module: nn.Module, training: Path, tmp_path: Path
) -> None:
    tuned = _tune(pruned_module, training, tmp_path, epochs=9, most_s=0.0)
    assert (tuned.epochs, tuned.images_seen) == (1, 8)
    assert conv_shapes(tuned.module) == conv_shapes(pruned_module)


def test_epochs_that_would_take_too_long_are_left_out_and_the_learning_rate_falls_by_the_rest(
    pruned_module: nn.Module, training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch takes 10 s of a clock of its own, of 47 s."""
    now, rates, totals = [0.0], [], []

    def after_epoch(trainer: ShortTrainer) -> None:
        now[0] += 10.0
        rates.append(trainer.optimizer.param_groups[0]["lr"])

    def on_epoch(_done: int, total: int) -> None:
        totals.append(total)

    watch = ShortTrainer.watch

    def watched(trainer: ShortTrainer, hook: Any) -> None:
        trainer.add_callback("on_train_epoch_end", after_epoch)
        watch(trainer, hook)

    monkeypatch.setattr(ShortTrainer, "watch", watched)
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(short_trainer, "time", clock)
    monkeypatch.setattr(fine_tune_module, "time", clock)
    tuned = _tune(pruned_module, training, tmp_path, epochs=9, most_s=47.0, on_epoch=on_epoch)
    assert tuned.epochs == 4
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] / 2  # by four epochs, not by nine


@pytest.mark.parametrize(("most_s", "batches"), [(None, 8), (30.0, 3)])
def test_the_learning_rate_falls_from_the_middle_on_to_its_end_even_where_time_cuts_it_off(
    most_s: float | None,
    batches: int,
    pruned_module: nn.Module,
    training: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each batch takes 10 s of a clock of its own."""
    now, rates = [0.0], []
    watch = ShortTrainer.watch

    def watched(trainer: ShortTrainer, hook: Any) -> None:
        def before_batch(trainer: ShortTrainer) -> None:
            rates.append(trainer.optimizer.param_groups[0]["lr"])
            now[0] += 10.0

        watch(trainer, hook)
        trainer.add_callback("on_train_batch_start", before_batch)

    monkeypatch.setattr(ShortTrainer, "watch", watched)
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(short_trainer, "time", clock)
    monkeypatch.setattr(fine_tune_module, "time", clock)
    _tune(pruned_module, training, tmp_path, epochs=1, batch=2, lr0=0.01, most_s=most_s)
    assert len(rates) == batches
    fallen = [max(0.0, 2 * number / batches - 1) for number in range(batches)]
    assert rates == pytest.approx([0.01 * (1 - 0.95 * each) for each in fallen])


def test_frozen_norms_keep_their_mean_and_variance_and_train_the_rest(
    pruned_module: nn.Module, training: Path, tmp_path: Path
) -> None:
    settings = settings_from({"epochs": 2, "batch": 8, "device": "cpu", "lr0": 0.01})
    tuned = fine_tune(pruned_module, training, 64, settings, tmp_path, frozen_norms=True).module
    before, after = pruned_module.state_dict(), tuned.state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    kept = {name for name in before if name.endswith(("running_mean", "running_var"))}
    assert kept
    assert not changed & kept
    assert {"model.0.conv.weight", "model.0.bn.weight", "model.0.bn.bias"} <= changed


def test_a_class_with_a_new_name_keeps_what_it_learned(
    pruned_module: Any, training: Path, tmp_path: Path
) -> None:
    text = training.read_text()
    first = next(iter(pruned_module.names.values()))
    training.write_text(text.replace(f"0: {first}", "0: another name"))
    assert training.read_text() != text
    tuned: Any = _tune(pruned_module, training, tmp_path, epochs=1, lr0=1e-7).module
    before, after = (each.model[-1].cv3[0][-1].weight for each in (pruned_module, tuned))
    assert torch.allclose(before, after, atol=1e-4)


def test_it_reads_no_validation_image(
    pruned_module: nn.Module, data: DataSummary, training: Path, tmp_path: Path
) -> None:
    (training.parent / "val.txt").write_text(str(tmp_path / "no-such.jpg"))
    assert _tune(pruned_module, training, tmp_path / "trial", epochs=1).images_seen == 16


def test_the_same_seed_gives_the_same_weights(
    pruned_module: nn.Module, training: Path, tmp_path: Path
) -> None:
    hashes = [
        model_hash(_tune(pruned_module, training, tmp_path, epochs=1, seed=seed).module)
        for seed in (5, 5, 6)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_loss_that_is_not_finite_fails_the_trial(
    pruned_module: nn.Module, training: Path, tmp_path: Path
) -> None:
    for value in (float("nan"), float("inf")):
        with torch.no_grad():
            pruned_module.model[4].cv1.conv.weight[0, 0] = value
        with pytest.raises(TrialFailed) as caught:
            _tune(pruned_module, training, tmp_path / "trial")
        assert caught.value.reason == "nan"
        assert list((tmp_path / "trial").iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_running_out_of_memory_fails_the_trial(
    error: Exception,
    pruned_module: nn.Module,
    training: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: object) -> None:
        raise error

    monkeypatch.setattr(ShortTrainer, "preprocess_batch", exhausted)
    with pytest.raises(TrialFailed) as caught:
        _tune(pruned_module, training, tmp_path)
    assert caught.value.reason == "oom"


def test_a_batch_that_ultralytics_halved_is_told(
    pruned_module: nn.Module, training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = ShortTrainer.preprocess_batch
    calls: list[int] = []

    def first_time_full(self: ShortTrainer, batch: dict[str, Any]) -> dict[str, Any]:
        calls.append(len(batch["img"]))
        if len(calls) == 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return stock(self, batch)

    monkeypatch.setattr(ShortTrainer, "preprocess_batch", first_time_full)
    tuned = _tune(pruned_module, training, tmp_path, epochs=1)
    assert tuned.batch == 4
    assert tuned.images_seen == 16
    assert calls == [8, 4, 4, 4, 4]


def test_another_error_is_not_called_out_of_memory(
    pruned_module: nn.Module, training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ShortTrainer, "preprocess_batch", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        _tune(pruned_module, training, tmp_path)


def test_an_interruption_gets_through_and_cleans_up(
    pruned_module: nn.Module, training: Path, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _tune(pruned_module, training, tmp_path / "run", on_epoch=interrupt)
    assert not list((tmp_path / "run").iterdir())
    assert torch.get_num_threads() == threads


def test_data_of_other_classes_is_refused(training: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the model's 80"):
        _tune(YOLO("yolov8n.yaml").model, training, tmp_path)


def test_a_shape_that_changes_during_training_is_caught(
    pruned_module: nn.Module, training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    def regrow(
        self: ShortTrainer, cfg: Any = None, weights: Any = None, verbose: bool = True
    ) -> Any:
        self.expected_shapes = conv_shapes(weights)
        return DetectionTrainer.get_model(self, "yolov8n.yaml", None, False)

    monkeypatch.setattr(ShortTrainer, "get_model", regrow)
    with pytest.raises(AutopruneError, match="shape"):
        _tune(pruned_module, training, tmp_path, epochs=1)
