"""What a plan costs, in channels: counted by hand."""

from __future__ import annotations

import numpy as np

from autoprune.domain.geometry import ConvGeometry, ModelGeometry
from autoprune.latency.features import WORK, Staircase, work


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
