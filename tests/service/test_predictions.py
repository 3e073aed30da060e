"""POST /predict in its three forms."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving import JSON, NEWEST, SHIPPED, Service
from sketches import Digit, picture_file

from nncore.publishing import MODEL_FILE


def sha256_of(model: str) -> str:
    return hashlib.sha256((SHIPPED / model / str(NEWEST[model]) / MODEL_FILE).read_bytes()).hexdigest()


def test_xor_answers_its_truth_table(service: Service) -> None:
    answer = service.predict(model="xor", inputs=[[0, 0], [0, 1], [1, 0], [1, 1]])

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"model", "version", "sha256", "predictions", "labels"}
    assert (answer.json["model"], answer.json["version"]) == ("xor", 1)
    assert answer.json["sha256"] == sha256_of("xor")
    assert answer.json["labels"] == ["0", "1"]
    assert [one["label"] for one in answer.json["predictions"]] == ["0", "1", "1", "0"]
    for one in answer.json["predictions"]:
        assert one["confidence"] > 0.99
        assert one["confidence"] == max(one["probabilities"]) == one["probabilities"][int(one["label"])]
        assert sum(one["probabilities"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_an_encoding_that_changes_nothing_is_taken(service: Service, encoding: str) -> None:
    body = b'{"model": "xor", "inputs": [[0, 1]]}'
    assert service.ask("POST", "/predict", body, JSON | {"Content-Encoding": encoding}).status == 200


def test_a_regression_answers_values_and_no_labels(service: Service) -> None:
    answer = service.predict(model="line", inputs=[[1.5], [2.5], [3.5]])

    assert answer.json.keys() == {"model", "version", "sha256", "predictions"}
    assert [one.keys() for one in answer.json["predictions"]] == [{"value"}] * 3
    first, second, third = (one["value"] for one in answer.json["predictions"])
    assert second - first == pytest.approx(third - second, abs=1e-4)


def test_a_digit_as_784_numbers_and_as_28_rows_gets_the_same_answer(
    service: Service, digits: list[Digit]
) -> None:
    flat = service.predict(model="digits", inputs=[digit.pixels.ravel().tolist() for digit in digits])
    square = service.predict(model="digits", inputs=[digit.pixels.tolist() for digit in digits])

    assert flat.json["sha256"] == sha256_of("digits")
    assert flat.json["predictions"] == square.json["predictions"]
    for digit, one in zip(digits, flat.json["predictions"], strict=True):
        assert one["label"] == digit.label
        assert one["probabilities"] == pytest.approx(digit.probabilities, abs=1e-4)


def test_a_picture_in_base64_gets_the_answer_of_its_pixels(service: Service, digits: list[Digit]) -> None:
    texts = [base64.b64encode(digit.png).decode() for digit in digits]
    answer = service.predict(model="digits", images=texts)

    assert answer.status == 200
    for digit, one in zip(digits, answer.json["predictions"], strict=True):
        assert one["label"] == digit.label
        assert one["probabilities"] == pytest.approx(digit.probabilities, abs=1e-3)


def test_one_uploaded_file_gets_one_answer(service: Service, digits: list[Digit]) -> None:
    answer = service.upload([("a.png", digits[0].png)], model="digits")

    assert answer.status == 200
    assert answer.json.keys() == {"model", "version", "sha256", "predictions", "labels"}
    assert [one["label"] for one in answer.json["predictions"]] == [digits[0].label]


def test_several_uploaded_files_are_answered_in_their_order(service: Service, digits: list[Digit]) -> None:
    files = [(f"{number}.png", digit.png) for number, digit in enumerate(digits)]
    there = service.upload(files, model="digits", version=str(NEWEST["digits"]))
    back = service.upload(files[::-1], model="digits", version="stable")

    assert [one["label"] for one in there.json["predictions"]] == [digit.label for digit in digits]
    assert there.json["predictions"] == back.json["predictions"][::-1]


def test_a_drawing_on_white_paper_is_read_like_the_digit_it_shows(
    service: Service, digits: list[Digit]
) -> None:
    drawing = 255 - digits[0].pixels.repeat(10, axis=0).repeat(10, axis=1)
    answer = service.upload([("photo.jpeg", picture_file(drawing, "JPEG"))], model="digits")

    assert answer.json["predictions"][0]["label"] == digits[0].label


@pytest.mark.parametrize("version", [1, 1.0, "1", "stable"])
def test_a_version_is_asked_for_by_its_number_or_a_label(service: Service, version: float | str) -> None:
    answer = service.predict(model="xor", version=version, inputs=[[0, 1]])

    assert (answer.status, answer.json["version"]) == (200, 1)


def test_of_two_equal_keys_the_last_one_wins(service: Service) -> None:
    body = b'{"model": "nobody", "inputs": [[7]], "model": "xor", "inputs": [[0, 1]]}'
    answer = service.ask("POST", "/predict", body, JSON)

    assert (answer.status, answer.json["model"]) == (200, "xor")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_media_type_may_have_parameters_and_capitals(service: Service, media_type: str) -> None:
    body = b'{"model": "xor", "inputs": [[0, 1]]}'

    assert service.ask("POST", "/predict", body, {"Content-Type": media_type}).status == 200


def test_a_chunked_body_is_taken_whole(service: Service) -> None:
    rows = b",".join([b"[0, 1]"] * 5_000)
    body = b'{"model": "xor", "inputs": [' + rows + b"]}"
    chunks = [body[start : start + 1_000] for start in range(0, len(body), 1_000)]
    answer = service.ask("POST", "/predict", chunks, JSON)

    assert len(answer.json["predictions"]) == 5_000


def test_the_answer_to_a_row_does_not_depend_on_who_else_asks(service: Service) -> None:
    rows = [[a / 7, b / 5] for a in range(8) for b in range(6)]
    alone = [service.predict(model="xor", inputs=[row]).json["predictions"][0] for row in rows]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda row: service.predict(model="xor", inputs=[row, *rows]), rows * 4))

    for answer, one in zip(together, alone * 4, strict=True):
        assert answer.json["predictions"][0]["probabilities"] == pytest.approx(one["probabilities"], abs=1e-5)


def test_a_large_photograph_is_taken_whole(service: Service, digits: list[Digit]) -> None:
    paper = np.random.default_rng(0).integers(200, 256, (2000, 1500), np.uint8)
    paper[300:1700, 50:1450] = np.minimum(
        paper[300:1700, 50:1450], 255 - digits[0].pixels.repeat(50, 0).repeat(50, 1)
    )
    photograph = picture_file(paper)
    assert len(photograph) > 1_000_000
    answer = service.upload([("photo.png", photograph), ("small.png", digits[1].png)], model="digits")

    assert [one["label"] for one in answer.json["predictions"]] == [digits[0].label, digits[1].label]
