"""What a plan costs, in channels: counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autoprune.domain.geometry import ConvGeometry, ModelGeometry
from autoprune.latency.features import WORK, Staircase, deviations, shared_costs, work
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.predictor_fit import fit_predictor


def conv(name: str, reads: tuple[int, ...], writes: tuple[int, ...]) -> ConvGeometry:
    return ConvGeometry(
        name=name,
        reads=reads,
        fixed_in=0 if reads else 3,
        writes=writes,
        fixed_out=0,
        kernel=(1, 1),
        stride=(1, 1),
        input_size=(4, 4),
        output_size=(4, 4),
        activated=True,
    )


def test_the_halves_of_a_split_output_are_padded_apart() -> None:
    geometry = ModelGeometry(
        groups=("a", "b", "c"),
        widths=(32, 32, 32),
        convs=(conv("one", (), (0,)), conv("two", (0,), (1, 2))),
        imgsz=(4, 4),
    )
    done = work(geometry, Staircase(16, False, 1), np.array([[20, 20, 20], [32, 16, 16]]))
    outputs = done[WORK.index("fast outputs")]
    assert outputs.tolist() == [[32, 64], [32, 32]]  # 20 + 20 as one would be padded to 48


def test_joined_maps_leave_the_blocks_where_one_of_them_does_not_fill_its_own() -> None:
    geometry = ModelGeometry(
        groups=("a", "b", "c"),
        widths=(32, 32, 32),
        convs=(conv("one", (), (0,)), conv("two", (0,), (1,)), conv("three", (0, 1), (2,))),
        imgsz=(4, 4),
    )
    kept = np.array([[32, 16, 20], [20, 16, 32], [20, 12, 32]])
    joins = work(geometry, Staircase(16, True, 1), kept)[WORK.index("plain joins")]
    assert joins.tolist() == [[0, 0, 0], [0, 0, 36], [0, 0, 32]]  # 20 + 12 are two blocks together
    assert not work(geometry, Staircase(1, False, 1), kept)[WORK.index("plain joins")].any()


def test_a_predictor_of_before_plain_joins_had_a_price_is_read() -> None:
    geometry = ModelGeometry(("a",), (32,), (conv("one", (), (0,)),), (4, 4))
    kept = np.arange(1, 33)[:, None]
    content = fit_predictor(geometry, kept, 0.1 + kept[:, 0] / 40).to_mapping()
    del content["prices"]["plain joins"]
    again = LatencyPredictor.from_mapping(content, geometry)
    assert again.predict(kept).shape == (32,)


def test_a_depthwise_convolution_reads_what_it_writes_and_wants_whole_blocks() -> None:
    deep = replace(conv("two", (), (0,)), fixed_in=1, depthwise=True, kernel=(3, 3))
    geometry = ModelGeometry(("a",), (32,), (conv("one", (), (0,)), deep), (4, 4))
    kept = np.array([[32], [20]])
    done = dict(zip(WORK, work(geometry, Staircase(16, True, 4), kept)[:, :, 1], strict=True))
    assert done["fast products"].tolist() == [32, 0]
    assert done["slow products"].tolist() == [0, 20]
    assert done["fast inputs"].tolist() == [32, 0]
    assert done["slow inputs"].tolist() == [0, 20]
    assert geometry.macs(kept).tolist() == [(3 + 9) * 32 * 16, (3 + 9) * 20 * 16]


def test_depthwise_convolutions_have_a_price_and_a_kind_of_their_own() -> None:
    plain = conv("one", (), (0,))
    deep = replace(plain, name="two", fixed_in=1, depthwise=True)
    without = ModelGeometry(("a",), (32,), (plain, plain), (4, 4))
    mixed = ModelGeometry(("a",), (32,), (plain, deep), (4, 4))
    assert len(shared_costs(mixed)) == len(shared_costs(without)) + 1
    assert len(deviations(mixed)[0]) == 2 * len(deviations(without)[0])
    assert mixed.digest != without.digest
