"""The page: what it says equals the records, what users wrote stays text, nothing is loaded."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from plotly.offline import get_plotlyjs

from autoprune.domain.verdict import Verdict
from autoprune.report.html import render
from autoprune.report.study import load_study
from autoprune.storage.study_folder import StudyFolder
from tests.report import fake_study as fake
from tests.search.fakes import option

PAYLOADS = [
    "<script>window.hit=1</script>",
    "</script><script>window.hit=1</script>",
    "\"><img src=x onerror='window.hit=1'>",
    "<svg onload=window.hit=1><a href='javascript:window.hit=1'>x</a>",
    "{{ 7*7 }}${7*7}<b>bold</b>&lt;i&gt;\u2028<!--<script>",
]


@dataclass
class Page(HTMLParser):
    """A parsed page: its tags with attributes, scripts by type, text, and table cells by row."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[tuple[str | None, str]] = field(default_factory=list)
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._script: str | None = None
        self._cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th") or (self._cell and tag in ("a", "span", "small", "br"))
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.lasttag == "script":
            kind, before = self.scripts[-1]
            if not before or kind != "closed":
                self.scripts[-1] = (kind, before + data)
                return
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data


def page_of(folder: StudyFolder) -> tuple[str, Page]:
    source = render(load_study(folder))
    page = Page()
    page.feed(source.replace(get_plotlyjs(), "PLOTLY"))
    return source, page


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    """Shared: nobody changes it."""
    return page_of(fake.busy_study(tmp_path_factory.mktemp("busy") / "busy"))


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    """Shared: nobody changes it."""
    return page_of(fake.rung_study(tmp_path_factory.mktemp("rungs") / "s"))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_users_wrote_is_shown_as_text_and_runs_nothing(
    tmp_path: Path, busy: tuple[str, Page], rungs: tuple[str, Page], payload: str
) -> None:
    content = fake.settings(
        model={"file": payload, "family": payload, "hash": payload, "classes": [payload, "b"]},
        data={"file": payload, "final_split": payload, "overlap": payload, "final_images": 3},
        versions={"autoprune": payload},
        machine={"cpu": payload},
        fine_tune={payload: payload},
        space={"file": payload},
        started=payload,
    )
    name = payload.replace("/", "")
    best = fake.longer(fake.promoted(0, 0.5, 0.5, 0.6), 0.65, kept=True)
    best = best.model_copy(update={"name": payload})
    records = [
        fake.dense(),
        fake.record("baseline", name, 0.6, rungs=(fake.rung(0.6),)),
        best,
        fake.failed(1, "exception", payload),
        fake.scored(2, 0.5, 0.4).model_copy(update={"name": payload}),
    ]
    fake.learned(tmp_path / name)
    odd = {"names": [payload, "b"], "choices": [[8, 16], [8, 16]], "costs": [[0.1, 0], [0.2, 0]]}
    (tmp_path / name / "profile.json").write_text(json.dumps(odd))
    ended = fake.finished(payload).model_copy(update={"message": payload, "stopped_by": payload})
    folder = fake.write_study(tmp_path / name, records, ended, content)
    source, page = page_of(fake.note(folder, [fake.moment(30, payload, hypervolume=0.1)]))

    _, harmless = busy
    _, later = rungs
    allowed = {tag for tag, _ in (*harmless.tags, *later.tags)}
    assert {tag for tag, _ in page.tags} <= allowed
    assert all(not key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert [kind for kind, _ in page.scripts] == ["application/json"] * 6 + [None, None]
    assert payload not in source.replace(get_plotlyjs(), "") or "<" not in payload
    assert page.text.count(payload) >= 10
    for _, attrs in page.tags:
        assert not (attrs.get("href") or "").lower().startswith(("javascript:", "data:"))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_plot_labels_carry_no_markup_of_the_users(tmp_path: Path, payload: str) -> None:
    best = fake.longer(fake.promoted(0, 0.5, 0.5, 0.6), 0.65, kept=True)
    named = [one.model_copy(update={"name": payload}) for one in (best, fake.scored(1, 0.4, 0.3))]
    folder = fake.write_study(tmp_path / "s", [fake.dense(), *named], fake.finished(payload))
    odd = {"names": [payload], "choices": [[8, 16]], "costs": [[0.1, 0]]}
    folder.profile.write_text(json.dumps(odd))
    fake.note(folder, [fake.moment(30, payload)])
    _, page = page_of(folder)
    figures = [json.loads(body) for kind, body in page.scripts if kind == "application/json"]
    labels = [trace.get("name", "") for figure in figures for trace in figure["data"]]
    labels += [text for f in figures for t in f["data"] for text in t.get("hovertext", [])]
    labels += [str(text) for f in figures for t in f["data"] for text in t.get("y", [])]
    labels += [str(text) for f in figures for text in f["layout"]["yaxis"].get("categoryarray", [])]
    assert any("window.hit" in label or "7*7" in label for label in labels)
    ours = re.compile(r"</?b>|<br>")
    assert all("<" not in ours.sub("", label) for label in labels)


def test_the_page_loads_nothing(busy: tuple[str, Page]) -> None:
    source, page = busy
    own = source.replace(get_plotlyjs(), "")
    assert "http:" not in own
    assert "https:" not in own
    assert "url(" not in own
    assert "@import" not in own
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert all("src" not in attrs for _, attrs in page.tags)
    links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert links
    assert all(link.startswith("../") for link in links)


def test_the_security_policy_lets_only_the_pages_own_scripts_run(busy: tuple[str, Page]) -> None:
    source, page = busy
    policy = next(a["content"] or "" for t, a in page.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    bodies = re.findall(r"<script>(.*?)</script>", source, flags=re.DOTALL)
    assert len(bodies) == 2
    for body in bodies:
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_every_plan_link_leads_to_the_plan(tmp_path: Path) -> None:
    odd = fake.record("baseline", "half # of 50%", 0.5, rungs=(fake.rung(0.5),))
    folder = fake.write_study(tmp_path / "s", [fake.dense(), odd, fake.trial(3, 0.6, 0.6)])
    _, page = page_of(folder)
    links = {attrs["href"] or "" for tag, attrs in page.tags if tag == "a"}
    assert len(links) == 2
    assert all((folder.report / unquote(link)).resolve().is_file() for link in links)


def test_the_tables_numbers_are_the_records(tmp_path: Path) -> None:
    folder = fake.busy_study(tmp_path / "busy")
    study = load_study(folder)
    _, page = page_of(folder)
    cells = {row[0]: row for row in page.rows if len(row) == 8}
    expected = {record.name for record in (*study.front, *study.baselines)} | {"dense"}
    assert {name.split()[0] for name in cells} - {"plan", "trial"} == {
        name for name in expected if not name.startswith("trial")
    }
    for record in (*study.front, *study.baselines, study.dense):
        assert record is not None
        assert record.latency is not None
        assert record.size is not None
        name = next(key for key in cells if re.match(rf"{re.escape(record.name)}\b(?!\d)", key))
        row = cells[name]
        assert row[1].startswith(f"{record.latency.median_ms:.2f} ms")
        assert f"{record.latency.low_ms:.2f} to {record.latency.high_ms:.2f}" in row[1]
        assert row[2].startswith(f"{record.map50_95:.3f}")
        assert row[3].startswith(f"{record.final.map50_95:.3f}" if record.final else "-")
        assert row[4] == f"{record.latency.ratio:.3f}"
        assert float(row[6].split()[0]) == pytest.approx(
            record.size.params / {"M": 1e6, "k": 1e3}[row[6].split()[1]], rel=0.006
        )


def test_dense_baselines_and_the_choice_are_marked(busy: tuple[str, Page]) -> None:
    _, page = busy
    first = [" ".join(row[0].split()) for row in page.rows if len(row) == 8]
    assert "dense" in first
    assert "uniform-0.25 baseline" in first
    assert sum(cell.endswith(" chosen") for cell in first) == 1


def test_every_amount_of_training_has_a_column_of_its_own_and_dense_stands_outside(
    rungs: tuple[str, Page],
) -> None:
    _, page = rungs
    short, longer = "shortfine-tune", "longerfine-tune"
    assert ["withouttraining", short, longer, short, longer] in page.rows
    front = page.rows[: next(i for i, row in enumerate(page.rows) if "state" in row)]
    rows = {" ".join(row[0].split()): row[2:7] for row in front if len(row) == 11}
    chosen = ["0.600", "0.7003 epochs", "0.716+ 9 epochs", "0.688", "0.701kept"]
    assert rows["trial 0 chosen"] == chosen
    assert rows["trial 1"] == ["0.550", "0.6703 epochs", "-", "0.658", "-"]
    dense = next(row for row in page.rows if row[:1] == ["dense"] and len(row) == 8)
    assert dense[2:4] == ["0.742as given", "0.731as given"]


def test_of_weights_that_were_not_kept_no_final_score_is_shown(tmp_path: Path) -> None:
    _, page = page_of(fake.rung_study(tmp_path / "s", kept=False))
    chosen = next(row for row in page.rows if "chosen" in row[:1][0])
    assert chosen[2:7] == ["0.600", "0.7003 epochs", "0.688+ 9 epochs", "0.688kept", "-"]


def test_the_table_of_all_records_tells_predicted_from_measured_latency(
    rungs: tuple[str, Page],
) -> None:
    _, page = rungs
    table = [row for row in page.rows if "state" in row or row[0].startswith("trial ")]
    (head,) = (row for row in table if "state" in row)
    one = dict(zip(head, next(row for row in table if row[0] == "trial 20"), strict=True))
    assert one["state"] == "scored without training"
    assert one["latency95 % interval"] == "-"
    assert one["latencypredicted"].endswith(" ms")
    assert one["mAP50-95without training"] != "-"
    assert one["mAP50-95short fine-tune"] == "-"


def test_records_of_an_earlier_study_show_no_columns_for_what_it_did_not_do(
    busy: tuple[str, Page],
) -> None:
    _, page = busy
    assert "without training" not in page.text.replace("withouttraining", "without training")
    assert "longer" not in page.text
    assert "Thin crosses" not in page.text
    assert "shortcuts" not in page.text


def test_the_front_is_explained_apart_from_what_was_only_scored(rungs: tuple[str, Page]) -> None:
    _, page = rungs
    assert "Thin crosses were neither measured nor trained" in page.text
    assert "never across" in page.text


def test_failures_are_listed_by_reason_with_their_details(busy: tuple[str, Page]) -> None:
    _, page = busy
    assert ["nan", "2", "trial 3", "loss became nan in epoch 2"] in page.rows
    assert ["trial 4", "loss became nan in epoch 1"] in page.rows
    assert ["export", "1", "trial 2", "torch and ONNX Runtime differ by 0.02, limit 0.001"] in (
        page.rows
    )


def test_overlap_unsteady_times_and_the_demo_are_said(tmp_path: Path) -> None:
    shaky = fake.trial(0, 0.5, 0.6, latency=fake.latency(4.0, steady=False))
    content = fake.settings(demo=True)
    content["data"]["overlap"] = 17
    _, page = page_of(fake.write_study(tmp_path / "s", [fake.dense(), shaky], content=content))
    assert "17 of the val images are in train too" in page.text
    assert "1 measurement did not become steady" in page.text
    assert "bundled demo" in page.text
    _, quiet = page_of(fake.write_study(tmp_path / "t", [fake.dense()]))
    assert "in train too" not in quiet.text
    assert "steady" not in quiet.text
    assert "bundled demo" not in quiet.text


def test_the_meaning_of_ms_and_the_way_of_measuring_are_said(busy: tuple[str, Page]) -> None:
    _, page = busy
    for said in (
        "forward pass of the network at batch 1",
        "pre- and post-processing) are not included",
        "onnxruntime 1.32.0, CPUExecutionProvider, fp32, 1 thread, batch 1",
        "avx512",
        "256 x 256 px",
        "±1.2 %",
        "optimizer SGD",
        "2 baselines and 20 trials, epochs: 3, images seen: 1,800 each",
        "channels ranked by l2_bn",
        "seed 0",
        "17 measured over budget, 3 failed, 20 measured and fine-tuned, 1 repeated plan",
        "chosen on val, by the score after the short fine-tune",
        "the search never used (test, 200 images)",
    ):
        assert said in page.text, said


def test_records_of_another_machine_are_pointed_out(tmp_path: Path) -> None:
    other = fake.fingerprint().model_copy(update={"cpu": "Another"})
    moved = fake.latency(4.0).model_copy(update={"fingerprint": other})
    records = [fake.dense(), fake.trial(0, 0.5, 0.6, latency=moved)]
    _, page = page_of(fake.write_study(tmp_path / "s", records))
    assert "milliseconds are not comparable" in page.text


def test_what_could_be_run_instead_is_shown_as_timed_and_as_text(tmp_path: Path) -> None:
    folder = fake.write_study(tmp_path, [fake.dense()])
    assert "What could be run instead" not in page_of(folder)[1].text
    floor = option("floor", "the floor", 4.0, params=850_000, removed=0.7)
    sibling = option("sibling", PAYLOADS[0], 3.0, params=3_000_000)
    Verdict(kind="reachable", text="5 ms is <reachable>.", options=(floor, sibling)).save(
        folder.verdict
    )
    assert "stock export" not in page_of(folder)[1].text
    source, page = page_of(folder)
    assert "5 ms is <reachable>." in page.text
    assert ["the floor", "4.00 ms3.96 to 4.04", "0.400", "850 k", "70 %"] in page.rows
    assert [PAYLOADS[0], "3.00 ms2.97 to 3.03", "0.300", "3.00 M", "-"] in page.rows
    assert PAYLOADS[0] not in source
    stock = option("stock export", "stock export", 11.5, params=3_200_000)
    Verdict(kind="reachable", text="5 ms", options=(floor, stock)).save(folder.verdict)
    page = page_of(folder)[1]
    assert ["stock export", "11.50 ms11.38 to 11.62", "1.150", "3.20 M", "-"] in page.rows
    assert "without autoprune's rewrites" in page.text


def test_the_main_metric_of_the_models_task_is_named_everywhere(tmp_path: Path) -> None:
    folder = fake.note(fake.rung_study(tmp_path), fake.progress())
    fake.learned(folder.root)
    dense = folder.dense_record()
    assert dense is not None
    for record in (dense, *folder.baseline_records(), *folder.trial_records()):
        rungs = tuple(
            rung.model_copy(
                update={"metrics": rung.metrics.model_copy(update={"metric": "mask mAP50-95"})}
            )
            for rung in record.rungs
        )
        folder.save_record(record.model_copy(update={"rungs": rungs}))
    page = render(load_study(folder))
    assert page.count("mask mAP50-95") > 10
    assert not re.findall(r"(?<!mask )mAP50-95", page)
