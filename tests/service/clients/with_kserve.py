"""What KServe's client has of a server: `python with_kserve.py <url>`, with pairs of model and input as JSON.

It runs where `make clients` installed kserve; nothing of nnserve is there.
"""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def infer(client, url, model, x, as_bytes):
    """Return what was answered, or what the client made of an error, and in which type."""
    tensor = InferInput("input", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, binary_data=as_bytes)
    outputs = [RequestedOutput(name, {"binary_data": as_bytes}) for name in ("label", "probabilities")]
    request = InferRequest(model, [tensor], request_id="7", request_outputs=outputs)
    headers = {}
    try:
        answer = await client.infer(url, request, model_name=model, response_headers=headers)
    except httpx.HTTPStatusError as error:
        return str(error)
    return {
        "id": answer.id,
        "type": headers["content-type"],
        **{output.name: output.as_numpy().tolist() for output in answer.outputs},
    }


async def ask(url, pairs):
    """Return how a server and its models are, and the answers: all in JSON, then all in bytes."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "models_ready": [await client.is_model_ready(url, model) for model, _ in pairs],
            "answers": [
                [await infer(client, url, model, np.array(x, np.float32), as_bytes) for model, x in pairs]
                for as_bytes in (False, True)
            ],
        }


print(json.dumps(asyncio.run(ask(sys.argv[1], json.load(sys.stdin)))))
