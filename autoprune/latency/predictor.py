"""LatencyPredictor: the latency ratio of any pruning plan, by arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.domain.geometry import ModelGeometry
from autoprune.domain.schema import load_json, save_json
from autoprune.errors import ConfigError, StudyMismatch
from autoprune.latency.features import WORK, Staircase, work

Array = np.ndarray[Any, Any]

_PLANS_AT_ONCE = 1024  # keeps the work arrays in the processor's cache


@dataclass(frozen=True)
class PredictorError:
    """How far predictions were from timed plans that the fit had not seen.

    Attributes:
        mape: Mean absolute relative error, 0.02 for 2 %; noise of the timing included.
        spearman: Rank correlation of predicted and measured ratios.
        plans: Plans it was estimated on, by cross-validation.
    """

    mape: float
    spearman: float
    plans: int


@dataclass(frozen=True)
class LatencyPredictor:
    """Latency as a sum over convolutions of work times price, plus a constant.

    Attributes:
        geometry: The dense model it predicts for.
        staircase: Block and alignment that explain the timed plans best.
        prices: Ratio per unit of work, shape (kinds of work, convs).
        constant: What does not depend on the plan, as a fraction of the dense latency.
        error: Cross-validated.
    """

    geometry: ModelGeometry
    staircase: Staircase
    prices: Array
    constant: float
    error: PredictorError

    def predict(self, kept: Array) -> Array:
        """Latency ratio to the dense model.

        Args:
            kept: Kept channels per group, in the order of `Pruner.signature`, (plans, groups).

        Returns:
            Shape (plans,).
        """
        kept = np.asarray(kept)
        if kept.ndim != 2 or kept.shape[1] != len(self.geometry.groups):
            expected = f"(plans, {len(self.geometry.groups)})"
            raise ValueError(f"kept has shape {kept.shape}, expected {expected}")
        ratios = np.empty(len(kept))
        for start in range(0, len(kept), _PLANS_AT_ONCE):
            part = slice(start, start + _PLANS_AT_ONCE)
            done = work(self.geometry, self.staircase, kept[part])
            ratios[part] = self.constant + sum(
                each @ price for each, price in zip(done, self.prices, strict=True)
            )
        return ratios

    def by_convolution(self, kept: Array) -> Array:
        """What each convolution adds to the ratio, (plans, groups) -> (plans, convs)."""
        found = np.empty((len(kept), len(self.geometry.convs)))
        for start in range(0, len(kept), _PLANS_AT_ONCE):
            part = slice(start, start + _PLANS_AT_ONCE)
            done = work(self.geometry, self.staircase, kept[part])
            found[part] = np.einsum("kpc,kc->pc", done, self.prices)
        return found

    def times(self, factor: float) -> LatencyPredictor:
        """The same predictor with every latency multiplied."""
        return replace(self, prices=self.prices * factor, constant=self.constant * factor)

    def to_mapping(self) -> dict[str, Any]:
        """As plain data, ready for JSON or YAML; the geometry itself is left out."""
        return {
            "geometry": self.geometry.digest,
            "staircase": asdict(self.staircase),
            "constant": self.constant,
            "prices": {name: row.tolist() for name, row in zip(WORK, self.prices, strict=True)},
            "error": asdict(self.error),
        }

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        save_json("latency_predictor.json", path, self.to_mapping())

    @classmethod
    def load(cls, path: Path, geometry: ModelGeometry) -> LatencyPredictor:
        """Read what `save` wrote.

        Raises:
            StudyMismatch: It was learned for another model or image size.
            ConfigError: Missing, not a predictor, or of a newer schema.
        """
        return cls.from_mapping(load_json("latency_predictor.json", path), geometry, str(path))

    @classmethod
    def from_mapping(
        cls, content: Mapping[str, Any], geometry: ModelGeometry, where: str = "predictor"
    ) -> LatencyPredictor:
        """Read what `to_mapping` gave.

        Args:
            content: The parsed file.
            geometry: Of the model it is to predict for.
            where: Name of the file, for messages.

        Raises:
            StudyMismatch: It was learned for another model or image size.
            ConfigError: Not a predictor.
        """
        try:
            known = content["geometry"]
            known_kinds = {"plain joins": [0.0] * len(geometry.convs)} | content["prices"]
            prices = np.array([known_kinds[name] for name in WORK], dtype=np.float64)
            constant = float(content["constant"])
            staircase = Staircase(**content["staircase"])
            error = PredictorError(**content["error"])
        except (KeyError, TypeError, ValueError) as problem:
            got = f"{type(problem).__name__}: {problem}"
            raise ConfigError.of(where, "", got, "a latency predictor") from None
        if known != geometry.digest:
            raise StudyMismatch(
                f"{where}: learned for another model or image size: {known} -> {geometry.digest}"
            )
        if prices.shape != (len(WORK), len(geometry.convs)) or not np.isfinite(prices).all():
            expected = f"{len(geometry.convs)} finite numbers per kind of work"
            raise ConfigError.of(where, "prices", prices.shape, expected)
        return cls(geometry, staircase, prices, constant, error)
