"""All that autoprune relies on inside Ultralytics: what its documentation does not promise.

No other folder imports Ultralytics but for `YOLO` and its layer classes. Each thing relied on has a
test of its own in `tests/contracts/test_ultralytics_inside.py`.
"""

import torch  # noqa: F401  (first: Ultralytics sets OMP_NUM_THREADS=1, which torch reads once)
