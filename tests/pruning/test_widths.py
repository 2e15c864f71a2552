"""Widths of every conv against the documented rule, worked out without the engine."""

from __future__ import annotations

import pytest
from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.pruning.prune import Pruner, widths_of
from tests.pruning.architectures import TABLES, expected_widths, uniform
from tests.pruning.networks import plan_like, stock

# yolov8n at ratio 0.3, by hand: 16 -> 12, 32 -> 23, 64 -> 45, 80 -> 56, 128 -> 90, 256 -> 180
YOLOV8N_THIRTY_PERCENT = """
    0.conv 3 12            1.conv 12 23
    2.cv1.conv 23 24       2.m.0.cv1.conv 12 12   2.m.0.cv2.conv 12 12   2.cv2.conv 36 23
    3.conv 23 45
    4.cv1.conv 45 46       4.m.0.cv1.conv 23 23   4.m.0.cv2.conv 23 23
    4.m.1.cv1.conv 23 23   4.m.1.cv2.conv 23 23   4.cv2.conv 92 45
    5.conv 45 90
    6.cv1.conv 90 90       6.m.0.cv1.conv 45 45   6.m.0.cv2.conv 45 45
    6.m.1.cv1.conv 45 45   6.m.1.cv2.conv 45 45   6.cv2.conv 180 90
    7.conv 90 180
    8.cv1.conv 180 180     8.m.0.cv1.conv 90 90   8.m.0.cv2.conv 90 90   8.cv2.conv 270 180
    9.cv1.conv 180 90      9.cv2.conv 360 180
    12.cv1.conv 270 90     12.m.0.cv1.conv 45 45  12.m.0.cv2.conv 45 45  12.cv2.conv 135 90
    15.cv1.conv 135 46     15.m.0.cv1.conv 23 23  15.m.0.cv2.conv 23 23  15.cv2.conv 69 45
    16.conv 45 45
    18.cv1.conv 135 90     18.m.0.cv1.conv 45 45  18.m.0.cv2.conv 45 45  18.cv2.conv 135 90
    19.conv 90 90
    21.cv1.conv 270 180    21.m.0.cv1.conv 90 90  21.m.0.cv2.conv 90 90  21.cv2.conv 270 180
    22.cv2.0.0.conv 45 45  22.cv2.0.1.conv 45 45  22.cv2.0.2 45 64
    22.cv2.1.0.conv 90 45  22.cv2.1.1.conv 45 45  22.cv2.1.2 45 64
    22.cv2.2.0.conv 180 45 22.cv2.2.1.conv 45 45  22.cv2.2.2 45 64
    22.cv3.0.0.conv 45 56  22.cv3.0.1.conv 56 56  22.cv3.0.2 56 80
    22.cv3.1.0.conv 90 56  22.cv3.1.1.conv 56 56  22.cv3.1.2 56 80
    22.cv3.2.0.conv 180 56 22.cv3.2.1.conv 56 56  22.cv3.2.2 56 80
"""

# The same ratio where the other models differ. P6: 192 -> 135, halves 96 -> 68; P2's extra level
# reads index 15 (45 channels) and index 2 (23); yolov8s: 512 -> 359, its halves 256 -> 180.
ELSEWHERE_THIRTY_PERCENT = {
    "yolov8s": """
        0.conv 3 23            1.conv 23 45           2.cv1.conv 45 46       2.cv2.conv 69 45
        8.cv1.conv 359 360     8.cv2.conv 540 359     9.cv1.conv 359 180     9.cv2.conv 720 359
        12.cv1.conv 539 180    21.cv1.conv 539 360    22.cv3.0.0.conv 90 90  22.cv3.2.2 90 80
    """,
    "yolov8n-p2": """
        18.cv1.conv 68 24      18.m.0.cv1.conv 12 12  18.m.0.cv2.conv 12 12  18.cv2.conv 36 23
        19.conv 23 23          21.cv1.conv 68 46      28.cv2.0.0.conv 23 45  28.cv3.3.0.conv 180 56
    """,
    "yolov8n-p6": """
        8.cv1.conv 135 136     8.cv2.conv 204 135     9.conv 135 180         11.cv2.conv 360 180
        14.cv1.conv 315 136    14.m.0.cv1.conv 68 68  14.m.0.cv2.conv 68 68  14.cv2.conv 136 135
        29.cv1.conv 315 180    29.m.0.cv1.conv 90 90  29.cv2.conv 180 180    30.cv2.3.0.conv 180 45
    """,
}

