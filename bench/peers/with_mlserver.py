"""The digits behind MLServer: a runtime of our own, which model-settings.json names."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from network import LABELS, Network


class Digits(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self.network = Network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        probabilities = self.network(self.decode(payload.inputs[0], default_codec=NumpyCodec))
        labels = [LABELS[best] for best in probabilities.argmax(axis=1)]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("probabilities", probabilities),
                StringCodec.encode_output("label", labels),
            ],
        )
