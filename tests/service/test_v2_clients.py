"""Clients that people have already: tritonclient, blocking and asynchronous, and what KServe's sends."""

import asyncio
import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    # What gevent and the client say of themselves when they are imported.
    warnings.simplefilter("ignore")
    import tritonclient.http as blocking
    import tritonclient.http.aio as asynchronous
    from tritonclient.utils import InferenceServerException

X = np.array([[0, 1], [1, 1]], np.float32)


def tensor(module, as_bytes, x=X):
    return module.InferInput("input", list(x.shape), "FP32").set_data_from_numpy(x, binary_data=as_bytes)


def wanted(module, as_bytes):
    names = ("label", "saliency", "probabilities")
    return [module.InferRequestedOutput(name, binary_data=as_bytes) for name in names]


def check(result):
    labels = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("label")]
    assert labels == ["1", "0"]
    assert np.allclose(result.as_numpy("probabilities"), [[0, 1], [1, 0]], atol=1e-3)
    assert result.as_numpy("probabilities").dtype == np.float32
    assert result.as_numpy("saliency").shape == (2, 2)
    assert [output["name"] for output in result.get_response()["outputs"]] == [
        "label",
        "saliency",
        "probabilities",
    ]
    assert result.get_response()["id"] == "7"


@pytest.fixture
def client(service):
    with blocking.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        yield client


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("received", [False, True])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tritonclient_asks_in_json_and_bytes_packed_and_not(client, sent, received, packed):
    result = client.infer(
        "xor",
        [tensor(blocking, sent)],
        outputs=wanted(blocking, received),
        request_id="7",
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )

    check(result)
    assert result._result["model_version"] == "1"


def test_tritonclient_without_outputs_gets_all_in_bytes(client):
    result = client.infer("xor", [tensor(blocking, True)], model_version="1")

    assert result.as_numpy("label").tolist() == [b"1", b"0"]
    assert result.get_output("probabilities")["parameters"] == {"binary_data_size": 16}


def test_tritonclient_asks_many_at_once(service):
    with blocking.InferenceServerClient(f"127.0.0.1:{service.port}", concurrency=4) as client:
        asked = [client.async_infer("xor", [tensor(blocking, True)]) for _ in range(16)]
        answers = [one.get_result().as_numpy("label").tolist() for one in asked]

    assert answers == [[b"1", b"0"]] * 16


def test_tritonclient_looks_around(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("xor")
    assert client.is_model_ready("xor", "1")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "nnserve"
    assert client.get_model_metadata("xor")["inputs"][0]["shape"] == [-1, 2]
    assert client.get_model_config("xor")["input"][0] == {
        "name": "input",
        "data_type": "TYPE_FP32",
        "dims": [2],
    }
    assert {"xor", "digits"} <= {item["name"] for item in client.get_model_repository_index()}
    assert client.get_inference_statistics("xor", "1")["model_stats"][0]["version"] == "1"
    assert "model_stats" in client.get_inference_statistics()
    client.load_model("xor")


def test_tritonclient_shows_our_errors_as_they_are(client):
    with pytest.raises(InferenceServerException, match=r"input\[0\]: has 3 numbers; this model takes 2"):
        client.infer("xor", [tensor(blocking, True, np.zeros((2, 3), np.float32))])
    with pytest.raises(InferenceServerException, match="There is no model 'none'"):
        client.get_model_metadata("none")
    with pytest.raises(InferenceServerException, match="labels decide what is served"):
        client.unload_model("xor")


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tritonclient_asks_from_a_coroutine(service, as_bytes, packed):
    async def ask():
        client = asynchronous.InferenceServerClient(f"127.0.0.1:{service.port}")
        try:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("xor"))["name"] == "xor"
            return await client.infer(
                "xor",
                [tensor(asynchronous, as_bytes)],
                outputs=wanted(asynchronous, as_bytes),
                request_id="7",
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )
        finally:
            await client.close()

    check(asyncio.run(ask()))


def test_an_answer_is_packed_only_for_who_asks_for_that_alone(service):
    body = b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [0, 1]}]}'
    packed = [
        service.ask("POST", "/v2/models/xor/infer", body, {"Accept-Encoding": accepted}).headers.get(
            "content-encoding"
        )
        for accepted in ("gzip", "deflate", "gzip, deflate", "br", "identity")
    ]

    assert packed == ["gzip", "deflate", None, None, None]
    for path in ("/v2", "/v2/models/xor", "/v2/models/xor/config"):
        assert "content-encoding" not in service.ask("GET", path, headers={"Accept-Encoding": "gzip"}).headers


def test_what_kserves_client_sends_is_answered(service):
    # As kserve 0.21's InferenceRESTClient sent it; test_installed_clients.py runs it where it is installed.
    head = (
        b'{"id":"abc","model_name":"xor","inputs":[{"name":"input","shape":[2,2],"datatype":"FP32",'
        b'"parameters":{"binary_data_size":16}}],"outputs":[{"name":"label","parameters":{"binary_data":true}},'
        b'{"name":"probabilities","parameters":{"binary_data":false}}]}'
    )
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": "python-httpx/0.28.1",
        "inference-header-content-length": str(len(head)),
        "content-type": "application/octet-stream",
    }

    answer = service.ask("POST", "/v2/models/xor/infer", head + X.tobytes(), headers)

    assert answer.status == 200
    length = int(answer.headers["inference-header-content-length"])
    assert answer.body[length:] == b"\x01\0\0\x001\x01\0\0\x000"
    assert b'"id":"abc"' in answer.body[:length]
    assert service.ask("GET", "/v2/health/live").json["live"] is True
