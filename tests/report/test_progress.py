"""How soon it is good: the curve and the table tell what was noted, and nothing where nothing was.

The best so far is told with its evidence; no line joins a time to a score that was not known then.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.progress import KINDS
from autoprune.report import write_report
from autoprune.report.html import render
from autoprune.report.png import draw_progress
from autoprune.report.progress import KIND_NAMES, mark_rows, pieces
from autoprune.report.progress_plot import progress_figure
from autoprune.report.study import Study, load_study
from tests.report import fake_study as fake
from tests.report.test_html import page_of


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load_study(fake.note(fake.rung_study(tmp_path / "s"), fake.progress()))


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.showlegend is not False}


def test_the_pieces_follow_one_another_without_a_gap_and_change_each_time(study: Study) -> None:
    found = pieces(study.moments)
    assert (found[0].from_s, found[-1].to_s) == (48, 449)
    for before, after in pairwise(found):
        assert before.to_s == after.from_s
        assert before.moment != after.moment
    assert len(found) == 8  # of 11 moments three changed nothing
    assert pieces([]) == []


def test_each_kind_of_evidence_has_a_line_of_its_own_at_what_was_known_then(study: Study) -> None:
    drawn = traces(progress_figure(study))
    assert [name for name in drawn if "front" not in name] == [KIND_NAMES[kind] for kind in KINDS]
    tuned = drawn["fine-tuned"]
    assert list(tuned.x) == [200 / 60, 251 / 60, None, 251 / 60, 330 / 60, None]
    assert list(tuned.y) == [0.67, 0.67, None, 0.69, 0.69, None]
    lines = {(trace.line.color, trace.line.dash) for trace in drawn.values()}
    assert len(lines) == len(drawn)
    assert "latency measured, fine-tuned" in tuned.hovertext[0]
    assert "30 plans scored, 1 fine-tuned by then" in tuned.hovertext[0]


def test_dense_is_a_line_and_the_hypervolume_a_panel_where_it_is_known(
    tmp_path: Path, study: Study
) -> None:
    figure = progress_figure(study)
    assert figure is not None
    assert [line.y0 for line in figure.layout.shapes] == [0.742]
    assert max(traces(figure)["hypervolume of the front"].y) == 0.37
    assert figure.layout.yaxis2.domain[1] < figure.layout.yaxis.domain[0]
    folder = fake.note(fake.write_study(tmp_path / "early", []), [fake.moment(9)])
    early = progress_figure(load_study(folder))
    assert early is not None
    assert list(traces(early)) == [KIND_NAMES["predicted"]]
    assert not early.layout.shapes
    assert "yaxis2" not in early.layout


def test_the_table_has_the_marks_that_were_reached_and_the_end(study: Study) -> None:
    rows = mark_rows(study.moments)
    assert [row.at for row in rows] == ["30 s", "1 min", "2 min", "4 min", "7 min 29 s (end)"]
    assert [row.name for row in rows] == ["nothing yet", "trial 1", "trial 4", "trial 4", "trial 7"]
    assert [row.map50_95 for row in rows] == ["-", "0.570", "0.600", "0.670", "0.710"]
    assert [row.trained for row in rows[1:]] == ["not trained"] * 2 + ["fine-tuned"] * 2
    assert [row.evidence for row in rows[1:]] == ["predicted"] * 2 + ["measured", "confirmed"]
    assert mark_rows([]) == []
    assert [row.at for row in mark_rows([fake.moment(60)])] == ["30 s", "1 min 00 s (end)"]


def test_the_page_shows_plot_and_table(study: Study) -> None:
    _, page = page_of(study.folder)
    assert "How soon it is good" in page.text
    assert ["4 min", "trial 4", "4.83 msmeasured", "0.670fine-tuned", "30", "1"] in page.rows
    ids = [attributes.get("id") for tag, attributes in page.tags if tag == "script"]
    assert "progress-data" in ids


def test_a_study_without_moments_says_nothing_of_it(tmp_path: Path) -> None:
    folder = fake.write_study(tmp_path / "s", [fake.dense()])
    folder.progress.write_text("torn {\n")
    assert progress_figure(load_study(folder)) is None
    write_report(folder)
    page = (folder.report / "report.html").read_text("utf-8")
    assert "How soon" not in page
    assert "progress-data" not in page
    assert not (folder.report / "progress.png").exists()


def test_a_study_with_moments_gets_a_png_of_them_too(study: Study) -> None:
    write_report(study.folder)
    assert (study.folder.report / "progress.png").read_bytes() == draw_progress(study)


def test_a_search_killed_after_its_first_plan_is_drawn_too(tmp_path: Path) -> None:
    study = load_study(fake.note(fake.write_study(tmp_path / "s", []), [fake.moment(0)]))
    assert progress_figure(study) is not None
    assert draw_progress(study).startswith(b"\x89PNG")
    assert "0 s (end)" in render(study)
