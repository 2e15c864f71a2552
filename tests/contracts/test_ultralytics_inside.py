"""What autoprune relies on inside Ultralytics, one test each.

Run against the newest by tests/newest.sh, without the other tests' conftest.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()  # before anything imports ultralytics

import torch  # noqa: E402
from torch import nn  # noqa: E402

SIZE = 32
NAMES = {0: "circle", 1: "square"}


def recipe() -> dict[str, Any]:
    """yolov8 of two classes, as narrow as it gets."""
    from autoprune.evaluation.inside.stock import read_recipe

    return {**read_recipe("yolov8n.yaml"), "nc": 2, "scales": {"n": [0.33, 0.03125, 512]}}


def tiny_model() -> Any:
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel(recipe(), ch=3, nc=2, verbose=False)
    model.names, model.args, model.task = dict(NAMES), {"imgsz": SIZE}, "detect"
    return model


def labelled_batch() -> dict[str, torch.Tensor]:
    return {
        "img": torch.rand(2, 3, SIZE, SIZE),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.4, 0.4, 0.3, 0.3]]),
    }


def save(model: Any, path: Path, **more: Any) -> Path:
    content = {"model": model.half(), "ema": None, "train_args": {"imgsz": SIZE}, **more}
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from autoprune.demo.dataset import Split, write_detection_set

    folder = tmp_path_factory.mktemp("data") / "set"
    return write_detection_set(folder, {"train": Split(1, 4), "val": Split(2, 2)})


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# The process: environment, settings, log


def test_the_environment_says_offline_no_installs_and_where_settings_live() -> None:
    """YOLO_OFFLINE, YOLO_AUTOINSTALL, YOLO_CONFIG_DIR are read when it is imported."""
    from ultralytics import SETTINGS
    from ultralytics.utils import AUTOINSTALL, ONLINE, USER_CONFIG_DIR

    assert not ONLINE
    assert not AUTOINSTALL
    ours = Path(os.environ["YOLO_CONFIG_DIR"])
    assert ours in USER_CONFIG_DIR.parents
    assert ours in Path(SETTINGS.file).parents


def test_a_font_in_the_settings_folder_stops_the_download_of_one() -> None:
    """check_font looks for USER_CONFIG_DIR/Arial.ttf before it asks the network."""
    from ultralytics.utils import USER_CONFIG_DIR
    from ultralytics.utils.checks import check_font

    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        assert Path(check_font(name)) == USER_CONFIG_DIR / name


def test_settings_can_be_updated_and_hold_a_switch_for_each_tracker() -> None:
    """SETTINGS is a dict with `file` and `update`; tracker switches are keys of it."""
    from ultralytics import SETTINGS

    from autoprune.evaluation.inside.log import leave_trackers_alone

    SETTINGS.update({"mlflow": True, "sync": True})
    leave_trackers_alone(lambda folder: folder == Path(os.environ["YOLO_CONFIG_DIR"]))
    assert {"wandb", "mlflow", "tensorboard", "comet", "sync"} <= set(SETTINGS)
    assert not SETTINGS["mlflow"]
    assert not SETTINGS["sync"]


def test_everything_it_says_goes_through_one_plain_logger(tmp_path: Path) -> None:
    """LOGGER is a logging.Logger named ultralytics, whose handlers and level may be replaced."""
    from ultralytics.utils import LOGGER

    from autoprune.evaluation.inside.log import log_to

    assert LOGGER is logging.getLogger("ultralytics")
    before = list(LOGGER.handlers)
    with (tmp_path / "log.txt").open("w") as stream, log_to(stream):
        LOGGER.info("said")
    assert (tmp_path / "log.txt").read_text() == "said\n"
    assert LOGGER.handlers == before


def test_its_voice_is_lowered_and_raised_by_level_and_one_constant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A progress bar asks utils.VERBOSE and LOGGER's level when made; set_logging(verbose=)."""
    from ultralytics import utils
    from ultralytics.utils import LOGGER, TQDM

    from autoprune.evaluation.inside.log import muted, speak_again

    level, handlers = LOGGER.level, list(LOGGER.handlers)
    monkeypatch.setattr(utils, "VERBOSE", False)
    assert TQDM(range(1)).disable
    try:
        speak_again()
        assert utils.VERBOSE
        assert LOGGER.level == logging.INFO
        assert len(LOGGER.handlers) == len(handlers), "its own handler is replaced, not added to"
        assert not TQDM(range(1)).disable
        with muted():
            assert TQDM(range(1)).disable
        assert LOGGER.level == logging.INFO
    finally:
        LOGGER.setLevel(level)
        LOGGER.handlers[:] = handlers


