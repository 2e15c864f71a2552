from autoprune.domain.plan import as_ratios, kept_width
from autoprune.latency.training_plans import STRONGEST, training_plan

WIDTHS = {0: (64,), 1: (128,), 2: (), 3: (64, 80)}


def test_a_plan_depends_on_seed_and_number_alone():
    first = [training_plan(WIDTHS, 0, number) for number in range(20)]
    assert [training_plan(WIDTHS, 0, number) for number in reversed(range(20))] == first[::-1]
    assert training_plan(WIDTHS, 1, 0) != first[0]


def test_plans_range_from_mild_to_strong_and_on_and_off_the_blocks():
    plans = [training_plan(WIDTHS, 0, number) for number in range(48)]
    first = [plan.prune_ratios[1] for plan in plans]
    assert min(first) < 0.1
    assert max(first) > 0.7
    assert all(0 <= ratio <= STRONGEST for ratio in first)
    kept = [kept_width(128, plan.prune_ratios[1], plan.round_to) for plan in plans]
    for block in (16, 8, 4, 2):
        assert sum(width % block == 0 for width in kept) >= 8
        assert sum(width % block != 0 for width in kept) >= 4
    assert all(plan.prune_ratios[2] is None for plan in plans)
    assert all(len(as_ratios(plan.prune_ratios[3])) == 2 for plan in plans)
