import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from autoprune.errors import ConfigError, StudyMismatch, TrialFailed
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.measure import (
    RuntimeOptions,
    TimingSettings,
    check_answers,
    compare,
    measure_against,
    measure_dense,
)
from tests.latency.tiny_models import write_onnx

OPTIONS = RuntimeOptions(runtime="onnxruntime", imgsz=(64, 64))
SETTINGS = TimingSettings()
TIMES = {"dense.onnx": 8.0, "half.onnx": 4.0, "third.onnx": 6.0}


@pytest.fixture
def models(tmp_path):
    made = {}
    for name in TIMES:
        path = tmp_path / name
        path.write_bytes(name.encode())
        reference = (tmp_path / "in.npy", tmp_path / "out.npy")
        made[name.split(".")[0]] = ExportedModel(path, "onnxruntime", (64, 64), "dynamo", reference)
    return made


def fake(**settings):
    return FakeTarget(lambda path: TIMES[path.name], **settings)


def test_the_dense_ratio_is_exactly_one(models):
    result = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    assert (result.ratio, result.ratio_low, result.ratio_high) == (1.0, 1.0, 1.0)
    assert result.median_ms == result.dense_ms == pytest.approx(8.0, rel=0.02)
    assert result.low_ms <= result.median_ms <= result.high_ms
    assert result.steady
    assert result.fingerprint.imgsz == (64, 64)


def test_a_candidate_is_the_ratio_times_the_calibrated_dense_time(models):
    dense = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    slower_day = FakeTarget(lambda path: 1.4 * TIMES[path.name])
    result = measure_against(slower_day, models["half"], models["dense"], dense, OPTIONS, SETTINGS)
    assert result.ratio == pytest.approx(0.5, rel=0.01)
    assert result.median_ms == pytest.approx(4.0, rel=0.03)
    assert result.p90_ms >= result.median_ms
    assert result.dense_ms == dense.median_ms
    assert len(result.samples_ms) == len(result.dense_samples_ms) == 5 * result.blocks


def test_the_interval_holds_the_dense_times_own_error(models):
    dense = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    vague = dense.model_copy(
        update={"low_ms": dense.median_ms * 0.9, "high_ms": dense.median_ms * 1.1}
    )
    sharp, blurred = (
        measure_against(fake(), models["half"], models["dense"], known, OPTIONS, SETTINGS)
        for known in (dense, vague)
    )
    assert blurred.low_ms <= 0.9 * blurred.median_ms < sharp.low_ms
    assert blurred.high_ms >= 1.1 * blurred.median_ms > sharp.high_ms
    assert sharp.steady
    assert not blurred.steady


def test_a_wide_interval_is_marked_unsteady(models):
    assert not measure_dense(fake(noise=0.8), models["dense"], OPTIONS, SETTINGS).steady
    assert not measure_dense(fake(blocks=4), models["dense"], OPTIONS, SETTINGS).steady


class Slowing(FakeTarget):
    """Half-way through its first jobs the machine becomes 30 % slower, for all models."""

    def __init__(self, bad_jobs):
        super().__init__(lambda path: TIMES[path.name])
        self.bad_jobs = bad_jobs

    def run(self, job, files, timeout_s):
        answer = super().run(job, files, timeout_s)
        for model in answer["models"] if len(self.jobs) <= self.bad_jobs else []:
            later = [[1.3 * time for time in block] for block in model["wall_ms"][12:]]
            model["wall_ms"] = model["wall_ms"][:12] + later
        return answer


def test_a_measurement_during_which_the_machine_slowed_down_is_repeated(models):
    dense = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    once = Slowing(bad_jobs=1)
    result = measure_against(once, models["half"], models["dense"], dense, OPTIONS, SETTINGS)
    assert (len(once.jobs), result.steady) == (2, True)
    once = Slowing(bad_jobs=1)
    assert measure_dense(once, models["dense"], OPTIONS, SETTINGS).steady


def test_a_machine_that_goes_on_changing_its_speed_is_marked(models):
    dense = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    always = Slowing(bad_jobs=9)
    result = measure_against(always, models["half"], models["dense"], dense, OPTIONS, SETTINGS)
    assert (len(always.jobs), result.steady) == (2, False)
    assert result.lasting_change == pytest.approx(0.3, abs=0.03)
    assert result.ratio == pytest.approx(0.5, rel=0.01)  # the ratio holds all the same
    reference, _ = compare(Slowing(9), [models["dense"], models["half"]], OPTIONS, SETTINGS)
    assert not reference.steady