def test_reading_a_data_yaml_looks_for_a_font_in_a_way_that_can_be_stopped(
    data_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data.utils.check_det_dataset calls check_font by the name it has in that module."""
    from ultralytics.data import utils

    from autoprune.evaluation.inside.log import no_font_is_fetched

    asked: list[str] = []
    monkeypatch.setattr(utils, "check_font", asked.append)
    utils.check_det_dataset(str(data_yaml))
    assert asked == ["Arial.ttf"]
    with no_font_is_fetched():
        utils.check_det_dataset(str(data_yaml))
    assert asked == ["Arial.ttf"]
    assert utils.check_font == asked.append


def test_every_setting_of_ours_is_one_of_its_training_settings() -> None:
    """DEFAULT_CFG_DICT names the training settings and their defaults."""
    from autoprune.evaluation import fine_tune_settings as ours
    from autoprune.evaluation.inside.settings import default_settings

    short = set(ours.FineTuneSettings().as_train_args()) - {"device"}
    owned = set(ours._OWNED) - {"save_dir"}  # taken, but not listed: see the training below
    assert (short | set(ours._MORE) | owned) <= set(default_settings())
    assert {"device", "amp", "plots", "channels_last", "distill_model"} <= set(default_settings())


def test_a_wrong_kind_of_value_is_refused_with_a_reason() -> None:
    """check_cfg raises TypeError or ValueError, whose text says what is wrong."""
    from autoprune.evaluation.inside.settings import why_refused

    assert why_refused("epochs", 3) is None
    assert "epochs" in (why_refused("epochs", "many") or "")
    assert "mosaic" in (why_refused("mosaic", 2.0) or "")


# Files: images, labels, checkpoints


def test_labels_lie_in_a_labels_folder_beside_images() -> None:
    """img2label_paths: .../images/a.jpg -> .../labels/a.txt."""
    from autoprune.evaluation.inside.files import label_file

    assert label_file(Path("/set/images/val/a.jpg")) == Path("/set/labels/val/a.txt")


def test_images_are_known_by_their_suffix() -> None:
    """IMG_FORMATS: lower case suffixes without the dot."""
    from autoprune.evaluation.inside.files import is_image

    assert is_image(Path("a.JPG"))
    assert is_image(Path("a.png"))
    assert not is_image(Path("a.txt"))


def test_safe_loading_returns_the_content_first_and_refuses_code(tmp_path: Path) -> None:
    """torch_safe_load(path, safe_only=True) -> (content, path); nothing a file names is run."""
    from ultralytics.nn.tasks import torch_safe_load

    from autoprune.evaluation.inside.loading import unpickle

    good = save(tiny_model(), tmp_path / "good.pt")
    content, where = torch_safe_load(str(good), safe_only=True)
    assert type(content["model"]).__name__ == "DetectionModel"
    assert str(where) == str(good)
    marker = tmp_path / "run"

    class Malicious:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(marker),)

    torch.save({"model": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(Exception):  # noqa: B017 (whatever it is: nothing may have run)
        unpickle(tmp_path / "bad.pt", trust=False)
    assert not marker.exists()


def test_a_broken_file_at_an_absolute_path_stays_where_it_is(tmp_path: Path) -> None:
    """Only a broken file of a well-known name *without* its folder is deleted and downloaded."""
    from autoprune.evaluation.inside.loading import unpickle

    broken = tmp_path / "yolov8n.pt"
    broken.write_bytes(b"broken")
    with pytest.raises(Exception):  # noqa: B017
        unpickle(broken, trust=False)
    assert broken.read_bytes() == b"broken"


def test_yolo_reads_its_file_in_a_method_of_its_own(tmp_path: Path) -> None:
    """YOLO.__init__ calls self._load(path, ...): our content takes the place of the file's."""
    from ultralytics import YOLO

    from autoprune.evaluation.inside.loading import open_yolo, unpickle

    path = save(tiny_model(), tmp_path / "a.pt")
    plain, ours = YOLO(path), open_yolo(path, unpickle(path, trust=False))
    assert type(ours) is YOLO
    assert ours.overrides == plain.overrides
    assert set(ours.__dict__) == set(plain.__dict__)
    assert set(ours.model.__dict__) == set(plain.model.__dict__)
    assert ours.task == plain.task == "detect"
    assert str(ours.ckpt_path) == str(plain.ckpt_path)


def test_only_what_describes_the_model_is_remembered_of_its_training() -> None:
    """YOLO._reset_ckpt_args keeps imgsz, data, task and single_cls of the training's settings."""
    from ultralytics import YOLO

    kept = YOLO._reset_ckpt_args({"imgsz": 64, "data": "a.yaml", "task": "detect", "epochs": 9})
    assert kept == {"imgsz": 64, "data": "a.yaml", "task": "detect"}


def test_a_training_is_finished_by_dropping_its_optimizer(tmp_path: Path) -> None:
    """strip_optimizer(file, result) writes the moving average, fp16, without an optimizer."""
    from autoprune.evaluation.inside.loading import is_finished_training, without_optimizer

    running = {
        "epoch": 1, "optimizer": {"state": {}}, "best_fitness": 0.1, "updates": 3,
        "train_args": {"epochs": 3, "imgsz": SIZE},
    }  # fmt: skip
    path = tmp_path / "last.pt"
    torch.save({**running, "model": None, "ema": tiny_model()}, path)
    without_optimizer(path, tmp_path / "result.pt")
    result = torch.load(tmp_path / "result.pt", weights_only=False)
    assert result["optimizer"] is None
    assert result["ema"] is None
    assert next(result["model"].parameters()).dtype == torch.float16
    assert path.exists()
    assert not is_finished_training(running)
    assert is_finished_training(result)
    assert is_finished_training({**running, "epoch": 2})


def test_a_checkpoint_is_read_back_as_its_module(tmp_path: Path) -> None:
    """load_checkpoint(file)[0] is the module."""
    from ultralytics.nn.tasks import load_checkpoint

    path = save(tiny_model(), tmp_path / "a.pt")
    assert isinstance(load_checkpoint(path)[0].model, nn.Sequential)


# Models and recipes


def test_a_recipe_is_read_by_its_name_and_built_with_other_classes() -> None:
    """yaml_model_load(name), and DetectionModel(recipe, ch=, nc=, verbose=)."""
    from autoprune.evaluation.inside.stock import read_recipe, stock_model

    read = read_recipe("yolov8n.yaml")
    assert read["yaml_file"] == "yolov8n.yaml"
    assert read["scale"] == "n"
    assert read["head"][-1][2] == "Detect"
    assert stock_model("yolov8n.yaml", channels=3, classes=5).model[-1].nc == 5
    with pytest.raises(FileNotFoundError):
        read_recipe("no-such-model.yaml")


def test_a_layer_of_a_recipe_is_looked_up_in_torch_or_in_its_tasks() -> None:
    """parse_model takes `nn.X` from torch.nn and other names from the globals of nn.tasks."""
    from ultralytics.nn.modules import C2f

    from autoprune.evaluation.inside.stock import layer_class

    assert layer_class("C2f") is C2f
    assert layer_class("nn.Upsample") is nn.Upsample
    assert layer_class("no_such_layer") is None


def test_the_task_is_guessed_from_a_model_and_from_a_recipe() -> None:
    """guess_model_task takes either."""
    from autoprune.evaluation.inside.stock import plain_task, read_recipe, task_of

    assert task_of(tiny_model()) == "detect"
    assert task_of(read_recipe("yolov8n-seg.yaml")) == "segment"
    assert plain_task(tiny_model()) == "detect"
    assert plain_task(nn.Module()) is None


def test_a_sealed_recipe_cannot_be_built_and_the_error_shows_the_seal() -> None:
    """parse_model raises a KeyError with the unknown layer's name: it cannot be regrown."""
    from ultralytics.nn.tasks import DetectionModel

    from autoprune.evaluation.regrowth_guard import SEAL, seal

    model = tiny_model()
    seal(model)
    with pytest.raises(KeyError, match=r"autoprune\.load"):
        DetectionModel(copy.deepcopy(model.yaml), ch=3, nc=2, verbose=False)
    assert SEAL in str(model.yaml["backbone"][0])


def test_the_head_says_its_classes_and_ends_each_tower_in_one_convolution() -> None:
    """Detect: nc, no = nc + 4 * reg_max, stride, towers cv2 and cv3; the model has names, yaml."""
    model = tiny_model()
    head = model.model[-1]
    assert head.nc == len(model.names) == model.yaml["nc"] == 2
    assert head.no == head.nc + 4 * head.reg_max
    assert len(head.stride) == len(head.cv2) == len(head.cv3) == 3
    for tower, outputs in ((head.cv2, 4 * head.reg_max), (head.cv3, head.nc)):
        assert {type(part[-1]) for part in tower} == {nn.Conv2d}
        assert {part[-1].out_channels for part in tower} == {outputs}


def test_the_head_alone_decides_whether_outputs_are_raw() -> None:
    """Detect.training: raw logits as {"scores", "boxes"}; else decoded predictions come first."""
    model = tiny_model().eval()
    image = torch.rand(2, 3, SIZE, SIZE)
    places = sum((SIZE // stride) ** 2 for stride in (8, 16, 32))
    with torch.no_grad():
        decoded = model(image)
        model.model[-1].training = True
        raw = model(image)
    assert decoded[0].shape == (2, 4 + 2, places)
    assert raw["scores"].shape == (2, 2, places)
    assert raw["boxes"].shape == (2, 4 * model.model[-1].reg_max, places)


def test_the_head_has_switches_for_exporting_one_tensor() -> None:
    """Detect: export, format, dynamic and shape make it decode to one plain tensor."""
    model = tiny_model().eval()
    head = model.model[-1]
    head.export, head.format, head.dynamic, head.shape = True, "onnx", False, None
    with torch.no_grad():
        assert isinstance(model(torch.rand(1, 3, SIZE, SIZE)), torch.Tensor)


def test_fusing_folds_batch_norms_and_can_be_asked() -> None:
    """DetectionModel.fuse and is_fused."""
    model = tiny_model().eval()
    assert not model.is_fused()
    assert model.fuse(verbose=False).is_fused()


# The loss


def test_the_loss_of_a_batch_is_asked_of_the_model_itself() -> None:
    """DetectionModel.loss(batch) -> (parts, items); gains from `args`, `criterion` made on need."""
    from autoprune.evaluation.inside.loss import detection_loss, make_loss_ready

    model = tiny_model().eval()
    model.criterion = "of an earlier training"
    make_loss_ready(model)
    loss = detection_loss(model, labelled_batch())
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    assert loss.requires_grad


def test_the_detection_loss_is_three_parts_times_the_images_and_shows_its_gains() -> None:
    """v8DetectionLoss(model): hyp.box, hyp.cls, hyp.dfl; (preds, batch) -> (box, class, dfl)."""
    from ultralytics.utils.loss import v8DetectionLoss

    from autoprune.evaluation.inside.loss import make_loss_ready

    model = tiny_model().train()
    make_loss_ready(model)
    loss = v8DetectionLoss(model)
    batch = labelled_batch()
    parts, items = loss(model(batch["img"]), batch)
    assert parts.shape == (3,)
    shown = torch.stack([torch.as_tensor(item) for item in items.values()])
    torch.testing.assert_close(parts.detach(), shown * len(batch["img"]))
    assert all(gain > 0 for gain in (loss.hyp.box, loss.hyp.cls, loss.hyp.dfl))


def test_a_loss_of_our_own_takes_the_place_of_the_models() -> None:
    """DetectionModel.loss calls `criterion(preds, batch)` if there is one."""
    model = tiny_model().train()
    model.criterion = lambda preds, batch: (preds["scores"].sum() * 0 + 7, len(batch["img"]))
    loss, items = model.loss(labelled_batch())
    assert float(loss.detach()) == 7
    assert items == 2


# Training


class Training(SimpleNamespace):
    """What a training of one step asked for and had, by name."""


@pytest.fixture(scope="module")
def training(data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """One step of `PrunedYOLO.train`, seen by a subclass of our trainer."""
    from autoprune.evaluation.checkpoint import load_yolo
    from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO
    from autoprune.evaluation.inside.trainer import KeepShapeTrainer

    folder = tmp_path_factory.mktemp("run")
    asked: list[str] = []
    seen = Training(asked=asked, files=[], loaders=[], losses=[], epochs=[], folder=folder)

    class Watched(KeepShapeTrainer):
        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
            asked.append("get_model")
            seen.weights, seen.data = weights, dict(self.data)
            return super().get_model(cfg, weights, verbose)

        def get_dataloader(
            self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train"
        ) -> Any:
            seen.loaders.append(mode)
            return super().get_dataloader(dataset_path, batch_size, rank, mode)

        def build_optimizer(self, *args: Any, **kwargs: Any) -> Any:
            asked.append("build_optimizer")
            return super().build_optimizer(*args, **kwargs)

        def preprocess_batch(self, batch: Any) -> Any:
            asked.append("preprocess_batch")
            seen.images = len(batch["img"])
            return super().preprocess_batch(batch)

        def validate(self) -> Any:
            asked.append("validate")
            return super().validate()

        def save_metrics(self, metrics: Any) -> None:
            asked.append("save_metrics")
            super().save_metrics(metrics)

        def save_model(self) -> bool:
            asked.append("save_model")
            return super().save_model()

        def final_eval(self) -> None:
            asked.append("final_eval")
            super().final_eval()

    torch.manual_seed(0)
    model = tiny_model()
    model.names = {index: str(index) for index in range(2)}
    yolo = PrunedYOLO(load_yolo(save(model, folder / "tiny.pt")))
    for event in (
        "on_pretrain_routine_end", "on_train_start", "on_train_batch_end", "on_train_epoch_end",
        "on_fit_epoch_end",
    ):  # fmt: skip
        yolo.add_callback(event, lambda _trainer, event=event: asked.append(event))
    yolo.add_callback("on_train_batch_end", lambda trainer: seen.losses.append(trainer.loss))
    yolo.add_callback(
        "on_train_epoch_end", lambda trainer: seen.epochs.append((trainer.epoch, trainer.epochs))
    )
    before = set(yolo.callbacks["on_pretrain_routine_end"])
    seen.yolo = yolo
    seen.metrics = yolo.train(
        trainer=Watched, data=str(data_yaml), epochs=1, imgsz=SIZE, batch=4, workers=0, amp=False,
        plots=False, device="cpu", optimizer="SGD", mosaic=0.0, save_dir=str(folder / "run"),
    )  # fmt: skip
    seen.trainer = yolo.trainer
    seen.callbacks_left = set(yolo.callbacks["on_pretrain_routine_end"]) == before
    return seen


def test_the_trainer_is_asked_for_the_model_and_trains_what_it_gets(training: Training) -> None:
    """YOLO.train gives get_model the module itself (its `ckpt` is not empty), not a recipe."""
    assert training.asked[0] == "get_model"
    assert isinstance(training.weights, nn.Module)
    assert training.trainer.expected_shapes
    assert {"names", "channels", "nc"} <= set(training.data)


def test_a_training_asks_our_methods_in_this_order(training: Training) -> None:
    """The methods and events of a trainer that ours replace or listen to."""
    order = [
        "get_model", "build_optimizer", "on_pretrain_routine_end", "on_train_start",
        "preprocess_batch", "on_train_batch_end", "on_train_epoch_end",
    ]  # fmt: skip
    places = [training.asked.index(name) for name in order]
    assert places == sorted(places)
    after = training.asked[places[-1] :]
    assert {"validate", "save_metrics", "save_model", "on_fit_epoch_end", "final_eval"} <= {*after}
    assert after.index("save_model") < after.index("final_eval")


def test_loaders_are_made_by_mode(training: Training) -> None:
    """get_dataloader(mode="train") comes before get_dataloader(mode="val")."""
    assert training.loaders == ["train", "val"]


def test_the_loss_of_each_batch_and_the_epoch_can_be_seen(training: Training) -> None:
    """trainer.loss is a tensor; trainer.epoch counts from 0 up to trainer.epochs."""
    (loss,) = training.losses
    assert torch.isfinite(loss)
    assert loss.numel() == 1
    assert training.epochs == [(0, 1)]
    assert training.images == training.trainer.batch_size == 4


def test_a_trainer_knows_its_average_device_and_processes(training: Training) -> None:
    """trainer.ema.ema is what it hands out; device.type, world_size, args.data, fitness."""
    from ultralytics.utils import RANK

    assert isinstance(training.trainer.ema.ema, nn.Module)
    assert training.trainer.device.type == "cpu"
    assert training.trainer.world_size <= 1
    assert RANK == -1
    assert training.trainer.args.data
    assert "metrics/mAP50-95(B)" in training.trainer.metrics


def test_checkpoints_are_written_where_last_and_best_say(training: Training) -> None:
    """`save_dir` is taken; save_model and final_eval write to self.last and self.best."""
    weights = training.folder / "run" / "weights"
    assert sorted(file.name for file in weights.iterdir()) == ["best.pt", "last.pt"]
    assert training.trainer.last == weights / "last.pt"


def test_settings_of_a_training_are_kept_in_its_checkpoint(training: Training) -> None:
    """`train_args` has the epochs, `epoch` the last one, -1 once finished."""
    content = torch.load(training.trainer.last, weights_only=False)
    assert content["train_args"]["epochs"] == 1
    assert content["optimizer"] is None
    assert content["epoch"] == -1


def test_callbacks_are_lists_by_event(training: Training) -> None:
    """YOLO.callbacks: event -> list, copied into the trainer; ours are taken out again."""
    assert training.callbacks_left
    assert isinstance(training.yolo.callbacks["on_train_start"], list)


def test_a_yolo_finds_its_trainer_in_a_table_by_task() -> None:
    """YOLO.task_map["detect"]["trainer"], which PrunedYOLO replaces."""
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer

    from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO
    from autoprune.evaluation.inside.trainer import KeepShapeTrainer

    yolo = YOLO("yolov8n.yaml")
    assert yolo.task_map["detect"]["trainer"] is DetectionTrainer
    assert PrunedYOLO(yolo)._smart_load("trainer") is KeepShapeTrainer


def test_what_a_yolo_consists_of() -> None:
    """The attributes that as_pruned_yolo gives a YOLO of its own; more would be shared."""
    from ultralytics import YOLO

    yolo = YOLO("yolov8n.yaml")
    own = set(yolo.__dict__) - set(nn.Module().__dict__)
    assert own == {
        "callbacks", "predictor", "trainer", "ckpt", "cfg", "ckpt_path", "overrides", "metrics",
        "task", "model_name",
    }  # fmt: skip
    assert list(yolo._modules) == ["model"]


def test_several_devices_are_told_by_a_comma() -> None:
    """parse_device: "0,1" and [0, 1] are the same list; a comma means several processes."""
    from ultralytics.utils.torch_utils import parse_device

    for several in ("0,1", [0, 1]):
        assert "," in str(parse_device(several))
    for one in ("cpu", 0, "0", "cuda:0"):
        assert "," not in str(parse_device(one))


def test_a_plain_module_is_its_own_unwrapped_one() -> None:
    """unwrap_model takes the wrappers of compiling and of several GPUs off."""
    from ultralytics.utils.torch_utils import unwrap_model

    model = tiny_model()
    assert unwrap_model(model) is model
    assert unwrap_model(nn.DataParallel(model)) is model


# Validation


def test_a_validator_filters_decoded_predictions_in_a_method_of_its_own(
    data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DetectionValidator.postprocess gets the model's output; metrics.box.map50, .map; seen."""
    from autoprune.evaluation.inside.validator import FiniteValidator, main_scores

    shapes: list[tuple[int, ...]] = []
    plain = FiniteValidator.postprocess

    def noting(self: Any, preds: Any) -> Any:
        shapes.append(tuple(preds[0].shape))
        return plain(self, preds)

    monkeypatch.setattr(FiniteValidator, "postprocess", noting)
    model = tiny_model().eval()
    started: list[Any] = []
    settings = {
        "task": "detect", "mode": "val", "data": str(data_yaml), "split": "val", "imgsz": SIZE,
        "batch": 2, "rect": False, "device": "cpu", "workers": 0, "plots": False, "verbose": False,
    }  # fmt: skip
    found = main_scores(model, tmp_path, settings, started.append)
    assert all(0 <= score <= 1 for score in found[:2])
    assert found[2] == 2
    assert len(started) == 1
    assert [shape[:2] for shape in shapes] == [(2, 6)]


def test_a_validator_takes_any_module_that_says_what_it_reads_of_a_model(
    data_yaml: Path, tmp_path: Path
) -> None:
    """Of a plain module: names, stride, yaml's channels, end2end; args.imgsz may be [h, w]."""
    import numpy as np

    from autoprune.evaluation.inside.stand_in import StandIn
    from autoprune.evaluation.inside.validator import main_scores

    shapes: list[tuple[int, ...]] = []
    model = tiny_model().eval()

    def answers(image: Any) -> list[Any]:
        shapes.append(image.shape)
        assert image.dtype == np.float32
        assert 0 <= image.min() < image.max() <= 1
        with torch.no_grad():
            return [model(torch.from_numpy(image))[0].numpy()]

    settings = {
        "task": "detect", "mode": "val", "data": str(data_yaml), "split": "val", "rect": False,
        "batch": 2, "imgsz": (SIZE, 2 * SIZE), "device": "cpu", "workers": 0, "plots": False,
        "verbose": False,
    }  # fmt: skip
    found = main_scores(StandIn(model, answers, 3), tmp_path, settings, lambda _: None)
    assert shapes == [(1, 3, SIZE, 2 * SIZE)] * 2
    assert found == main_scores(copy.deepcopy(model), tmp_path, settings, lambda _: None)
    assert set(found.by_class) <= set(NAMES)
