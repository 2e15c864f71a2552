"""The width rule, the ratios that hit it exactly, the per-index YAML and its refusals (F12)."""

import math
import random
from pathlib import Path

import pytest

from autoprune.domain.plan import Calibration, PruningPlan, as_ratios, kept_width, ratio_for
from autoprune.errors import ConfigError, PlanError

DOCUMENTED = """\
prune_ratios:
  0: 0.1          # Conv
  2: 0.25         # C2f
  9: 0.0          # SPPF
  10: null        # Upsample / Concat carry null
  22: [0.0, 0.0]  # Detect: [regression tower, classification tower]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_width_up_to_512_is_hit_exactly() -> None:
    for width in range(1, 513):
        for kept in range(1, width + 1):
            ratio = ratio_for(width, kept)
            assert 0 <= ratio < 1
            assert width - int(width * ratio) == kept


@pytest.mark.parametrize("width", [640, 768, 1024, 1280])
def test_the_largest_models_widths_are_hit_exactly(width: int) -> None:
    assert all(kept_width(width, ratio_for(width, k)) == k for k in range(1, width + 1))


def test_the_plain_quotient_would_have_missed() -> None:
    assert kept_width(22, 15 / 22) == 8
    assert kept_width(22, ratio_for(22, 7)) == 7


def test_exact_ratios_survive_the_file_to_the_last_bit(tmp_path: Path) -> None:
    draw = random.Random(0)
    ratios = {}
    for index in range(200):
        width = draw.randint(2, 1280)
        ratios[index] = ratio_for(width, draw.randint(1, width))
    path = tmp_path / "plan.yaml"
    PruningPlan(ratios).save(path)
    assert PruningPlan.load(path).prune_ratios == ratios


@pytest.mark.parametrize(("width", "kept"), [(8, 0), (8, 9), (0, 0), (8, -1)])
def test_an_impossible_width_is_refused(width: int, kept: int) -> None:
    with pytest.raises(ValueError, match="kept must be in"):
        ratio_for(width, kept)


@pytest.mark.parametrize(
    ("width", "ratio", "round_to", "kept"),
    [
        (64, 0.0, 1, 64),
        (64, 0.1, 1, 58),  # 64 - int(6.4)
        (64, 0.1, 8, 64),  # 58 upwards
        (64, 0.25, 8, 48),
        (64, 0.26, 8, 48),  # 48 is a multiple already
        (64, 0.24, 8, 56),  # 49 upwards
        (16, 0.999, 1, 1),
        (16, 0.999, 8, 8),
        (20, 0.1, 16, 20),  # 32 would be more than there is
        (1, 0.999, 1, 1),
        (3, 0.5, 8, 3),
    ],
)
def test_the_rule_by_hand(width: int, ratio: float, round_to: int, kept: int) -> None:
    assert kept_width(width, ratio, round_to) == kept


def test_extreme_ratios_always_keep_something_and_never_grow() -> None:
    draw = random.Random(1)
    for _ in range(2000):
        width, round_to = draw.randint(1, 1280), draw.choice([1, 4, 8, 16, 32])
        ratio = draw.choice([0.0, draw.random(), math.nextafter(1.0, 0.0)])
        kept = kept_width(width, ratio, round_to)
        assert 1 <= kept <= width
        assert kept % round_to == 0 or kept == width


def test_the_documented_form_loads_as_written(tmp_path: Path) -> None:
    plan = PruningPlan.load(write(tmp_path, DOCUMENTED))
    assert plan.prune_ratios == {0: 0.1, 2: 0.25, 9: 0.0, 10: None, 22: (0.0, 0.0)}
    assert plan == PruningPlan(plan.prune_ratios)  # every optional key at its default


def test_all_optional_keys_come_back(tmp_path: Path) -> None:
    plan = PruningPlan(
        {0: 0.1, 1: None, 22: (0.5, 0.25)},
        round_to=8,
        importance="taylor",
        compensate=False,
        calibration=Calibration("ünï/data.yaml", 64, 3),
        base="9f2c",
    )
    path = tmp_path / "plan.yaml"
    plan.save(path)
    assert PruningPlan.load(path) == plan


def test_a_plan_of_zeros_removes_nothing() -> None:
    assert PruningPlan({0: 0.0, 10: None, 22: (0.0, 0.0)}).removes_nothing()
    assert not PruningPlan({0: 0.0, 22: (0.0, 0.1)}).removes_nothing()


def test_every_entry_has_a_pair_form() -> None:
    assert (as_ratios(None), as_ratios(0.5), as_ratios((0.1, 0.2))) == ((), (0.5,), (0.1, 0.2))


BOMB = "a: &a [x, x]\nb: &b [*a, *a, *a]\nprune_ratios: {0: *b}\n"
BAD = {
    "alias bomb": (BOMB, "aliases"),
    "duplicate key": ("prune_ratios: {0: 0.1, 0: 0.2}", "key 0 is given twice"),
    "duplicate section": ("prune_ratios: {0: 0.1}\nprune_ratios: {0: 0.2}", "given twice"),
    "negative index": ("prune_ratios: {-1: 0.1}", "prune_ratios: got -1, expected a layer index"),
    "text index": ("prune_ratios: {stem: 0.1}", "prune_ratios: got 'stem', expected a layer"),
    "bool index": ("prune_ratios: {yes: 0.1}", "prune_ratios: got True, expected a layer index"),
    "ratio < 0": ("prune_ratios: {0: -0.1}", "prune_ratios.0: got -0.1, expected a ratio in [0, 1"),
    "ratio = 1": ("prune_ratios: {0: 1}", "prune_ratios.0: got 1, expected a ratio in [0, 1)"),
    "ratio > 1": ("prune_ratios: {4: 1.2}", "prune_ratios.4: got 1.2, expected a ratio in [0, 1)"),
    "nan": ("prune_ratios: {0: .nan}", "prune_ratios.0: got nan, expected a ratio in [0, 1)"),
    "inf": ("prune_ratios: {0: .inf}", "prune_ratios.0: got inf, expected a ratio in [0, 1)"),
    "1e-1": ("prune_ratios: {0: 1e-1}", "prune_ratios.0: got '1e-1', expected a ratio in [0, 1)"),
    "bool ratio": ("prune_ratios: {0: no}", "prune_ratios.0: got False, expected a ratio"),
    "long Detect": (
        "prune_ratios: {22: [0, 0, 0, 0]}",
        "prune_ratios.22: got [0, 0, 0, 0], expected a p",
    ),
    "bad in Detect": (
        "prune_ratios: {22: [0.1, 2]}",
        "prune_ratios.22[1]: got 2, expected a ratio",
    ),
    "nothing": ("", "prune_ratios: got None, expected a mapping"),
    "empty ratios": ("prune_ratios: {}", "prune_ratios: got {}, expected a mapping"),
    "a list": ("- 0.1\n- 0.2", "got [0.1, 0.2], expected a mapping of keys to values"),
    "unknown key": ("prune_ratios: {0: 0.1}\nround: 8", "round: got 'round', expected one of"),
    "bad round_to": ("prune_ratios: {0: 0.1}\nround_to: 0", "round_to: got 0, expected a whole"),
    "bad calibration": (
        "prune_ratios: {0: 0.1}\ncalibration: {data: d.yaml, images: -1, seed: 0}",
        "calibration.images: got -1, expected a whole number",
    ),
    "half a calibration": ("prune_ratios: {0: 0.1}\ncalibration: {data: d}", "calibration: got {"),
    "text for a flag": (
        "prune_ratios: {0: 0.1}\ncompensate: 1",
        "compensate: got 1, expected true",
    ),
    "number for a name": ("prune_ratios: {0: 0.1}\nimportance: 2", "importance: got 2, expected t"),
    "not YAML": ("prune_ratios: {0: 0.1", "not valid YAML"),
    "python object": ("prune_ratios: !!python/name:os.system", "not valid YAML"),
    "unhashable key": ("prune_ratios: {[0, 1]: 0.1}", "not valid YAML"),
    "deep nesting": ("prune_ratios: " + "[" * 20000, "nested deeper than 32 levels"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_plan_is_refused_with_file_key_got_and_expected(tmp_path: Path, case: str) -> None:
    text, said = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        PruningPlan.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 260


def test_scientific_notation_is_explained(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="written as a plain decimal"):
        PruningPlan.load(write(tmp_path, "prune_ratios: {0: 1e-1}"))