def test_the_dense_time_beside_a_candidate_is_kept(models):
    dense = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    later = FakeTarget(lambda path: 1.1 * TIMES[path.name])
    result = measure_against(later, models["half"], models["dense"], dense, OPTIONS, SETTINGS)
    assert result.dense_now_ms == pytest.approx(1.1 * dense.median_ms, rel=0.01)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu", "another"), ("runtime_version", "9.9"), ("threads", 2), ("layout", "channels_last")],
)
def test_times_from_other_conditions_are_never_combined(models, field, value):
    dense = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    elsewhere = fake(overrides={field: value})
    with pytest.raises(StudyMismatch, match=str(value)):
        measure_against(elsewhere, models["half"], models["dense"], dense, OPTIONS, SETTINGS)


def test_several_models_are_compared_with_the_first(models):
    target = fake()
    results = compare(target, list(models.values()), OPTIONS, SETTINGS)
    assert [round(result.ratio, 2) for result in results] == [1.0, 0.5, 0.75]
    assert len(target.jobs) == 1  # one process, or they would not be interleaved


def test_a_calibrated_reference_is_relied_on_where_it_is_known(models):
    known = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    later = FakeTarget(lambda path: 1.1 * TIMES[path.name])
    reference, half = compare(later, [models["dense"], models["half"]], OPTIONS, SETTINGS, known)
    assert reference is known
    assert half.median_ms == pytest.approx(0.5 * known.median_ms, rel=0.01)
    with pytest.raises(StudyMismatch, match="another"):
        compare(fake(overrides={"cpu": "another"}), [models["dense"]], OPTIONS, SETTINGS, known)


@pytest.mark.parametrize(
    "check",
    [
        {"max_abs_diff": 1.0, "max_rel_diff": 0.0011, "problem": None},
        {"max_abs_diff": None, "max_rel_diff": None, "problem": "the output is nan or inf"},
        {"max_abs_diff": None, "max_rel_diff": None, "problem": None},
    ],
)
def test_an_output_that_is_not_torchs_fails_the_export(models, check):
    drifting = fake(overrides={"checks": [check]})
    with pytest.raises(TrialFailed) as caught:
        measure_dense(drifting, models["dense"], OPTIONS, SETTINGS)
    assert caught.value.reason == "export"
    dense = measure_dense(fake(), models["dense"], OPTIONS, SETTINGS)
    with pytest.raises(TrialFailed, match=r"half\.onnx"):
        measure_against(drifting, models["half"], models["dense"], dense, OPTIONS, SETTINGS)


def test_several_images_are_checked_in_one_job(models, tmp_path):
    candidate, target = models["half"], fake()
    references = [(tmp_path / f"{n}.input.npy", tmp_path / f"{n}.expected.npy") for n in range(3)]
    assert check_answers(target, candidate, OPTIONS, references) == 0.0
    (job,) = target.jobs
    assert [check["input"] for check in job["checks"]] == [str(given) for given, _ in references]
    assert {check["model"] for check in job["checks"]} == {str(candidate.path)}


def test_every_file_named_in_the_job_is_handed_to_the_target(models):
    seen = []

    class Spy(FakeTarget):
        def run(self, job, files, timeout_s):
            named = [job["dense"], *job["candidates"]]
            files_of = ("model", "input", "expected")
            named += [check[key] for check in job["checks"] for key in files_of]
            seen.append(set(named) == {str(path) for path in files})
            return super().run(job, files, timeout_s)

    target = Spy(lambda path: TIMES[path.name])
    dense = measure_dense(target, models["dense"], OPTIONS, SETTINGS)
    measure_against(target, models["half"], models["dense"], dense, OPTIONS, SETTINGS)
    assert seen == [True, True]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"runtime": "tflite"}, "runtime"),
        ({"threads": 0}, "threads"),
        ({"channels_last": True}, "channels-last"),
        ({"provider": "two\nlines"}, "provider"),
    ],
)
def test_wrong_options_are_one_clear_line(changes, key):
    with pytest.raises(ConfigError, match=f"{key}: got .*, expected") as caught:
        replace(OPTIONS, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"cap_s": 0}, {"min_blocks": 1}, {"half_width": -1}])
def test_wrong_timing_settings_are_refused(changes):
    with pytest.raises(ConfigError):
        replace(SETTINGS, **changes)


