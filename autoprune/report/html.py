"""The report as one self-contained page: plotly.js inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from autoprune.report import facts, wording
from autoprune.report.answer import answer
from autoprune.report.front_plot import front_figure
from autoprune.report.kept_plot import kept_figure
from autoprune.report.profile_plot import profile_figure
from autoprune.report.progress import mark_rows
from autoprune.report.progress_plot import progress_figure
from autoprune.report.rows import failures, on_front, rows, rungs_reached
from autoprune.report.shortcut_plots import latency_figure, training_figure
from autoprune.report.shortcuts import shortcuts
from autoprune.report.study import Study
from autoprune.report.tiles import tiles

_DRAW = "draw.js"
_VERDICTS = {
    "met": "goal met",
    "not met": "goal not met",
    "so far": "not finished",
    "nothing yet": "nothing measured",
}


def render(study: Study) -> str:
    """The page as HTML text.

    Every text that a user can influence is escaped, by jinja2 outside the plots and by `_data`
    inside; the content security policy names the hashes of the page's two scripts, so that a
    browser runs no other, and allows no address to be loaded from.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autoprune", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader = environment.loader
    assert loader is not None
    draw = loader.get_source(environment, _DRAW)[0]
    goal = study.settings.asked.goal
    figures = {
        "front": front_figure(study),
        "kept": kept_figure(study),
        "latency": latency_figure(study),
        "training": training_figure(study),
        "profile": profile_figure(study),
        "progress": progress_figure(study),
    }
    shown = on_front(study)
    return environment.get_template("template.html.j2").render(
        study=study,
        goal=goal.text() if goal else "",
        answer=answer(study),
        tiles=tiles(study),
        warnings=facts.warnings(study),
        facts=facts.facts(study),
        shortcuts=shortcuts(study),
        front_rows=rows(study, shown),
        front_rungs=rungs_reached(shown),
        mark_rows=mark_rows(study.moments),
        all_rows=rows(study, study.records),
        failures=failures(study),
        rungs=rungs_reached(study.records),
        rung_names=wording.RUNGS,
        wording=wording,
        verdicts=_VERDICTS,
        plural=wording.plural,
        figures={name: _data(figure) if figure else None for name, figure in figures.items()},
        plotly_js=Markup(get_plotlyjs()),  # noqa: S704  (plotly's own file)
        draw_js=Markup(draw),  # noqa: S704  (our own file)
        script_hashes=[_hash(get_plotlyjs()), _hash(draw)],
    )


def _data(figure: Any) -> Markup:
    """A figure as JSON that cannot end the script element it stands in."""
    text = str(figure.to_json())
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704  (nothing left that HTML could read)


@lru_cache
def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
