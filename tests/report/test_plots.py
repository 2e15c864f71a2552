"""Both pictures of the front: every candidate is drawn once, where it was measured."""

from collections import Counter
from pathlib import Path
from typing import Any

from autoprune.report.front_plot import (
    LENGTHENED,
    OVER_BUDGET,
    UNTRAINED,
    best_at_each_latency,
    front_figure,
)
from autoprune.report.kept_plot import kept_figure
from autoprune.report.png import draw_front
from autoprune.report.study import is_repeat, load_study
from tests.report import fake_study as fake


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.mode == "markers"}


def test_every_measured_candidate_is_drawn_exactly_once(tmp_path: Path) -> None:
    study = load_study(fake.busy_study(tmp_path / "busy"))
    drawn = Counter(x for trace in traces(front_figure(study)).values() for x in trace.x)
    expected = Counter(
        record.latency.median_ms
        for record in study.records
        if record.state != "failed" and record.latency is not None and not is_repeat(record)
    )
    assert drawn == expected


def test_what_was_only_scored_is_drawn_apart_at_its_predicted_latency(tmp_path: Path) -> None:
    study = load_study(fake.rung_study(tmp_path))
    drawn = traces(front_figure(study))
    crosses = drawn[UNTRAINED]
    scored = [record for record in study.trials if record.state == "scored"]
    assert list(crosses.x) == [record.predicted_ms for record in scored]
    assert list(crosses.y) == [record.untrained_map50_95 for record in scored]
    others = {trace.marker.symbol for name, trace in drawn.items() if name != UNTRAINED}
    assert crosses.marker.symbol not in others
    assert "scored without training (latency predicted)" in UNTRAINED
    assert all("predicted, not measured" in text for text in crosses.hovertext)


def test_the_fronts_line_never_touches_an_untrained_or_longer_score(tmp_path: Path) -> None:
    study = load_study(fake.rung_study(tmp_path))
    compared = {
        (record.latency.median_ms, record.map50_95) for record in study.front if record.latency
    }
    assert set(best_at_each_latency(study)) <= compared
    figure = front_figure(study)
    (line,) = (trace for trace in figure.data if trace.mode == "lines")
    assert set(zip(line.x, line.y, strict=True)) <= compared
    assert 0.716 not in line.y


def test_the_longer_fine_tune_has_a_marker_of_its_own_beside_the_short_one(
    tmp_path: Path,
) -> None:
    for kept, score in ((True, 0.716), (False, 0.688)):
        study = load_study(fake.rung_study(tmp_path / str(kept), kept=kept))
        drawn = traces(front_figure(study))
        assert list(drawn[LENGTHENED].y) == [score]
        assert list(drawn["chosen: trial 0"].y) == [0.7]
        assert drawn[LENGTHENED].x[0] == drawn["chosen: trial 0"].x[0]
        assert ("(not kept)" in drawn[LENGTHENED].hovertext[0]) is not kept


def test_a_png_shows_untrained_and_longer_scores_too(tmp_path: Path) -> None:
    with_rungs = draw_front(load_study(fake.rung_study(tmp_path / "a")))
    records = [fake.dense(), fake.scored(0, 0.5, 0.4)]
    only_scored = draw_front(load_study(fake.write_study(tmp_path / "b" / "s", records)))
    empty = draw_front(load_study(fake.write_study(tmp_path / "c" / "s", [fake.dense()])))
    assert all(png.startswith(b"\x89PNG") for png in (with_rungs, only_scored, empty))
    assert only_scored != empty


def test_trials_over_budget_stand_at_the_bottom_at_their_measured_latency(tmp_path: Path) -> None:
    records = [fake.dense(), fake.trial(0, 0.9), fake.trial(1, 0.5, 0.6)]
    study = load_study(fake.write_study(tmp_path, records))
    rug = traces(front_figure(study))[OVER_BUDGET]
    assert list(rug.x) == [records[1].latency.median_ms]
    assert rug.yaxis == "y2"


def test_error_bars_reach_from_the_lower_to_the_upper_bound(tmp_path: Path) -> None:
    lopsided = fake.latency(4.0).model_copy(update={"low_ms": 3.9, "high_ms": 4.4})
    records = [fake.dense(), fake.trial(0, 0.5, 0.6, latency=lopsided)]
    study = load_study(fake.write_study(tmp_path, records, fake.finished("trial 0")))
    star = traces(front_figure(study))["chosen: trial 0"]
    assert star.x[0] - star.error_x.arrayminus[0] == 3.9
    assert star.x[0] + star.error_x.array[0] == 4.4


def test_a_larger_marker_means_more_parameters(tmp_path: Path) -> None:
    study = load_study(fake.busy_study(tmp_path / "busy"))
    front = traces(front_figure(study))["front"]
    sizes = {
        record.latency.median_ms: record.size.params
        for record in study.front
        if record.latency and record.size
    }
    by_params = sorted(zip(front.x, front.marker.size, strict=True), key=lambda p: sizes[p[0]])
    diameters = [diameter for _, diameter in by_params]
    assert diameters == sorted(diameters)
    assert diameters[0] < diameters[-1]


def test_the_budget_is_a_line_and_absent_for_an_accuracy_goal(tmp_path: Path) -> None:
    figure = front_figure(load_study(fake.busy_study(tmp_path / "a", trials=15)))
    assert figure is not None
    assert [line.x0 for line in figure.layout.shapes] == [5.0]
    content = fake.settings(asked={"goal": {"kind": "max_drop", "value": 1}}, budget_ms=None)
    free = front_figure(load_study(fake.write_study(tmp_path / "b", [fake.dense()], None, content)))
    assert free is not None
    assert not free.layout.shapes


def test_the_stairs_only_climb(tmp_path: Path) -> None:
    steps = best_at_each_latency(load_study(fake.busy_study(tmp_path / "busy")))
    assert len(steps) > 2
    assert steps == sorted(steps)
    assert [score for _, score in steps] == sorted({score for _, score in steps})


def test_nothing_measured_draws_no_page_plot_but_still_a_png(tmp_path: Path) -> None:
    study = load_study(fake.write_study(tmp_path, []))
    assert front_figure(study) is None
    assert kept_figure(study) is None
    assert draw_front(study).startswith(b"\x89PNG")


def test_kept_channels_name_both_towers_of_detect(tmp_path: Path) -> None:
    study = load_study(fake.busy_study(tmp_path / "busy"))
    assert study.highlight is not None
    dense, kept = kept_figure(study).data
    assert dict(zip(dense.x, dense.y, strict=True))["9"] == 256
    shown = dict(zip(kept.x, kept.y, strict=True))
    assert (shown["22 box"], shown["22 class"]) == study.highlight.kept[22]
    assert shown["4"] == study.highlight.kept[4][0]


def test_a_png_survives_names_that_matplotlib_would_parse_or_cannot_draw(tmp_path: Path) -> None:
    name = "a_$\\frac{b$ 数 " + "long " * 60
    best = fake.trial(0, 0.5, 0.6).model_copy(update={"name": name})
    folder = fake.write_study(tmp_path / "$x_{$", [fake.dense(), best], fake.finished(name))
    assert draw_front(load_study(folder)).startswith(b"\x89PNG")
