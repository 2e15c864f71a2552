"""Learns a LatencyPredictor from timed plans.

Latency is taken as a sum of work times price. A few non-negative prices are shared by all
convolutions of a kind; then each resolution and each convolution may deviate from them by some
percent, as far as the data insist (a ridge, that is a normal prior of the spreads below). Which
block, input padding and alignment the target has is chosen by cross-validation.

What was tried: mean relative error in % on plans not learned from (ONNX Runtime 1.32, 1 thread,
AVX-512, a busy machine; 48 plans learned, up to 48 others predicted, mean of 8 random splits):

                                          yolov8n 192 px   yolov8n 320 px   yolov8s 320 px
    a constant plus MACs                       8.2              7.6              6.3
    no blocks                                  6.9              6.9              5.9
    blocks of 8 / of 32                     3.2 / 3.9        3.8 / 4.2        2.8 / 4.8
    blocks of 16, no slow path                 2.3              1.8              1.6
    blocks of 16, inputs not padded            2.4              2.0              2.0
    blocks of 16, no memory traffic            1.6              1.3              1.4
    shared prices only                         1.5              1.1              0.8
    with deviations (used here)                1.4              1.0              0.8
    and a Gaussian process on residuals        1.5              1.0              0.8

One price of a multiplication for 1x1, 3x3 and strided convolutions did as well as three, and
counting passes over the input (outputs padded to four blocks) added nothing.

The table is of files whose blocks begin with a Split, which leaves the blocked layout in any case.
Since they begin with two convolutions, only joins of maps that do not fill their blocks leave it:
on 48 plans of the demo at 192 px (1 thread, quiet), the error is 2.4 % without a price of such
joins and 1.9 % with it; the timings' own 95 % half-width is 2.2 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autoprune.domain.geometry import ModelGeometry
from autoprune.latency.features import CANDIDATES, Staircase, deviations, shared_costs, work
from autoprune.latency.predictor import LatencyPredictor, PredictorError

Array = np.ndarray[Any, Any]

FEWEST_PLANS = 12
_FOLDS = 8
_NOISE = 0.008  # relative error of a ratio beyond what its interval shows
_FAMILY_SPREAD = 0.15  # of the price, from one resolution to another
_SINGLE_SPREAD = 0.05  # of the price, from one convolution to the next
_DENSE_NOISE = 0.004  # the dense model's ratio is 1 by definition; this close the fit must come
_STRONGEST = 0.7  # no convolution is taken to cost less than 30 % of the shared price


def fit_predictor(
    geometry: ModelGeometry,
    kept: Array,
    ratios: Array,
    spread: Array | None = None,
    candidates: tuple[Staircase, ...] = CANDIDATES,
) -> LatencyPredictor:
    """Fit every candidate staircase and keep the one that predicts unseen plans best.

    Args:
        geometry: The dense model's convolutions.
        kept: Kept channels of the timed plans, shape (plans, groups).
        ratios: Their measured latency ratios to dense, shape (plans,), positive.
        spread: Standard error of each ratio, relative, shape (plans,); all alike by default.
        candidates: Staircases to try, the simplest first.

    Raises:
        ValueError: Fewer than FEWEST_PLANS plans, or shapes that do not fit.
    """
    kept, ratios = np.asarray(kept), np.asarray(ratios, dtype=np.float64)
    if kept.shape != (len(ratios), len(geometry.groups)) or len(ratios) < FEWEST_PLANS:
        expected = f"at least {FEWEST_PLANS} plans of {len(geometry.groups)} groups"
        raise ValueError(f"kept has shape {kept.shape}, ratios {ratios.shape}: expected {expected}")
    count = len(ratios)
    sigma = np.hypot(_NOISE, np.zeros(count) if spread is None else np.asarray(spread))
    seen = np.vstack((kept, geometry.widths))
    truth, sigma = np.append(ratios, 1.0), np.append(sigma, _DENSE_NOISE)
    best: tuple[float, Staircase, Array] | None = None
    for staircase in candidates:
        guesses = _Regression(geometry, staircase, seen).cross_validated(truth, sigma, count)
        off = np.abs(guesses / ratios - 1)
        score = float(np.average(off, weights=1 / sigma[:count]))
        if best is None or score < best[0]:
            best = score, staircase, guesses
    assert best is not None
    from scipy.stats import spearmanr

    _, staircase, guesses = best
    prices, constant = _Regression(geometry, staircase, seen).fit(truth, sigma)
    error = PredictorError(
        mape=float(np.abs(guesses / ratios - 1).mean()),
        spearman=float(spearmanr(guesses, ratios)[0]),
        plans=count,
    )
    return LatencyPredictor(geometry, staircase, prices, constant, error)


class _Regression:
    """The fit for one staircase: the work of all plans, summed along every mask once."""

    def __init__(self, geometry: ModelGeometry, staircase: Staircase, kept: Array) -> None:
        self.costs = shared_costs(geometry)
        self.families, self.singles = deviations(geometry)
        self.work = work(geometry, staircase, kept).swapaxes(0, 1)  # (plans, kinds, convs)
        flat = self.work.reshape(len(kept), -1)
        columns = flat @ self.costs.reshape(len(self.costs), -1).T
        self.columns = np.hstack((columns, np.ones((len(kept), 1))))

    def fit(
        self, ratios: Array, sigma: Array, plans: Array | slice = slice(None)
    ) -> tuple[Array, float]:
        """Prices (kinds of work, convs) and the constant, from the plans named."""
        columns, seen = self.columns[plans], ratios[plans]
        weight = 1 / sigma[plans]
        scale = columns.mean(axis=0)
        scale[scale == 0] = 1.0
        relative = columns / scale / seen[:, None]
        from scipy.optimize import nnls  # here: importing scipy takes longer than most else

        solved, _ = nnls(relative * weight[:, None], weight, maxiter=100 * columns.shape[1])
        solved = solved / scale
        shared = np.tensordot(solved[:-1], self.costs, axes=1)
        return self._deviating(shared, columns @ solved, seen, sigma[plans], plans), float(
            solved[-1]
        )

    def _deviating(
        self, shared: Array, base: Array, ratios: Array, sigma: Array, plans: Array | slice
    ) -> Array:
        """Prices after each family and convolution has moved towards the residuals."""
        work = self.work[plans].reshape(len(ratios), -1)
        masks = np.concatenate((_FAMILY_SPREAD * self.families, _SINGLE_SPREAD * self.singles))
        masks = masks.reshape(len(masks), -1)
        shares = (work * shared.ravel()) @ masks.T / base[:, None]
        covariance = shares @ shares.T + np.diag(sigma**2)
        moved = shares.T @ np.linalg.solve(covariance, ratios / base - 1)
        factors = np.maximum(1 + moved @ masks, 1 - _STRONGEST)
        return shared * factors.reshape(shared.shape)

    def cross_validated(self, ratios: Array, sigma: Array, count: int) -> Array:
        """Predicted ratio of each of the first `count` plans by a fit that did not see it."""
        guesses = np.empty(count)
        everything = np.arange(len(ratios))
        for held in np.array_split(np.random.default_rng(0).permutation(count), _FOLDS):
            prices, constant = self.fit(ratios, sigma, np.setdiff1d(everything, held))
            guesses[held] = np.tensordot(self.work[held], prices, axes=2) + constant
        return guesses
