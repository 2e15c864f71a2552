"""A plan that does not fit its model is refused by index, with what was got and expected."""

from __future__ import annotations

from typing import Any

import pytest

from autoprune.domain.plan import PruningPlan
from autoprune.errors import PlanError
from autoprune.pruning.prune import Pruner
from tests.pruning.architectures import uniform
from tests.pruning.networks import fingerprint, stock


def changed(**entries: Any) -> dict[int, Any]:
    """yolov8n's plan of zeros with `index_N=value` replaced."""
    return {**uniform("yolov8n", 0.0), **{int(key[6:]): value for key, value in entries.items()}}


CASES = {
    "an index beyond the model": (changed(index_23=0.1), 23),
    "a list at a C2f": (changed(index_4=(0.1, 0.2)), 4),
    "a list at a Conv": (changed(index_0=(0.1, 0.2)), 0),
    "a list at an Upsample": (changed(index_10=(0.1, 0.2)), 10),
    "a number at Detect": (changed(index_22=0.3), 22),
    "null at Detect": (changed(index_22=None), 22),
    "null at a Conv": (changed(index_7=None), 7),
    "null at SPPF": (changed(index_9=None), 9),
    "a number at Upsample": (changed(index_13=0.25), 13),
    "zero at Concat": (changed(index_11=0.0), 11),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_entry_is_refused_by_its_index(case: str) -> None:
    ratios, index = CASES[case]
    model = stock("yolov8n")
    before = fingerprint(model)
    with pytest.raises(PlanError, match=rf"(?=.*\b{index}\b).*got .*, expected ") as refusal:
        Pruner(model).prune(PruningPlan(ratios))
    assert "\n" not in str(refusal.value)
    assert fingerprint(model) == before


@pytest.mark.parametrize("missing", [0, 10, 17, 22])
def test_a_missing_index_is_named(missing: int) -> None:
    ratios = uniform("yolov8n", 0.0)
    del ratios[missing]
    with pytest.raises(PlanError, match=rf"\b{missing}\b.*expected "):
        Pruner(stock("yolov8n")).prune(PruningPlan(ratios))


def test_a_plan_of_another_graph_is_refused() -> None:
    with pytest.raises(PlanError, match=r"\b16\b"):
        Pruner(stock("yolov8n-p2")).prune(PruningPlan(uniform("yolov8n", 0.0)))
