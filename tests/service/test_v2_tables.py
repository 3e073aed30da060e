"""A table with categories over the Open Inference Protocol: a tensor a column, texts as BYTES."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from test_v2 import binary

from nncore.artifact import describe, to_bytes
from nncore.publishing import MODEL_FILE
from nncore.recipe import read_recipe, run

PATH = "/v2/models/flowers/infer"


def table(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "flowers.csv").write_text(
        "length,colour,kind\n" + "".join(f"{n % 7},{'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(60))
    )
    return {
        "dataset": {"type": "csv", "path": "flowers.csv", "target": "kind"},
        "network": [{"type": "dense", "units": 4}, {"type": "tanh"}, {"type": "dense", "units": 2}],
        "loss": "softmax_cross_entropy",
        "optimizer": {"type": "adam"},
        "epochs": 2,
    }


@pytest.fixture
def tables(make_app, tmp_path, monkeypatch):
    """An application with a model of a table that has a column of categories."""
    monkeypatch.chdir(tmp_path)
    trained = run(read_recipe(json.dumps(table(tmp_path)).encode()))
    folder = tmp_path / "store" / "flowers" / "1"
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(to_bytes(describe(trained)))
    return make_app().test_client()


def column(name, datatype, data, shape=None):
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def test_a_table_is_sent_as_a_tensor_a_column_in_any_order(tables):
    rows = [{"length": n, "colour": ("red", "blue")[n % 2]} for n in range(300)]
    said = tables.post("/predict", json={"model": "flowers", "inputs": rows}).json["predictions"]
    columns = [
        column("colour", "BYTES", [row["colour"] for row in rows], [300, 1]),
        column("length", "INT16", [row["length"] for row in rows]),
    ]

    answer = tables.post(PATH, json={"inputs": columns})

    probabilities = answer.json["outputs"][0]
    assert probabilities["shape"] == [300, 2]
    expected = [number for prediction in said for number in prediction["probabilities"]]
    assert np.allclose(probabilities["data"], expected, atol=1e-6)
    inputs = tables.get("/v2/models/flowers").json["inputs"]
    assert {(tensor["name"], tensor["datatype"]) for tensor in inputs} == {
        ("length", "FP32"),
        ("colour", "BYTES"),
    }


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            [column("length", "FP32", [1])],
            "a tensor for each of its columns, length, colour; sent were length",
        ),
        (
            [column("length", "FP32", [1] * 257), column("colour", "BYTES", ["red"] * 256 + ["green"])],
            "colour[256]: must be one of the categories",
        ),
        (
            [column("length", "BYTES", ["1"]), column("colour", "BYTES", ["red"])],
            "length[0]: must be a number",
        ),
        (
            [column("length", "FP32", [1]), column("colour", "BYTES", [1])],
            "value 0 of data must be a text, not 1",
        ),
        (
            [column("length", "FP32", [1, 2]), column("colour", "BYTES", ["red"])],
            "has the shape [2] or [2, 1]",
        ),
        ([column("length", "FP32", []), column("colour", "BYTES", [])], "length: must have at least one"),
    ],
)
def test_columns_that_are_wrong_are_told_with_their_place(tables, columns, says):
    answer = tables.post(PATH, json={"inputs": columns})

    assert answer.status_code == 400
    assert says in answer.json["error"]


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT64", "FP16", "FP64"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_column_of_numbers_is_taken_in_every_datatype(tables, datatype, as_bytes):
    values = np.array([0, 1]).astype(datatype.lower().replace("fp", "float"))
    colours = column("colour", "BYTES", ["red", "blue"])
    sent = in_bytes("length", datatype, [2], values.tobytes())[0]
    sent = sent if as_bytes else column("length", datatype, values.tolist())
    body, headers = binary({"inputs": [sent, colours]}, values.tobytes() if as_bytes else b"")

    answer = tables.post(PATH, data=body, headers=headers)

    as_floats = {"inputs": [column("length", "FP32", [0, 1]), colours]}
    assert answer.json == tables.post(PATH, json=as_floats).json
    assert answer.status_code == 200


def in_bytes(name, datatype, shape, data):
    size = {"parameters": {"binary_data_size": len(data)}}
    return {"name": name, "datatype": datatype, "shape": shape} | size, data


def test_texts_are_read_from_bytes(tables):
    texts, lengths = b"\3\0\0\0red\4\0\0\0blue", struct.pack("<2f", 1, 2)
    columns = [in_bytes("colour", "BYTES", [2, 1], texts), in_bytes("length", "FP32", [2], lengths)]
    body, headers = binary({"inputs": [sent for sent, _ in columns]}, *(data for _, data in columns))
    as_json = [column("colour", "BYTES", ["red", "blue"]), column("length", "FP32", [1, 2])]

    answer = tables.post(PATH, data=body, headers=headers)

    assert answer.json == tables.post(PATH, json={"inputs": as_json}).json


@pytest.mark.parametrize(
    ("shape", "data", "says"),
    [
        ([4], struct.pack("<I", 1 << 31) + b"a" + bytes(15), "text 0 goes past the end"),
        ([4], b"\1\0\0\0a" * 3 + b"\0", "text 3 goes past"),
        ([4], b"", "0 bytes are too few"),
        ([4], b"\1\0\0\0\xff" * 4, "text 0 is not UTF-8"),
        ([4], b"\1\0\0\0a" * 4 + b"\0", "1 bytes are left"),
        ([10_001], b"", "at most 10,000 examples, not 10,001"),
        ([1 << 40], b"", "at most 10,000 examples"),
        ([1 << 62, 1 << 62], b"", "a column has the shape [4611686018427387904] or"),
    ],
)
def test_texts_in_bytes_that_are_wrong_are_told_what_is_wrong(tables, shape, data, says):
    sent, data = in_bytes("colour", "BYTES", shape, data)
    numbers = column("length", "FP32", [0] * 4, shape[:1])
    body, headers = binary({"inputs": [sent, numbers]}, data)

    answer = tables.post(PATH, data=body, headers=headers)

    assert answer.status_code == 400
    assert says in answer.json["error"]


def test_no_text_is_read_where_an_output_is_not_there(tables):
    sent, data = in_bytes("colour", "BYTES", [4], b"no text")
    columns = [sent, column("length", "FP32", [0] * 4)]
    body, headers = binary({"inputs": columns, "outputs": [{"name": "none"}]}, data)

    assert "no output 'none'" in tables.post(PATH, data=body, headers=headers).json["error"]


def test_no_text_is_read_where_the_columns_are_not_those_of_the_model(tables):
    sent, data = in_bytes("hue", "BYTES", [4], b"no text")
    body, headers = binary({"inputs": [sent]}, data)

    assert "sent were hue" in tables.post(PATH, data=body, headers=headers).json["error"]
