"""The digits behind LitServe: `python with_litserve.py PORT`."""

import sys
from typing import Any

import litserve
from network import Network, predictions


class Digits(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.network = Network()

    def decode_request(self, request: dict[str, Any]) -> Any:
        return request["inputs"]

    def predict(self, x: Any) -> Any:
        return self.network(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": predictions(output)}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
