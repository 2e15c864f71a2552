"""Before anything else: quiet libraries and one thread; caches of results go to a folder of ours.

On a busy machine two torch or BLAS threads spin and are slower.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from autoprune.evaluation.quiet import prepare_environment  # noqa: E402

prepare_environment()

import pytest  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from autoprune.search.learn import calibration, learn_latency

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for module in (calibration, learn_latency):
            patch.setattr(module, "user_cache_path", lambda _name: folder)
        yield