@pytest.mark.parametrize("changes", [{"imgsz": (96, 96)}, {"runtime": "torch"}])
def test_a_model_made_for_other_options_is_refused(models, changes):
    with pytest.raises(ConfigError, match=r"half\.onnx: got 'onnxruntime at \(64, 64\)'"):
        compare(fake(), [models["half"]], replace(OPTIONS, **changes), SETTINGS)


def test_nothing_to_compare_is_refused():
    with pytest.raises(ConfigError, match="no model"):
        compare(fake(), [], OPTIONS, SETTINGS)


def test_a_users_onnx_file_tells_its_size(tmp_path):
    fixed = ExportedModel.of_file(write_onnx(tmp_path / "fixed.onnx", 1, size=96))
    assert fixed.imgsz == (96, 96)
    free = write_onnx(tmp_path / "free.onnx", 1, size="side")
    assert ExportedModel.of_file(free, (64, 32)).imgsz == (64, 32)
    with pytest.raises(ConfigError, match="give imgsz"):
        ExportedModel.of_file(free)
    with pytest.raises(ConfigError, match="image size"):
        ExportedModel.of_file(fixed.path, (64, 64))
    with pytest.raises(
        ConfigError, match=r"got '\.onnx', expected a \.pt2 file for --runtime torch"
    ):
        ExportedModel.of_file(fixed.path, (96, 96), "torch")


@pytest.mark.parametrize("name", ["absent.onnx", "broken.onnx", "batch.onnx", "weights.bin"])
def test_a_users_wrong_file_is_one_clear_line(tmp_path, name):
    (tmp_path / "broken.onnx").write_bytes(b"\x00\x01 nonsense")
    write_onnx(tmp_path / "batch.onnx", 1, batch=4)
    with pytest.raises(ConfigError, match=name) as caught:
        ExportedModel.of_file(Path(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_slow_models_get_the_time_that_their_fewest_blocks_take():
    usual = TimingSettings(cap_s=10, load_s=60, least_blocks=10, run_s=0.01)
    assert usual.limit_s(2) == 70
    assert replace(usual, run_s=10.0).limit_s(7) == 60 + 2 * 10 * 10 * 7


@pytest.mark.parametrize(
    ("asked", "tolerance"),
    [
        ({"runtime": "onnxruntime"}, 1e-3),
        ({"runtime": "onnxruntime", "provider": "CPUExecutionProvider"}, 1e-3),
        ({"runtime": "onnxruntime", "provider": "CUDAExecutionProvider"}, 0.02),
        ({"runtime": "torch", "provider": "cuda:0"}, 0.02),
        ({"runtime": "torch", "precision": "bf16"}, 0.1),
        ({"runtime": "openvino", "precision": "fp16"}, 0.02),
        ({"runtime": "tensorrt"}, 0.02),
        ({"runtime": "ncnn"}, 0.02),
        ({"runtime": "onnxruntime-int8"}, 0.75),
    ],
)
def test_an_output_may_be_as_far_from_torchs_as_its_precision_rounds(asked, tolerance, tmp_path):
    options = RuntimeOptions(imgsz=(64, 64), **asked)
    file = tmp_path / f"a{options.row.suffix}"
    file.write_bytes(b"model")
    model = ExportedModel(file, options.runtime, (64, 64), "dynamo", (file, file))
    for apart, right in ((0.99 * tolerance, True), (1.01 * tolerance, False)):
        check = {"max_abs_diff": 1.0, "max_rel_diff": apart, "spread_diff": apart, "problem": None}
        answer = FakeTarget(overrides={"checks": [check]})
        with contextlib.nullcontext() if right else pytest.raises(TrialFailed, match="differs"):
            check_answers(answer, model, options)


def test_a_runtime_that_builds_engines_gets_time_for_each_model(tmp_path):
    limits = []

    class Timed(FakeTarget):
        def run(self, job, files, timeout_s):
            limits.append(timeout_s)
            return super().run(job, files, timeout_s)

    for runtime in ("onnxruntime", "tensorrt"):
        made = [ExportedModel.of_file(write_onnx(tmp_path / f"{n}.onnx", n)) for n in (1, 2)]
        made = [replace(one, runtime=runtime) for one in made]
        compare(Timed(), made, RuntimeOptions(runtime, made[0].imgsz), SETTINGS)
    usual, building = limits
    assert building == usual + 2 * 300
