"""Examples in the document, by view. The tests send each to a service and compare the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Example:
    """A call, and what is answered; the parts of its path where they are others than PARTS."""

    about: str
    answer: Any
    body: Any = None
    status: int = 200
    path: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name that it has in the document."""
        return self.about.lower().replace(" ", "_").replace(",", "")


# What stands in a path, where an example does not say otherwise.
PARTS = {
    "model": "xor",
    "version": "1",
    "label": "stable",
    "job_id": "0123456789abcdef",
    "name": "iris",
    "file": "swagger-ui.css",
}

_EXAM = "a1604edb0afcb0c72cdb70628548e0ca4574588cf35e43aa7e2b1f56cb9826f3"
_LINE = "c2bec4c4894466b94a2c869f4d1c59e5cf8b6126cce2fcfea82fb2f5460c0828"
_RECIPE = {
    "dataset": "xor",
    "network": [{"type": "dense", "units": 8}, {"type": "tanh"}, {"type": "dense", "units": 1}],
    "loss": "binary_cross_entropy",
    "optimizer": {"type": "adam", "learning_rate": 0.05},
    "epochs": 600,
}
_DATA = {"name": "xor", "sha256": "56247b84d65bf1294c45c4836b83abbc44ad71c33c46d2c9520e543db6c7dc72"}

# Of forms, by schema, what the page fills in; a picture or a file is the reader's own.
FORMS = {
    "PredictForm": {"model": "digits", "version": "stable"},
    "DatasetForm": {"name": "iris", "target": "species"},
}

EXAMPLES: dict[str, tuple[Example, ...]] = {
    "predict.predict": (
        Example(
            "Classes",
            body={"model": "exam", "inputs": [[2], [5.5]]},
            answer={
                "model": "exam",
                "version": 1,
                "sha256": _EXAM,
                "predictions": [
                    {"label": "fail", "confidence": 0.988079, "probabilities": [0.988079, 0.011921]},
                    {"label": "pass", "confidence": 0.7210047, "probabilities": [0.2789953, 0.7210047]},
                ],
                "labels": ["fail", "pass"],
            },
        ),
        Example(
            "A value, of the stable version",
            body={"model": "line", "version": "stable", "inputs": [[1.5]]},
            answer={"model": "line", "version": 1, "sha256": _LINE, "predictions": [{"value": 3.9903076}]},
        ),
    ),
    "models.show_model": (
        Example(
            "A model",
            answer={"model": "xor", "stable": 1, "labels": {"stable": 1}, "versions": [1], "failures": {}},
        ),
    ),
    "versions.move_label": (
        Example(
            "Promote a version",
            body={"version": 1},
            path={"label": "candidate"},
            answer={
                "model": "xor",
                "label": "candidate",
                "version": 1,
                "history": [
                    {
                        "from": None,
                        "to": 1,
                        "who": "127.0.0.1",
                        "why": "as asked",
                        "time": "2026-01-31T12:00:00.000+00:00",
                    }
                ],
                "next": None,
            },
        ),
    ),
    "train.start": (
        Example(
            "Check a recipe",
            body={"model": "my-xor", "recipe": _RECIPE, "dry_run": True},
            answer={
                "dry_run": True,
                "model": "my-xor",
                "recipe": _RECIPE,
                "dataset": _DATA,
                "promote": "if_better",
                "start_from": None,
                "parameters": 33,
                "memory": 60_000_000,
            },
        ),
        Example(
            "Train by a shipped recipe",
            body={"model": "my-xor", "recipe": "xor", "promote": "always"},
            status=202,
            answer={
                "id": PARTS["job_id"],
                "model": "my-xor",
                "state": "queued",
                "created": "2026-01-31T12:00:00.000+00:00",
                "started": None,
                "ended": None,
                "trainer": None,
                "attempts": 0,
                "epoch": 0,
                "epochs": 600,
                "seconds": 0.0,
                "seconds_left": None,
                "result": None,
                "error": None,
                "plan": {
                    "recipe": _RECIPE,
                    "dataset": _DATA,
                    "promote": "always",
                    "start_from": None,
                    "parameters": 33,
                    "memory": 60_000_000,
                },
                "history": [],
            },
        ),
    ),
    "v2.infer": (
        Example(
            "Two rows as a tensor",
            body={
                "id": "a-1",
                "inputs": [{"name": "input", "datatype": "FP32", "shape": [2, 2], "data": [0, 1, 1, 1]}],
                "outputs": [{"name": "label"}],
            },
            answer={
                "model_name": "xor",
                "model_version": "1",
                "id": "a-1",
                "outputs": [{"name": "label", "datatype": "BYTES", "shape": [2], "data": ["1", "0"]}],
            },
        ),
    ),
    "v2_repository.index": (
        Example(
            "Versions that can answer",
            body={"ready": True},
            answer=[{"name": "xor", "version": "1", "state": "READY", "reason": ""}],
        ),
    ),
    "v2_repository.load": (Example("Read a model anew", body={}, answer={"name": "xor", "load": True}),),
    "health.healthz": (Example("Alive", answer={"status": "alive"}),),
    "health.readyz": (
        Example(
            "All can answer",
            answer={"ready": True, "models": {"xor": {"ready": True, "version": 1, "failures": {}}}},
        ),
    ),
}