PLANS = {
    "nothing": lambda name: PruningPlan(uniform(name, 0.0)),
    "three tenths": lambda name: PruningPlan(uniform(name, 0.3)),
    "nearly everything": lambda name: PruningPlan(uniform(name, 0.99)),
    "nearly everything in eights": lambda name: PruningPlan(uniform(name, 0.99), round_to=8),
    "0.37 in eights": lambda name: PruningPlan(uniform(name, 0.37), round_to=8),
    "mixed": lambda name: plan_like(uniform(name, 0.0), seed=3, choices=(0.0, 0.15, 0.33, 0.62)),
}


def conv_widths(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Conv name -> (input, output) channels as its weight has them; Detect's fixed DFL left out."""
    return {
        name: (module.weight.shape[1], module.weight.shape[0])
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and ".dfl." not in name
    }


def from_text(table: str) -> dict[str, tuple[int, int]]:
    words = table.split()
    rows = zip(words[::3], words[1::3], words[2::3], strict=True)
    return {f"model.{name}": (int(reads), int(gives)) for name, reads, gives in rows}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_hand_typed_tables_describe_the_stock_models(name: str) -> None:
    assert conv_widths(stock(name)) == expected_widths(name, uniform(name, 0.0))


def test_every_width_of_yolov8n_at_three_tenths_is_the_one_worked_out_by_hand() -> None:
    pruned = Pruner(stock("yolov8n")).prune(PruningPlan(uniform("yolov8n", 0.3)))
    assert conv_widths(pruned) == from_text(YOLOV8N_THIRTY_PERCENT)


@pytest.mark.parametrize("name", sorted(ELSEWHERE_THIRTY_PERCENT))
def test_the_other_models_match_hand_worked_widths_where_they_differ(name: str) -> None:
    widths = conv_widths(Pruner(stock(name)).prune(PruningPlan(uniform(name, 0.3))))
    by_hand = from_text(ELSEWHERE_THIRTY_PERCENT[name])
    assert {conv: widths[conv] for conv in by_hand} == by_hand


@pytest.mark.parametrize("plan_name", sorted(PLANS))
@pytest.mark.parametrize("name", ["yolov8n", "yolov8s", "yolov8n-p2", "yolov8n-p6", "unusual"])
def test_every_conv_has_the_width_the_rule_gives(name: str, plan_name: str) -> None:
    plan = PLANS[plan_name](name)
    pruned = Pruner(stock(name)).prune(plan)
    assert conv_widths(pruned) == expected_widths(name, plan.prune_ratios, plan.round_to)


@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-p6"])
def test_modules_say_the_widths_their_weights_have(name: str) -> None:
    plan = PruningPlan(uniform(name, 0.37))
    for module in Pruner(stock(name)).prune(plan).modules():
        if isinstance(module, nn.Conv2d):
            said = (module.out_channels, module.in_channels // module.groups)
            assert said == tuple(module.weight.shape[:2])
        elif isinstance(module, nn.BatchNorm2d):
            assert module.num_features == len(module.weight) == len(module.running_var)
        elif hasattr(module, "c"):  # C2f and C2 split cv1's output by this number
            assert 2 * module.c == module.cv1.conv.out_channels


def test_the_family_reports_the_pruned_widths() -> None:
    pruned = Pruner(stock("yolov8n")).prune(PruningPlan(uniform("yolov8n", 0.3)))
    widths = widths_of(pruned)
    assert (widths[0], widths[9], widths[10], widths[21]) == ((12,), (180,), (), (180,))
    assert widths[22] == (45, 56)


@pytest.mark.parametrize(("classes", "hidden"), [(1, 64), (8, 64), (80, 80), (365, 100)])
def test_any_class_count_keeps_its_outputs(classes: int, hidden: int) -> None:
    model = stock("yolov8n", classes)
    pruned = Pruner(model).prune(PruningPlan(uniform("yolov8n", 0.5)))
    tower = pruned.model[-1].cv3[0]
    assert [conv.weight.shape[0] for conv in (tower[0].conv, tower[1].conv, tower[2])] == [
        hidden // 2,
        hidden // 2,
        classes,
    ]
    assert pruned.model[-1].nc == classes
    assert pruned.names == model.names
