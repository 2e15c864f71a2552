"""What Pruner promises besides the right numbers: an untouched input and a faithful copy."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.pruning.prune import Pruner
from tests.pruning.architectures import expected_widths, uniform
from tests.pruning.networks import WEIGHT_CRITERIA, fingerprint, image, plan_like, stock

HALF = PruningPlan(uniform("yolov8n", 0.5))


def test_the_input_is_never_changed() -> None:
    model = copy.deepcopy(stock("yolov8n"))
    hashed, modules = fingerprint(model), list(model.named_modules())
    tensors = [tensor.data_ptr() for tensor in model.state_dict().values()]
    pruned = Pruner(model).prune(HALF)
    with torch.no_grad():
        for parameter in pruned.parameters():
            parameter.zero_()
    assert fingerprint(model) == hashed
    assert [(name, id(module)) for name, module in model.named_modules()] == [
        (name, id(module)) for name, module in modules
    ]
    assert [tensor.data_ptr() for tensor in model.state_dict().values()] == tensors
    assert not {id(module) for module in model.modules()} & {id(m) for m in pruned.modules()}


@pytest.mark.parametrize("ratio", [0.0, 0.001])
@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-p2", "yolov8n-p6", "yolov8s"])
def test_a_plan_that_removes_nothing_gives_a_bit_identical_copy(name: str, ratio: float) -> None:
    model = stock(name)
    pruned = Pruner(model).prune(PruningPlan(uniform(name, ratio), round_to=8))
    assert pruned is not model
    assert list(pruned.state_dict()) == list(model.state_dict())
    assert fingerprint(pruned) == fingerprint(model)
    images = image(torch.float32)
    with torch.no_grad():
        assert torch.equal(pruned(images)[0], model(images)[0])


def test_an_already_pruned_model_is_pruned_by_the_rule_from_its_own_widths() -> None:
    twice = Pruner(Pruner(stock("yolov8n")).prune(HALF)).prune(HALF)
    # 16 -> 8 -> 4 at index 0; halves of index 2: 16 -> 8 -> 4; SPPF: 128 -> 64 -> 32
    assert tuple(twice.model[0].conv.weight.shape[:2]) == (4, 3)
    assert tuple(twice.model[2].cv2.conv.weight.shape[:2]) == (8, 12)
    assert tuple(twice.model[9].cv2.conv.weight.shape[:2]) == (64, 128)
    assert twice.model[22].cv3[0][1].conv.weight.shape[0] == 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_dtype_is_kept_and_loses_the_same_channels_as_its_float32_twin(
    dtype: torch.dtype,
) -> None:
    model = copy.deepcopy(stock("yolov8n")).to(dtype)
    with torch.no_grad():
        for module in model.modules():  # norms of these filters overflow float16
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(300)
    twin = copy.deepcopy(model).float()
    pruned = Pruner(model).prune(HALF)
    assert {p.dtype for p in pruned.parameters()} == {dtype}
    expected = Pruner(twin).prune(HALF).state_dict()
    for key, tensor in pruned.state_dict().items():
        assert torch.equal(tensor.float(), expected[key].float()), key


def test_training_flags_and_frozen_parameters_stay_as_they_were() -> None:
    model = copy.deepcopy(stock("yolov8n")).train()
    model.model[3].bn.eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".dfl." not in name and not name.startswith("model.4."))
    pruned = Pruner(model).prune(HALF)
    assert {n: m.training for n, m in pruned.named_modules()} == {
        n: m.training for n, m in model.named_modules()
    }
    assert {n: p.requires_grad for n, p in pruned.named_parameters()} == {
        n: p.requires_grad for n, p in model.named_parameters()
    }


@pytest.mark.parametrize("importance", WEIGHT_CRITERIA)
def test_the_same_plan_gives_the_same_weights_whatever_the_global_seed(importance: str) -> None:
    plan = plan_like(uniform("yolov8n", 0.0), 5, (0.2, 0.4, 0.6))
    torch.manual_seed(1)
    first = Pruner(stock("yolov8n"), importance).prune(plan)
    torch.manual_seed(2)
    second = Pruner(stock("yolov8n"), importance).prune(plan)
    assert fingerprint(first) == fingerprint(second)


def test_the_result_holds_the_stock_classes_and_survives_pickling() -> None:
    model = stock("yolov8n")
    pruned = Pruner(model).prune(HALF)
    assert {n: type(m) for n, m in pruned.named_modules()} == {
        n: type(m) for n, m in model.named_modules()
    }
    again = pickle.loads(pickle.dumps(pruned))
    assert fingerprint(again) == fingerprint(pruned)
    assert torch.equal(again.stride, model.stride)
    assert again.yaml == model.yaml


def test_a_pruner_of_another_process_prunes_the_same() -> None:
    pruner = Pruner(stock("yolov8n"), "l2_bn")
    plan = PruningPlan(uniform("yolov8n", 0.4))
    other: Pruner = pickle.loads(pickle.dumps(pruner))
    assert other.channels == pruner.channels
    assert other.signature(plan) == pruner.signature(plan)
    assert fingerprint(other.prune(plan)) == fingerprint(pruner.prune(plan))


def test_both_forward_forms_of_c2f_agree_after_pruning() -> None:
    block = Pruner(stock("yolov8n")).prune(HALF).model[4]
    features = torch.randn(1, block.cv1.conv.in_channels, 8, 8)
    with torch.no_grad():
        assert torch.equal(block.forward_split(features), block(features))


def test_gradients_reach_every_parameter_of_a_pruned_model() -> None:
    model = copy.deepcopy(stock("yolov8n")).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".dfl." not in name)
    pruned = Pruner(model).prune(HALF)
    raw = pruned(image(torch.float32))
    (raw["boxes"].square().mean() + raw["scores"].square().mean()).backward()
    for name, parameter in pruned.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.shape == parameter.shape, name
            assert torch.isfinite(parameter.grad).all(), name


def test_on_cuda_the_same_channels_go_as_on_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    plan = plan_like(uniform("yolov8n", 0.0), 11, (0.1, 0.3, 0.6))
    on_cpu = Pruner(stock("yolov8n")).prune(plan)
    on_gpu = Pruner(copy.deepcopy(stock("yolov8n")).cuda()).prune(plan)
    assert {tensor.device.type for tensor in on_gpu.state_dict().values()} == {"cuda"}
    assert fingerprint(on_gpu) == fingerprint(on_cpu)
    widths = expected_widths("yolov8n", plan.prune_ratios, plan.round_to)
    assert on_gpu.model[0].conv.weight.shape[0] == widths["model.0.conv"][1]
