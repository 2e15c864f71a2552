"""The two shortcuts: their errors are those of the records, and poor ones are warned of."""

from itertools import pairwise
from pathlib import Path

import pytest

from autoprune.errors import ConfigError
from autoprune.report.facts import warnings
from autoprune.report.profile_plot import profile_figure
from autoprune.report.shortcut_plots import latency_figure, training_figure
from autoprune.report.shortcuts import predicted_and_measured, shortcuts
from autoprune.report.study import load_study
from autoprune.storage.study_folder import StudyFolder
from tests.report import fake_study as fake


def said(folder: StudyFolder) -> dict[str, str]:
    study = load_study(folder)
    return {shortcut.figure: " ".join(shortcut.sentences) for shortcut in shortcuts(study)}


def test_the_predictors_error_is_that_of_the_candidates_measured_later(tmp_path: Path) -> None:
    off = {"latency": fake.latency(4.0), "predicted_ms": 4.4}
    exact = {"latency": fake.latency(3.0), "predicted_ms": 3.0}
    records = [
        fake.dense(),
        fake.promoted(0, 0.5, 0.5, 0.6, **off),
        fake.promoted(1, 0.5, 0.5, 0.6, **exact),
        fake.promoted(2, 0.5, 0.5, 0.6, same_as="trial 0", **off),
        fake.scored(3, 0.5, 0.4),
    ]
    folder = fake.write_study(tmp_path, records)
    assert [r.name for r in predicted_and_measured(load_study(folder))] == ["trial 0", "trial 1"]
    text = said(folder)["latency"]
    assert "2 candidates measured in the search it was off by 5.0 % on average" in text
    assert "(median: 5.0 % too high)" in text
    assert "Cross-validated" not in text


def test_the_predictors_own_error_is_told_when_the_search_left_it(tmp_path: Path) -> None:
    text = said(fake.rung_study(tmp_path))["latency"]
    assert "48 plans timed for it" in text
    assert "off by 1.7 % on average" in text
    assert "steps of 16 channels" in text


def test_the_rank_correlation_is_told_with_the_number_of_plans(tmp_path: Path) -> None:
    folder = fake.rung_study(tmp_path)
    text = said(folder)["training"]
    assert "Over the 7 plans that have both scores" in text
    assert "+10.0 to +24.2 points" in text
    assert not any("poorly" in warning for warning in warnings(load_study(folder)))


def test_a_score_that_misleads_is_warned_of_at_the_head_of_the_page(tmp_path: Path) -> None:
    records = [fake.dense()]
    records += [
        fake.promoted(n, 0.5, 0.4 + n / 100, 0.7 - n / 100, latency=fake.latency(4 + n / 100))
        for n in range(5)
    ]
    study = load_study(fake.write_study(tmp_path, records))
    (shortcut,) = (one for one in shortcuts(study) if one.figure == "training")
    assert "is -1.00; 1 is the same order" in " ".join(shortcut.sentences)
    assert "hardly more than a guess" in " ".join(shortcut.sentences)
    assert shortcut.warning in warnings(study)
    assert "ranks plans poorly" in shortcut.warning


def test_too_few_pairs_are_not_called_a_correlation(tmp_path: Path) -> None:
    records = [fake.dense(), fake.promoted(0, 0.5, 0.5, 0.6), fake.scored(1, 0.5, 0.4)]
    text = said(fake.write_study(tmp_path, records))["training"]
    assert "1 plan has both scores: too few to say" in text
    assert "Spearman" not in text


def test_a_fine_tune_that_harmed_the_chosen_plan_is_pointed_out(tmp_path: Path) -> None:
    records = [fake.dense(), fake.promoted(0, 0.5, 0.7, 0.65)]
    study = load_study(fake.write_study(tmp_path, records, fake.finished("trial 0")))
    assert any("from 0.700 to 0.650" in warning for warning in warnings(study))
    helped = load_study(fake.rung_study(tmp_path / "b"))
    assert not any("lowered" in warning for warning in warnings(helped))


def test_the_plots_hold_the_records_own_pairs(tmp_path: Path) -> None:
    study = load_study(fake.rung_study(tmp_path))
    trials = {r.name: r for r in study.trials}
    for figure, x, y in (
        (
            latency_figure(study),
            trials["trial 1"].latency.median_ms,
            trials["trial 1"].predicted_ms,
        ),
        (training_figure(study), 0.67, 0.55),
    ):
        shown = {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in figure.data}
        assert (x, y) in [pytest.approx(point) for point in shown["trials"]]
        assert len(shown["baselines"]) == 2


def test_a_study_of_the_first_version_has_no_shortcuts_and_no_such_plots(tmp_path: Path) -> None:
    study = load_study(fake.busy_study(tmp_path / "busy"))
    assert shortcuts(study) == []
    assert latency_figure(study) is None
    assert training_figure(study) is None
    assert profile_figure(study) is None


def test_every_choice_is_a_cell_and_the_kept_widths_are_marked(tmp_path: Path) -> None:
    study = load_study(fake.rung_study(tmp_path))
    assert study.profile is not None
    assert study.highlight is not None
    cells, dots = profile_figure(study).data
    assert len(cells.x) == sum(map(len, study.profile.choices))
    for label in set(cells.y):
        mine = [
            (b, b + x) for b, x, y in zip(cells.base, cells.x, cells.y, strict=True) if y == label
        ]
        assert mine[-1][1] == pytest.approx(1.0)
        assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(mine))
    shares = dict(zip(dots.y, dots.x, strict=True))
    assert shares["4"] == study.highlight.kept[4][0] / 64
    assert shares["22 class"] == study.highlight.kept[22][1] / 64


def test_dearer_cells_are_darker_and_free_ones_the_palest(tmp_path: Path) -> None:
    cells = profile_figure(load_study(fake.rung_study(tmp_path))).data[0]
    row = [c for c, label in zip(cells.marker.color, cells.y, strict=True) if label == "4"]
    assert row == sorted(row, reverse=True)
    assert row[-1] == cells.marker.cmin
    assert max(cells.marker.color) <= cells.marker.cmax


@pytest.mark.parametrize(
    ("file", "text", "key"),
    [
        ("profile.json", "{", ""),
        ("profile.json", '{"names": ["a"], "choices": [[8, 16]], "costs": [[1]]}', "one cost per"),
        (
            "profile.json",
            '{"names": ["a"], "choices": [[0, 16]], "costs": [[1, 0]]}',
            "rise from 1",
        ),
        ("profile.json", '{"names": ["a"], "choices": [[8]], "costs": [["x"]]}', "costs.0.0"),
        ("latency_predictor.json", '{"error": {}}', "error.mape"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(
    tmp_path: Path, file: str, text: str, key: str
) -> None:
    folder = fake.rung_study(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_study(folder)
    assert file in str(caught.value)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
