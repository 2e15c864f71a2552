"""card.md says in words what card.json holds; names are shown as text."""

from __future__ import annotations

from autoprune.shipping.card_text import card_text
from autoprune.shipping.request import Limits
from autoprune.shipping.run import _missed, _worse
from tests.shipping.fake_card import card, score, side


def test_it_names_the_verdict_the_machine_and_the_classes_that_lost() -> None:
    text = card_text(card())
    assert "**within its limits** (at most 6.000 ms)" in text
    assert "on A core (avx2, Linux x86_64), in 3 fresh processes" in text
    assert "mAP is that of the exported files, answered by onnxruntime 1.32.0." in text
    assert "Worse by more than 3 points: a (0.800 to 0.700)." in text
    assert "| 5.000 (4.950 to 5.050) |" in text
    missed = card_text(card(met=False, missed=("latency: up to 7 ms",)))
    assert "**MISSED: latency: up to 7 ms**" in missed


def test_without_the_runtime_here_it_says_whose_map_it_is() -> None:
    assert "mAP is that of onnxruntime 1.32.0, not of the exported files." in card_text(
        card(validated=False)
    )


def test_names_are_text() -> None:
    text = card_text(card())
    assert "<script>" not in text
    assert "| &lt;script>alert(1)&lt;/script>\\|'rm' x | no objects | no objects |" in text


def test_limits_are_judged_by_the_upper_bound_and_the_final_images() -> None:
    sides = {"dense": side(10, 0.7, {}), "shipped": side(5, 0.66, {})}
    assert _missed(Limits(), sides) == ()
    assert _missed(Limits(budget_ms=5.06, max_drop=4.1), sides) == ()
    late, lost = _missed(Limits(budget_ms=5.04, max_drop=3.9), sides)
    assert late == "latency: up to 5.050 ms (95 % interval), the limit is 5.040 ms"
    assert lost == "mAP50-95: 4.0 points lost on test, the limit is 3.9"


def test_a_speed_up_is_judged_by_the_share_of_dense_whatever_the_dense_time_is() -> None:
    sides = {"dense": side(10, 0.7, {}), "shipped": side(5, 0.66, {})}
    share = sides["shipped"].latency.ratio_high
    assert _missed(Limits(speedup=0.99 / share), sides) == ()
    (late,) = _missed(Limits(speedup=1.01 / share), sides)
    assert late.startswith(f"latency: up to {share:.3f} of dense (95 % interval), the limit is")


def test_a_class_is_worse_beyond_three_points() -> None:
    dense, shipped = ({"a": 0.8, "b": 0.5, "c": 0.6}, {"a": 0.78, "b": 0.46})
    found = _worse(score(0.6, dense), score(0.4, shipped))
    assert [each.name for each in found] == ["c", "b"]
