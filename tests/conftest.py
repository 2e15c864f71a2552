"""One thread everywhere: on a busy machine two torch or BLAS threads spin and are slower."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from autoprune.evaluation.quiet import prepare_environment  # noqa: E402

prepare_environment()
