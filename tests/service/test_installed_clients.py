"""KServe's and MLServer's clients: their pins do not go together with ours, so each stands apart."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from serving import NEWEST, ROOT, SHIPPED

from nncore.predictor import load
from nncore.publishing import MODEL_FILE

HERE = Path(__file__).parent / "clients"
INSTALLED = ROOT / "var" / "clients"
# When one runs first, it compiles what it imports.
DEADLINE = 60.0
XOR = np.array([[0, 1], [1, 1]], np.float32)


def needs(client):
    there = (INSTALLED / client / "installed").exists()
    return pytest.mark.skipif(not there, reason=f"{client} is not in var/clients; make clients installs it")


def run(client, *command, **options):
    """Run a program of a client's environment, and return what it printed."""
    program, *arguments = command
    done = subprocess.run(
        [INSTALLED / client / ".venv" / "bin" / program, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ours(model, x):
    """Return label and probabilities of each example, as the predictor of the same file has them."""
    predictor = load(SHIPPED / model / str(NEWEST[model]) / MODEL_FILE)
    probabilities = predictor.predict(x)
    return [predictor.card.output.labels[best] for best in probabilities.argmax(axis=1)], probabilities


@needs("kserve")
def test_kserves_client_has_the_predictors_answers_in_json_and_in_bytes(service, digits):
    pictures = np.array([digit.pixels for digit in digits], np.float32)
    asked = [("digits", pictures), ("xor", XOR), ("xor", np.zeros((1, 3))), ("none", XOR)]

    sent = json.dumps([(model, x.tolist()) for model, x in asked])
    seen = json.loads(run("kserve", "python", HERE / "with_kserve.py", service.url, input=sent))

    assert seen["live"] is True
    assert seen["ready"] is True
    assert seen["models_ready"] == [True, True, True, False]
    for kind, answers in zip(("json", "octet-stream"), seen["answers"], strict=True):
        for (model, x), answer in zip(asked[:2], answers[:2], strict=True):
            labels, probabilities = ours(model, x)
            assert list(answer) == ["id", "type", "label", "probabilities"]
            assert (answer["id"], answer["type"]) == ("7", f"application/{kind}")
            assert answer["label"] == labels
            np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-6)
        # It finds the text of an error in `error`, and puts the status behind it.
        assert answers[2].startswith("input[0]: has 3 numbers; this model takes 2"), answers[2]
        assert "'400 BAD REQUEST' for url" in answers[2]
        assert answers[3].startswith("There is no model 'none'"), answers[3]
        assert "'404 NOT FOUND' for url" in answers[3]


def a_line(number, x):
    """Return a request of one picture, as a line of a file of `mlserver infer`."""
    tensor = {"name": "input", "shape": [1, 28, 28], "datatype": "INT32", "data": x.ravel().tolist()}
    return json.dumps({"id": f"picture-{number}", "inputs": [tensor]}) + "\n"


# How it sends its inputs; it always has the outputs come as bytes.
@needs("mlserver")
@pytest.mark.parametrize("options", [[], ["--binary-data"]], ids=["json", "bytes"])
def test_mlserver_infer_fills_a_file_with_the_predictors_answers(service, digits, tmp_path, options):
    pictures = np.array([digit.pixels for digit in digits], np.int32)
    # Two batches: all that are right, and one alone whose pixels are out of range.
    lines = [a_line(number, x) for number, x in enumerate([*pictures, pictures[0] + 256])]
    (tmp_path / "in.jsonl").write_text("".join(lines))

    address = ["--url", f"127.0.0.1:{service.port}", "--model-name", "digits"]
    files = ["--input-data-path", "in.jsonl", "--output-data-path", "out.jsonl"]
    batches = ["--batch-size", str(len(pictures)), "--workers", "2", "--retries", "1"]
    run("mlserver", "mlserver", "infer", *address, *files, *batches, *options, cwd=tmp_path)

    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    answers.sort(key=lambda answer: answer["parameters"]["batch_index"])
    labels, probabilities = ours("digits", pictures)
    assert len(answers) == len(lines)
    for number, answer in enumerate(answers[:-1]):
        outputs = {output["name"]: output for output in answer["outputs"]}
        assert answer["id"] == f"picture-{number}"
        assert answer["model_version"] == str(NEWEST["digits"])
        assert outputs["label"]["data"] == [labels[number]]
        assert outputs["probabilities"]["shape"] == [1, 10]
        np.testing.assert_allclose(outputs["probabilities"]["data"], probabilities[number], atol=1e-6)
    assert answers[-1]["error"]["msg"].startswith("input[0, 0, 0]: must be from 0 to 255, not 256")


@pytest.mark.parametrize("client", ["kserve", "mlserver", "tritonclient"])
def test_the_documentation_names_the_versions_that_are_tested(client):
    apart = HERE / f"{client}.txt"
    pins = (apart if apart.exists() else ROOT / "constraints.txt").read_text()
    version = re.search(rf"^{client}==(\S+)$", pins, re.MULTILINE)[1]

    assert f"{client} {version}" in (ROOT / "docs" / "protocol.md").read_text()
