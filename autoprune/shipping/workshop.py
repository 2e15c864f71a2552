"""Workshop: a bundle's folder while it is made; finished steps are kept for a next run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoprune.domain.card import ModelCard
from autoprune.domain.schema import load_json, save_json
from autoprune.errors import ConfigError
from autoprune.storage.locks import Held, alone

CARD = "card.json"
WORK = ".work"


class Workshop:
    """The folder of one request. Each step's result is written whole, under the request's hash."""

    def __init__(self, output: Path, request: Mapping[str, Any]) -> None:
        """Name the folder and what it is for; nothing is opened yet."""
        self.output = output
        self.request: dict[str, Any] = json.loads(json.dumps(request, default=str))
        plain = json.dumps(self.request, sort_keys=True, separators=(",", ":"))
        self.key = hashlib.sha256(plain.encode()).hexdigest()[:16]

    @property
    def work(self) -> Path:
        """Holds what is unfinished; it goes when the bundle is."""
        return self.output / WORK

    def finished(self) -> ModelCard | None:
        """The card of a bundle that was finished before; None where there is none.

        Raises:
            ConfigError: The folder holds another request's bundle.
        """
        path = self.output / CARD
        if not path.exists():
            return None
        card = ModelCard.load(path)
        self._refuse_other(card.request, "the bundle of another request")
        lost = [name for name in card.files if not (self.output / name).is_file()]
        if lost:
            expected = f"the bundle's {', '.join(lost)}; remove the folder to make it again"
            raise ConfigError.of(str(self.output), "", "no such file", expected)
        shutil.rmtree(self.work, ignore_errors=True)  # where it was killed at the very end
        return card

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder while the bundle is made.

        Raises:
            ConfigError: Another process works there, or it holds another request's work.
        """
        try:
            with alone(self.work / ".lock", timeout_s=0):
                note = self.work / "request.json"
                if note.exists():
                    before = load_json("request.json", note)
                    self._refuse_other(before, "the unfinished bundle of another request")
                else:
                    save_json("request.json", note, self.request)
                yield
        except Held:
            raise ConfigError(f"{self.output}: another process is at work there") from None

    def done(self, step: str) -> dict[str, Any] | None:
        """The result of a step that was finished before."""
        path = self.work / f"{step}.json"
        if not path.exists():
            return None
        content = load_json("step.json", path)
        result = content.get("result")
        known = content.get("request") == self.key and isinstance(result, dict)
        return result if known else None

    def finish(self, step: str, result: Mapping[str, Any]) -> None:
        """Keep a step's result; whatever files belong to it are written by now."""
        content = {"request": self.key, "result": dict(result)}
        save_json("step.json", self.work / f"{step}.json", content)

    def close(self) -> None:
        """Remove what was for making it."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _refuse_other(self, before: Mapping[str, Any], what: str) -> None:
        if before == self.request:
            return
        keys = [
            key for key in {**before, **self.request} if before.get(key) != self.request.get(key)
        ]
        shown = "; ".join(
            f"{key}: {_short(before.get(key))} -> {_short(self.request.get(key))}" for key in keys
        )
        expected = "the same request, or another --output"
        raise ConfigError(f"{self.output}: holds {what} ({shown}), expected {expected}")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
