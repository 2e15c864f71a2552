import copy

import numpy as np
import pytest
import torch
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.quiet import prepare_environment
from autoprune.latency import export
from autoprune.latency.export import export_model, folded
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import RuntimeOptions, TimingSettings, measure_dense

SIZE = (64, 64)


@pytest.fixture(scope="module")
def detector():
    """A yolov8n whose batch-norms would betray a wrong fold."""
    prepare_environment()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", verbose=False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def exported(detector, tmp_path_factory):
    return export_model(detector, tmp_path_factory.mktemp("onnx") / "m.onnx", SIZE, "onnxruntime")


@pytest.fixture
def target(tmp_path):
    return LocalTarget(lock_path=tmp_path / "latency.lock")


def small():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 4, 1))


def options(runtime):
    return RuntimeOptions(runtime=runtime, imgsz=SIZE)


def check_output(target, exported, options):
    """The measuring process compares the file's output with torch's before it times anything."""
    quick = TimingSettings(
        warmup_s=0.0, block_s=1e-4, min_blocks=2, max_blocks=2, min_s=0.0, cap_s=0.01, dense_s=0.005
    )
    measure_dense(target, exported, options, quick)


def test_an_exported_detector_equals_torch(detector, exported, target):
    check_output(target, exported, options("onnxruntime"))
    with torch.no_grad():
        image = torch.from_numpy(np.load(exported.reference[0]))
        plain = copy.deepcopy(detector).eval()(image)[0]
    assert plain.shape == (1, 84, 84)
    assert np.load(exported.reference[1]) == pytest.approx(plain.numpy(), rel=1e-4, abs=1e-3)
    assert exported.exporter == "dynamo"


def test_export_leaves_its_input_bit_identical(detector, tmp_path):
    detector.train()
    before = copy.deepcopy(detector.state_dict())
    export_model(detector, tmp_path / "m.pt2", SIZE, "torch")
    after = detector.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(module.training for module in detector.modules())
    assert all(
        weight.requires_grad for name, weight in detector.named_parameters() if "dfl" not in name
    )
    assert not detector.model[-1].export
    assert not any("forward" in vars(module) for module in detector.modules())


def test_a_torch_program_equals_torch_in_both_memory_layouts(tmp_path, target):
    exported = export_model(small(), tmp_path / "m.pt2", SIZE, "torch")
    for channels_last in (False, True):
        chosen = RuntimeOptions(runtime="torch", imgsz=SIZE, channels_last=channels_last)
        check_output(target, exported, chosen)


def test_batch_norms_are_folded_and_the_head_decodes(detector):
    ready = folded(detector)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    assert isinstance(ready(torch.zeros(1, 3, *SIZE)), torch.Tensor)


def test_a_drifting_file_is_caught_by_the_measuring_process(exported, target, tmp_path):
    expected = np.load(exported.reference[1])
    expected[0, 10, 5] += 0.002  # one class score
    shifted = tmp_path / "shifted.npy"
    np.save(shifted, expected)
    drifting = export.ExportedModel(
        exported.path, "onnxruntime", SIZE, "dynamo", (exported.reference[0], shifted)
    )
    with pytest.raises(TrialFailed, match="differs from torch") as caught:
        check_output(target, drifting, options("onnxruntime"))
    assert caught.value.reason == "export"


def test_the_other_exporter_steps_in_when_the_first_fails(tmp_path, target, monkeypatch):
    def broken(model, image, path):
        raise RuntimeError("unsupported operator")

    monkeypatch.setattr(export, "write_dynamo", broken)
    exported = export_model(small(), tmp_path / "m.onnx", SIZE, "onnxruntime")
    assert exported.exporter == "torchscript"
    check_output(target, exported, options("onnxruntime"))


def test_after_a_wrong_file_only_the_exporters_after_its_own_are_tried(tmp_path, target):
    wrong = export_model(small(), tmp_path / "m.onnx", SIZE, "onnxruntime")
    other = export_model(small(), tmp_path / "m.onnx", SIZE, "onnxruntime", after=wrong.exporter)
    assert (wrong.exporter, other.exporter) == ("dynamo", "torchscript")
    check_output(target, other, options("onnxruntime"))
    for last in (other.exporter, "user"):
        with pytest.raises(TrialFailed, match=f"no exporter is left after {last}") as caught:
            export_model(small(), tmp_path / "m.onnx", SIZE, "onnxruntime", after=last)
        assert caught.value.reason == "export"


class Unexportable(nn.Module):
    def forward(self, image):
        return image * 2 if image.sum() > 0 else image


class Exploding(nn.Module):
    def forward(self, image):
        return image / 0


@pytest.mark.parametrize("module", [Unexportable(), Exploding()])
def test_a_model_that_cannot_be_exported_fails_its_trial_in_one_line(module, tmp_path):
    path = tmp_path / "m.pt2"
    with pytest.raises(TrialFailed) as caught:
        export_model(module, path, SIZE, "torch")
    assert caught.value.reason == "export"
    assert "\n" not in str(caught.value)
    assert not path.exists()


def test_denormal_weights_are_zero_in_what_is_exported(tmp_path):
    model = small()
    with torch.no_grad():
        model[0].weight[::2] = 1e-40
        model[2].bias[0] = -1e-39
    image = torch.rand(1, 3, *SIZE)
    before = model(image)
    ready = folded(model)
    tiny = torch.finfo(torch.float32).tiny
    for tensor in ready.parameters():
        assert not ((tensor != 0) & (tensor.abs() < tiny)).any()
    assert torch.equal(ready(image), before)
    assert float(model[0].weight.detach().abs().min()) > 0, "the model given is not changed"
    import onnx

    made = export_model(model, tmp_path / "m.onnx", SIZE, "onnxruntime")
    for stored in onnx.load(made.path).graph.initializer:
        values = np.abs(onnx.numpy_helper.to_array(stored))
        assert not ((values > 0) & (values < tiny)).any()
