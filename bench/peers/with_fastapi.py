"""The digits behind FastAPI and uvicorn: a model loaded in the lifespan, pydantic in and out.

The view is `async`, as in FastAPI's own example of a model: without a thread it is the quicker form.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from network import Network, predictions
from pydantic import BaseModel

networks: dict[str, Network] = {}


class Asked(BaseModel):
    inputs: list[list[float]]


class Prediction(BaseModel):
    label: str
    confidence: float
    probabilities: list[float]


class Answer(BaseModel):
    predictions: list[Prediction]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 (FastAPI hands it over)
    networks["digits"] = Network()
    yield
    networks.clear()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(asked: Asked) -> Answer:
    answers = predictions(networks["digits"](asked.inputs))
    return Answer(predictions=[Prediction(**answer) for answer in answers])
