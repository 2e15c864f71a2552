"""What a plan costs, in channels: counted by hand."""

from __future__ import annotations

import numpy as np

from autoprune.domain.geometry import ConvGeometry, ModelGeometry
from autoprune.latency.features import WORK, Staircase, work
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
