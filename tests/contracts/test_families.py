"""What every row of the table of families promises: its stock models exist and can be searched."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch

from autoprune.domain.plan import PruningPlan
from autoprune.domain.space import SearchSpace
from autoprune.evaluation.inside.stock import stock_model
from autoprune.families import ANY_OTHER, FAMILIES, family_of, space_file
from autoprune.families.siblings import smaller_siblings
from autoprune.pruning.prune import Pruner, widths_of

pytestmark = pytest.mark.parametrize("name", FAMILIES.names())
SIDE = 64


@lru_cache(maxsize=1)
def smallest(name: str) -> Any:
    """The first of its stock models; some other for the row that has none."""
    torch.manual_seed(0)
    stock = FAMILIES.row(name, "family").stock
    return stock_model(
        f"{stock[0][0] if stock else 'yolov3-tiny'}.yaml", channels=3, classes=4
    ).eval()


def test_its_stock_models_are_its_own(name: str) -> None:
    assert family_of(smallest(name)).name == name
    assert bool(FAMILIES.row(name, "family").stock) == (name != ANY_OTHER)
    for sizes in FAMILIES.row(name, "family").stock:
        assert len(set(sizes)) == len(sizes)
        stock_model(f"{sizes[0]}.yaml", channels=3, classes=4)


def test_the_next_smaller_stock_model_is_a_sibling(name: str) -> None:
    for sizes in FAMILIES.row(name, "family").stock[:1]:
        larger = stock_model(f"{sizes[1]}.yaml", channels=3, classes=4)
        (sibling, built), *_ = smaller_siblings(larger)
        assert sibling == sizes[0]
        assert widths_of(built).keys() == widths_of(larger).keys()
    assert name != ANY_OTHER or not list(smaller_siblings(smallest(name)))


def test_its_search_space_fits_its_models(name: str) -> None:
    pruner = Pruner(smallest(name))
    space = SearchSpace.load(space_file(FAMILIES.row(name, "family")), pruner.widths)
    strongest = {key: offered[0] for key, offered in space.choices.items()}
    assert isinstance(space.plan(strongest), PruningPlan)
    pruned = pruner.prune(space.plan(strongest))
    with torch.no_grad():
        found = pruned(torch.rand(1, 3, SIDE, SIDE))
    assert torch.isfinite(found[0] if isinstance(found, tuple) else found).all()
    params = [sum(each.numel() for each in model.parameters()) for model in (pruned, pruner.model)]
    assert params[0] < params[1] / 2
