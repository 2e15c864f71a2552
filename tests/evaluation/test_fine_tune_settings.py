from __future__ import annotations

import math
from typing import Any

import pytest
from ultralytics.cfg import get_cfg
from ultralytics.utils import DEFAULT_CFG_DICT

from autoprune.errors import ConfigError
from autoprune.evaluation import fine_tune_settings
from autoprune.evaluation.fine_tune_settings import (
    FineTuneSettings,
    check_freeze,
    full_train_args,
    settings_from,
)


def test_the_defaults_name_optimizer_and_rate_and_step_on_every_batch() -> None:
    given = settings_from({}).as_train_args()
    assert given["epochs"] >= 3
    assert given["optimizer"] != "auto"
    assert given["lr0"] > 0
    assert given["nbs"] == given["batch"]
    assert given["amp"] is False
    assert "device" not in given
    get_cfg(overrides=given)  # every key and value is one Ultralytics accepts


def test_overrides_reach_ultralytics_and_the_record() -> None:
    settings = settings_from({"epochs": 7, "lr0": 0.02, "fliplr": 0.0, "device": 0, "batch": 4})
    assert settings.epochs == 7
    assert settings.device == 0
    arguments = settings.as_train_args()
    assert (arguments["lr0"], arguments["fliplr"], arguments["nbs"]) == (0.02, 0.0, 4)
    assert settings.as_mapping()["fliplr"] == 0.0
    assert settings_from({"nbs": 64}).as_train_args()["nbs"] == 64
    assert settings_from({"cos_lr": True, "warmup_bias_lr": 0.1}).as_train_args()["cos_lr"] is True


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochz", 3, "closest match epochs"),
        ("conf", 0.5, "expected one of"),
        ("epochs", 0, "epochs"),
        ("epochs", "three", "epochs"),
        ("epochs", True, "a number"),
        ("lr0", 1.5, "lr0"),
        ("lr0", "fast", "lr0"),
        ("batch", -1, "whole number"),
        ("batch", 0.5, "whole number"),
        ("optimizer", "auto", "lr0"),
        ("optimizer", "SGDD", "one of SGD"),
        ("cos_lr", "yes", "cos_lr"),
        ("mosaic", None, "mosaic"),
        ("data", "other.yaml", "--data"),
        ("imgsz", 640, "--imgsz"),
        ("resume", True, "anew"),
        ("project", "here", "folder"),
        ("workers", -1, "0 to 1024"),
        ("warmup_epochs", -1, "0 to 100000"),
        ("warmup_epochs", math.nan, "0 to 100000"),
        ("box", math.inf, "0 to 1e+06"),
        ("degrees", 720, "-180 to 180"),
        ("seed", 99999999999999, "0 to"),
        ("epochs", 1_000_000_000, "1 to 100000"),
        ("cache", "foo", "ram or disk"),
        ("cache", "/etc", "ram or disk"),
        ("cache", 1, "ram or disk"),
        ("freeze", "abc", "how many layers"),
        ("freeze", -1, "how many layers"),
        ("freeze", True, "how many layers"),
        ("freeze", [[[]]], "how many layers"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_the_key(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({key: value})
    assert str(caught.value).startswith(f"fine-tune: {key}: got {value!r}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_ultralytics_documents_is_accepted() -> None:
    for key, values in {
        "cache": [True, False, "ram", "disk"],
        "freeze": [0, 10, [0, 3], None],
        "workers": [0, 8],
        "warmup_epochs": [0, 0.5],
    }.items():
        for value in values:
            assert settings_from({key: value}).as_mapping()[key] == value


@pytest.mark.parametrize(("value", "wrong"), [(99, True), (23, True), ([0, 23], True), (22, False),
                                              ([22], False), (None, False)])  # fmt: skip
def test_only_layers_that_there_are_can_be_frozen(value: Any, wrong: bool) -> None:
    if wrong:
        with pytest.raises(ConfigError, match=r"freeze: got .* 23"):
            check_freeze(value, 23)
    else:
        check_freeze(value, 23)


def test_every_key_named_here_is_a_key_of_the_installed_ultralytics() -> None:
    own = set(FineTuneSettings().as_mapping()) - {"distill"}  # the only one of ours
    named = own | set(fine_tune_settings._MORE) | (set(fine_tune_settings._OWNED) - {"save_dir"})
    assert named <= set(DEFAULT_CFG_DICT)


def test_the_rate_follows_the_damage_unless_one_is_named() -> None:
    settings = settings_from({})
    rates = [settings.after_losing(lost).lr0 or 0.0 for lost in (-0.1, 0.0, 0.1, 0.3, 0.9)]
    assert rates == sorted(rates)
    assert rates[0] == rates[1] < rates[2] < rates[3] == rates[4]
    assert settings.as_train_args()["lr0"] == rates[0]
    assert settings_from({"lr0": 0.02}).after_losing(0.5).lr0 == 0.02


@pytest.mark.parametrize("share", [-0.1, 1.5, True, "half"])
def test_the_teachers_share_is_checked(share: Any) -> None:
    with pytest.raises(ConfigError, match=r"distill: .*from 0 to 1"):
        settings_from({"distill": share})


def test_keys_of_the_other_tasks_are_passed_on() -> None:
    keys = {"pose": 20.0, "kobj": 2.0, "angle": 1.0, "overlap_mask": False, "mask_ratio": 2}
    assert settings_from(keys).as_train_args().items() >= keys.items()


def test_a_full_fine_tune_is_not_quantization_aware() -> None:
    with pytest.raises(ConfigError, match=r"fine-tune: quantize: got 8, .* nvidia-modelopt"):
        full_train_args({"epochs": 2, "quantize": 8})
    assert full_train_args({"epochs": 2, "quantize": None})["epochs"] == 2
