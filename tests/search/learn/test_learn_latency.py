"""Learning a predictor on an invented target: what it costs, keeps and refuses."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from autoprune.domain.plan import as_ratios, kept_width
from autoprune.errors import StudyMismatch, TargetUnreachable, TrialFailed
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.measure import RuntimeOptions, TimingSettings, measure_dense
from autoprune.latency.timed_plans import LatencyTable
from autoprune.search.context.listener import SearchListener
from autoprune.search.learn import learn_latency as latency_table
from autoprune.search.learn.learn_latency import PLANS, learn_latency
from tests.latency.staircases import chain, law_ms, random_kept
from tests.search.fakes import Heard

GEOMETRY = chain()
WIDTHS = {index: (width,) for index, width in enumerate(GEOMETRY.widths)}


def time_ms(path):
    return float(law_ms(GEOMETRY, np.array([json.loads(path.read_text())]), 16, 4)[0])


class Counting(FakeTarget):
    """Counts how often each plan is timed, and breaks when told to."""

    def __init__(self, **settings):
        super().__init__(time_ms, **settings)
        self.timed = []
        self.fail_at = {}

    def run(self, job, files, timeout_s):
        if error := self.fail_at.pop(len(self.jobs), None):
            raise error
        self.timed += [tuple(json.loads(path.read_text())) for path in files[1:]]
        return super().run(job, files, timeout_s)


@pytest.fixture(autouse=True)
def geometry(monkeypatch):
    monkeypatch.setattr(latency_table, "model_geometry", lambda model, groups, imgsz: GEOMETRY)


def bench(tmp_path, target, seed=0):
    def signature(plan):
        entries = (as_ratios(plan.prune_ratios[index])[0] for index in WIDTHS)
        return tuple(
            kept_width(width, ratio, plan.round_to)
            for ratio, width in zip(entries, GEOMETRY.widths, strict=True)
        )

    def export(kept, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pt2").write_text(json.dumps(kept))
        return ExportedModel(folder / "model.pt2", "torch", (64, 64), "torch.export")

    pruner = SimpleNamespace(
        model=list(GEOMETRY.widths), groups=[], widths=WIDTHS, signature=signature, prune=signature
    )
    options = RuntimeOptions("torch", (64, 64))
    dense = export(list(GEOMETRY.widths), tmp_path / "dense")
    clock = FakeTarget(time_ms, overrides=target.overrides)  # the target itself counts its jobs
    return SimpleNamespace(
        pruner=pruner,
        imgsz=(64, 64),
        target=target,
        options=options,
        export=export,
        config=SimpleNamespace(seed=seed),
        dense_export=dense,
        dense_latency=measure_dense(clock, dense, options, TimingSettings()),
    )


def test_the_invented_law_is_learned(tmp_path):
    target = Counting()
    predictor = learn_latency(bench(tmp_path, target), tmp_path, SearchListener())
    kept = random_kept(GEOMETRY, 200, 9)
    truth = law_ms(GEOMETRY, kept, 16, 4) / law_ms(GEOMETRY, np.array([GEOMETRY.widths]), 16, 4)
    assert np.abs(predictor.predict(kept) / truth - 1).mean() < 0.01
    assert predictor.staircase.block == 16
    assert len(target.timed) == len(set(target.timed)) == PLANS


def test_an_interrupted_table_goes_on_where_it_stopped(tmp_path):
    target = Counting()
    target.fail_at = {3: TargetUnreachable("gone")}
    with pytest.raises(TargetUnreachable):
        learn_latency(bench(tmp_path, target), tmp_path, SearchListener())
    kept_so_far = set(target.timed)
    assert 0 < len(kept_so_far) < PLANS
    first = learn_latency(bench(tmp_path, target), tmp_path, SearchListener())
    assert len(target.timed) == len(set(target.timed)) == PLANS
    jobs = len(target.jobs)
    second = learn_latency(bench(tmp_path, target), tmp_path, SearchListener())
    assert len(target.jobs) == jobs
    assert second.to_mapping() == first.to_mapping()


def test_another_targets_table_is_refused(tmp_path):
    learn_latency(bench(tmp_path, Counting()), tmp_path, SearchListener())
    path = tmp_path / "latency_table.json"
    table = LatencyTable.load_for(path, GEOMETRY)
    unfinished = table.model_copy(update={"plans": table.plans[:20]})
    unfinished.save(path)
    elsewhere = Counting(overrides={"cpu": "another"})
    with pytest.raises(StudyMismatch, match="cpu: fake -> another"):
        learn_latency(bench(tmp_path, elsewhere), tmp_path, SearchListener())
    assert LatencyTable.load_for(path, GEOMETRY) == unfinished
    known = bench(tmp_path, Counting())
    other = table.fingerprint.model_copy(update={"threads": 2})
    known.dense_latency = SimpleNamespace(fingerprint=other, median_ms=10.0)
    with pytest.raises(StudyMismatch, match="threads"):
        learn_latency(known, tmp_path, SearchListener())


def test_a_broken_table_is_set_aside_and_learned_anew(tmp_path):
    path = tmp_path / "latency_table.json"
    path.write_text('{"plans": 3}')
    heard = Heard()
    learn_latency(bench(tmp_path, Counting()), tmp_path, heard, 0.0)
    assert path.with_suffix(".broken").read_text() == '{"plans": 3}'
    assert "latency_table.broken" in heard.said[0]
    assert LatencyTable.load_for(path, GEOMETRY).plans


def test_what_another_search_timed_meanwhile_stays(tmp_path):
    path = tmp_path / "latency_table.json"
    other = Counting()
    learn_latency(bench(tmp_path, other, seed=7), tmp_path, SearchListener(), 0.0)
    theirs = LatencyTable.load_for(path, GEOMETRY)
    path.unlink()

    class Meanwhile(Counting):
        def run(self, job, files, timeout_s):
            if not self.jobs:
                theirs.save(path)
            return super().run(job, files, timeout_s)

    learn_latency(bench(tmp_path, Meanwhile()), tmp_path, SearchListener(), 0.0)
    assert set(theirs.known) < set(LatencyTable.load_for(path, GEOMETRY).known)


def test_after_a_failure_fewer_plans_share_a_process(tmp_path):
    target = Counting()
    target.fail_at = {0: TrialFailed("oom", "killed")}
    learn_latency(bench(tmp_path, target), tmp_path, SearchListener(), 0.0)
    assert max(len(job["candidates"]) for job in target.jobs) == 3


def test_another_models_table_is_refused(tmp_path):
    path = tmp_path / "latency_table.json"
    learn_latency(bench(tmp_path, Counting()), tmp_path, SearchListener())
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "geometry": "0" * 16}))
    with pytest.raises(StudyMismatch, match="another model or image size"):
        learn_latency(bench(tmp_path, Counting()), tmp_path, SearchListener())


def test_without_time_the_fewest_plans_are_timed_anyway(tmp_path):
    target = Counting()
    predictor = learn_latency(bench(tmp_path, target), tmp_path, SearchListener(), 0.0)
    assert 16 <= len(target.timed) < 24
    assert predictor.error.plans == len(target.timed)


def test_large_models_share_a_process_with_fewer_others(tmp_path, monkeypatch):
    target = Counting()
    monkeypatch.setattr(latency_table, "_BATCH_BYTES", 60)  # a file of the fake is about 30 bytes
    learn_latency(bench(tmp_path, target), tmp_path, SearchListener(), 0.0)
    assert {len(job["candidates"]) for job in target.jobs} <= {1, 2}


def test_vague_timings_are_repeated_once_and_the_better_one_stays(tmp_path):
    target = Counting(noise=0.5)
    learn_latency(bench(tmp_path, target), tmp_path, SearchListener())
    times = [target.timed.count(kept) for kept in set(target.timed)]
    assert len(times) == PLANS
    assert set(times) == {2}
    learn_latency(bench(tmp_path, target), tmp_path, SearchListener())
    assert len(target.timed) == 2 * PLANS


def test_time_spent_before_an_interruption_counts(tmp_path):
    target = Counting()
    learn_latency(bench(tmp_path, target), tmp_path, SearchListener(), 0.0)
    path = tmp_path / "latency_table.json"
    table = LatencyTable.load_for(path, GEOMETRY)
    table.model_copy(update={"seconds": 1e6}).save(path)
    learn_latency(bench(tmp_path, target), tmp_path, SearchListener(), 1e6)
    assert len(target.timed) == len(table.plans)
    table.save(path)
    learn_latency(bench(tmp_path, target), tmp_path, SearchListener(), 1e6)
    assert len(target.timed) == PLANS


def test_a_failing_batch_is_tried_again_and_three_failures_are_one_too_many(tmp_path):
    target = Counting()
    target.fail_at = {1: TrialFailed("timeout", "slow")}
    learn_latency(bench(tmp_path / "a", target), tmp_path / "a", SearchListener())
    assert len(target.timed) == PLANS

    class Broken(Counting):
        def run(self, job, files, timeout_s):
            raise TrialFailed("latency", "does not run")

    with pytest.raises(TrialFailed, match="does not run"):
        learn_latency(bench(tmp_path / "b", Broken()), tmp_path / "b", SearchListener())


def test_the_studys_seed_chooses_the_plans(tmp_path):
    targets = [Counting(), Counting()]
    for seed, target in enumerate(targets):
        folder = tmp_path / str(seed)
        learn_latency(bench(folder, target, seed), folder, SearchListener(), 0.0)
    shared = set(targets[0].timed) & set(targets[1].timed)
    assert len(shared) < len(targets[0].timed) / 4
