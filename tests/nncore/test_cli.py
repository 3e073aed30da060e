import errno
import fcntl
import hashlib
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from nncore import cli
from nncore.checkpoints import Checkpoints
from nncore.cli import main
from nncore.predictor import load
from nncore.publishing import MODEL_FILE, read_facts, versions
from nncore.recipe import StartFrom, override, read_recipe, run
from nncore.training import Callback

RECIPES = Path(__file__).parents[2] / "recipes"
XOR, EXAM = (str(RECIPES / f"{name}.json") for name in ("xor", "exam"))
# As a shell has it: what is printed waits in a buffer, and warnings are errors here.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
COMMAND = [sys.executable, "-W", "error", "-m", "nncore"]


def nncore(*arguments, folder, **more):
    """Run `python -m nncore` as a person would."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which xor was trained twice and exam once."""
    folder = tmp_path_factory.mktemp("home")
    for recipe in ("xor", "xor", "exam"):
        done = nncore("train", RECIPES / f"{recipe}.json", "--out", "models", folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


# Training.


def test_the_same_command_gives_a_new_version_of_the_same_sha256(home):
    model = home / "models" / "xor"
    assert versions(model) == [1, 2]
    first, second = (read_facts(model / str(number)) for number in (1, 2))
    assert first["sha256"] == second["sha256"]
    assert first["sha256"] == hashlib.sha256((model / "1" / MODEL_FILE).read_bytes()).hexdigest()
    assert first["seconds"] >= 0


def test_training_says_how_it_goes_how_good_it_is_and_where_it_lies(tmp_path):
    done = nncore(
        "train", RECIPES / "xor.json", "--out", "here", "--name", "my-xor", "--epochs", 3, folder=tmp_path
    )
    assert done.returncode == 0
    assert re.fullmatch(
        r"validation: loss \d\.\d+, accuracy \d+\.\d\d%\n"
        r"test: loss \d\.\d+, accuracy \d+\.\d\d%\n"
        r"Wrote here/my-xor/1/model\.safetensors \([\d,]+ bytes\)\.\n",
        done.stdout,
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"epoch 1/3, loss \d\.\d{4}, validation loss \d\.\d{4}, accuracy \d+\.00%", lines[0])
    assert sorted(path.name for path in (tmp_path / "here" / "my-xor").iterdir()) == [".last-version", "1"]


def test_options_override_the_recipe_and_are_in_the_card(tmp_path):
    changes = [
        "--set",
        "optimizer.learning_rate=0.5",
        "--set",
        "network[0].units=3",
        "--set",
        "network.1.type=relu",
    ]
    done = nncore(
        "train", RECIPES / "xor.json", "--seed", 7, "--epochs", 2, "--no-test", *changes, folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "test:" not in done.stdout
    card = load(tmp_path / "var" / "models" / "xor" / "1" / MODEL_FILE).card
    assert (card.recipe["seed"], card.recipe["epochs"]) == (7, 2)
    assert card.recipe["optimizer"]["learning_rate"] == 0.5
    assert card.recipe["network"][0]["units"] == 3
    assert card.recipe["network"][1] == {"type": "relu"}
    assert card.metrics.keys() == {"validation"}


def test_early_stopping_says_which_epoch_was_kept(at_home, capsys, tmp_path):
    stopping = '{"patience": 2, "monitor": "accuracy"}'
    assert (
        main(
            [
                "train",
                str(RECIPES / "exam.json"),
                "--out",
                str(tmp_path),
                "--set",
                f"early_stopping={stopping}",
            ]
        )
        == 0
    )
    found = re.match(
        r"No more progress after (\d+) epochs: kept the weights of epoch (\d+), the best so far\.\n",
        capsys.readouterr().out,
    )
    assert int(found[1]) == int(found[2]) + 2
    assert load(tmp_path / "exam" / "1" / MODEL_FILE).card.provenance["epochs"] == {
        "run": int(found[1]),
        "kept": int(found[2]),
        "ended": "early",
    }


def test_ctrl_c_keeps_the_best_weights_so_far_says_so_and_writes_the_version(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "train", str(RECIPES / "exam.json"), "--epochs", "1000000"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in process.stderr:
        if line.startswith("epoch 5/"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    said = re.match(
        r"Interrupted after (\d+) epochs: kept the weights of epoch (\d+), the best so far\.\n", out
    )
    run, kept = int(said[1]), int(said[2])
    assert 5 <= run < 1_000_000
    assert kept <= run
    assert "Traceback" not in err
    card = load(tmp_path / "var" / "models" / "exam" / "1" / MODEL_FILE).card
    assert card.provenance["epochs"] == {"run": run, "kept": kept, "ended": "interrupted"}


def test_ctrl_c_before_the_first_epoch_is_over_writes_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", interrupted)
    assert main(["train", str(RECIPES / "xor.json"), "--out", str(tmp_path / "models")]) == 130
    assert capsys.readouterr().err == "nncore: interrupted; nothing was written\n"
    assert list((tmp_path / "models").iterdir()) == []


def test_a_person_who_watches_gets_a_bar_with_loss_accuracy_and_the_time_left(tmp_path):
    last = on_a_terminal(["train", str(RECIPES / "xor.json")], tmp_path).strip().split("\r")[-1]
    assert re.fullmatch(
        r"100% █+ \d\d:\d\d < \d\d:\d\d, epoch 600/600, loss 0\.\d{4}, accuracy 100\.00%", last
    )
    assert len(last) <= 80


def on_a_terminal(arguments, folder):
    """Run a command that is watched, and return what is seen on a terminal of 80 columns."""
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        seen = b""
        while chunk := read(reader):
            seen += chunk
        assert process.wait(timeout=60) == 0
    os.close(reader)
    return seen.decode()


def read(descriptor):
    try:
        return os.read(descriptor, 4096)
    except OSError:  # what Linux says when the other end of a terminal is gone
        return b""


def test_one_blas_thread_is_used_whatever_the_environment_says():
    script = (
        "import nncore.cli as cli, threadpoolctl\n"
        "def run(*_, **__):\n"
        "    print([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])\n"
        "    raise KeyboardInterrupt\n"
        "cli.run = run\n"
        f"cli.main(['train', {str(RECIPES / 'xor.json')!r}])\n"
    )
    environment = ENVIRONMENT | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) == {1}


# Killed and gone on with.


class Killed(BaseException):
    """Ends a run as a kill would."""


class KillAt(Callback):
    """Has a batch and the one before it end with a checkpoint, and then ends the run."""

    def __init__(self, checkpoints, epoch, batch):
        self.checkpoints, self.last = checkpoints, (epoch, batch)
        self.epoch = 1

    def on_batch(self, batch, batches, loss):
        if (self.epoch, batch) in (self.last, (self.last[0], self.last[1] - 1)):
            self.checkpoints.ask()

    def on_epoch(self, epoch):
        self.epoch = epoch.number + 1

    def on_checkpoint(self, epoch, batch, batches):
        if (epoch, batch) == self.last:
            raise Killed


def leave(model, name, epoch, batch=7, **changes):
    """Leave behind what a training leaves that was killed after a batch."""
    checkpoints = Checkpoints(model / ".checkpoints", every=3600)
    recipe = override(read_recipe((RECIPES / f"{name}.json").read_bytes()), changes)
    with pytest.raises(Killed):
        run(recipe, [KillAt(checkpoints, epoch, batch)], checkpoints=checkpoints)
    return sorted(checkpoints.folder.iterdir())


def sha256_of(model, number=1):
    return hashlib.sha256((model / str(number) / MODEL_FILE).read_bytes()).hexdigest()


@pytest.fixture
def unbroken(tmp_path):
    """The SHA-256 of exam, trained in one go."""
    assert main(["train", EXAM, "--out", str(tmp_path / "unbroken")]) == 0
    return sha256_of(tmp_path / "unbroken" / "exam")


# `python -m nncore` with a checkpoint every tenth of a second and not every other one.
HURRIED = (
    "import sys; from nncore import cli, checkpoints;"
    "checkpoints.Checkpoints.__init__.__kwdefaults__['every'] = 0.1;"
    "sys.exit(cli.main())"
)


def start(*arguments, folder):
    """Start the command in a hurry and return the process."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HURRIED, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_training_killed_at_random_moments_ends_with_the_sha256_of_an_unbroken_one(tmp_path):
    command = ["train", XOR, "--set", "epochs=9000", "--out", "models", "--name"]
    unbroken = start(*command, "unbroken", folder=tmp_path)
    killed = tmp_path / "models" / "killed"
    rng, newest = random.Random(3), ""
    for resume in ([], ["--resume"]):
        process = start(*command, "killed", *resume, folder=tmp_path)
        while newest_in(killed / ".checkpoints") <= newest:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate()
        newest = newest_in(killed / ".checkpoints")
    said, _ = start(*command, "killed", "--resume", folder=tmp_path).communicate(timeout=60)
    assert re.match(r"Resumed after epoch [1-9]\d* of 9000\.\n", said)
    unbroken.communicate(timeout=60)
    assert sha256_of(killed) == sha256_of(tmp_path / "models" / "unbroken")
    assert sorted(path.name for path in killed.iterdir()) == [".last-version", "1"]


def newest_in(folder):
    """Return the name of the newest checkpoint."""
    return max((path.name for path in folder.glob("checkpoint-*")), default="")


def test_resume_says_from_where_and_leaves_nothing_behind(tmp_path, capsys, unbroken):
    model = tmp_path / "exam"
    leave(model, "exam", epoch=4, batch=7)
    capsys.readouterr()
    assert main(["train", EXAM, "--out", str(tmp_path), "--resume"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Resumed after epoch 3 of 40.\nvalidation: ")
    assert said.err.startswith("epoch 4/40, ")
    assert sha256_of(model) == unbroken
    assert sorted(path.name for path in model.iterdir()) == [".last-version", "1"]


def test_a_training_killed_before_its_version_was_written_is_published_at_once(tmp_path, capsys, unbroken):
    model = tmp_path / "exam"
    checkpoints = Checkpoints(model / ".checkpoints")
    run(read_recipe(Path(EXAM).read_bytes()), checkpoints=checkpoints)
    capsys.readouterr()
    assert main(["train", EXAM, "--out", str(tmp_path), "--resume"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Resumed after epoch 40 of 40.\n")
    assert said.err == ""
    assert sha256_of(model) == unbroken


def test_without_resume_what_was_left_is_thrown_away_and_that_is_said(tmp_path, capsys, unbroken):
    leave(tmp_path / "exam", "exam", epoch=4)
    capsys.readouterr()
    assert main(["train", EXAM, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(
        "Threw away the checkpoints of a run that was killed; --resume would have gone on with it.\n"
    )
    assert said.err.startswith("epoch 1/40, ")
    assert sha256_of(tmp_path / "exam") == unbroken


def test_with_nothing_to_resume_training_begins_at_the_beginning_and_says_so(tmp_path, capsys, unbroken):
    capsys.readouterr()
    assert main(["train", EXAM, "--out", str(tmp_path), "--resume"]) == 0
    folder = tmp_path / "exam" / ".checkpoints"
    said = capsys.readouterr()
    assert said.out.startswith(f"Nothing to resume in {folder}: training begins at the beginning.\n")
    assert said.err.startswith("epoch 1/40, ")
    assert sha256_of(tmp_path / "exam") == unbroken


def test_a_damaged_checkpoint_is_said_and_the_one_before_used(tmp_path, capsys, caplog, unbroken):
    _, newest = leave(tmp_path / "exam", "exam", epoch=4)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert main(["train", EXAM, "--out", str(tmp_path), "--resume"]) == 0
    assert "Resumed after epoch 3 of 40.\n" in capsys.readouterr().out
    assert f"the checkpoint {newest} is not used: " in caplog.text
    assert sha256_of(tmp_path / "exam") == unbroken


def test_another_recipes_checkpoints_are_an_error_that_says_what_to_do_and_stay(tmp_path, capsys):
    left = leave(tmp_path / "exam", "exam", epoch=4)
    command = ["train", EXAM, "--out", str(tmp_path), "--seed", "2"]
    assert main([*command, "--resume"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"nncore: {left[-1]} is of another run: of another recipe, dataset or start; resume with the recipe "
        "and options of that run, or train without --resume to begin anew\n"
    )
    assert sorted((tmp_path / "exam" / ".checkpoints").iterdir()) == left
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("Threw away ")


def test_of_two_trainings_of_one_model_the_first_has_the_checkpoints(tmp_path, capsys):
    left = leave(tmp_path / "exam", "exam", epoch=4)
    # As another process would.
    descriptor = os.open(tmp_path / "exam", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    command = ["train", EXAM, "--out", str(tmp_path)]
    assert main([*command, "--resume"]) == 1
    assert f"nncore: --resume: another run is training {tmp_path / 'exam'}" in capsys.readouterr().err
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Another run is training {tmp_path / 'exam'}: this one keeps no checkpoints.\n")
    os.close(descriptor)
    assert sorted((tmp_path / "exam" / ".checkpoints").iterdir()) == left
    assert versions(tmp_path / "exam") == [1]


def test_where_a_file_system_has_no_locks_training_goes_on_without(tmp_path, capsys, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    leave(tmp_path / "exam", "exam", epoch=4)
    assert main(["train", EXAM, "--out", str(tmp_path), "--resume"]) == 0
    assert "Resumed after epoch 3 of 40.\n" in capsys.readouterr().out


def test_ctrl_c_in_the_first_epoch_says_that_there_is_a_checkpoint(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    left = leave(tmp_path / "exam", "exam", epoch=1, batch=9)
    monkeypatch.setattr(cli, "run", interrupted)
    assert main(["train", EXAM, "--out", str(tmp_path), "--resume"]) == 130
    assert capsys.readouterr().err == "nncore: interrupted; --resume goes on from the last checkpoint\n"
    assert sorted((tmp_path / "exam" / ".checkpoints").iterdir()) == left


def test_a_bar_starts_where_the_run_was_resumed(tmp_path):
    model = tmp_path / "var" / "models" / "exam"
    leave(model, "exam", epoch=31, batch=10)
    seen = on_a_terminal(["train", EXAM, "--resume"], tmp_path)
    shares = [int(share) for share in re.findall(r"\r *(\d+)% ", seen)]
    # The bar is there before the checkpoint is read.
    moved = [share for share in shares if share]
    assert 76 <= moved[0] <= 80
    assert sorted(moved) == moved
    assert re.search(r"100% █+ \d\d:\d\d < \d\d:\d\d, epoch 40/40, loss 0\.\d{4}, accuracy \d\d\.\d\d%", seen)


# Started from another model.


def test_training_starts_from_a_model_and_says_what_begins_anew(at_home, tmp_path, capsys):
    command = ["train", XOR, "--out", str(tmp_path), "--epochs", "1"]
    assert main([*command, "--start-from", "models/xor"]) == 0
    assert capsys.readouterr().out.startswith(f"Starting from models/xor/2/{MODEL_FILE}.\nvalidation: ")
    start = {"sha256": sha256_of(at_home / "models" / "xor", 2), "reinitialized": []}
    card = load(tmp_path / "xor" / "1" / MODEL_FILE).card
    assert card.provenance["start_from"] == start
    # It was good from the first epoch on.
    assert card.metrics["test"]["accuracy"] == 1
    changes = ["--set", "network.2.units=2", "--set", "loss=softmax_cross_entropy"]
    assert main([*command, *changes, "--start-from", "models/xor/1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"Starting from models/xor/1/{MODEL_FILE}.\n"
        "network[2] has another shape and begins anew: 2.weight, 2.bias.\n"
    )
    assert load(tmp_path / "xor" / "2" / MODEL_FILE).card.provenance["start_from"] == start | {
        "reinitialized": ["2.weight", "2.bias"]
    }


def test_a_training_with_a_start_is_resumed_with_it_and_not_without(at_home, tmp_path, capsys):
    start = StartFrom(load(Path("models/xor/1") / MODEL_FILE).network, sha256_of(Path("models/xor")))
    checkpoints = Checkpoints(tmp_path / "xor" / ".checkpoints")
    with pytest.raises(Killed):
        run(
            read_recipe(Path(XOR).read_bytes()),
            [KillAt(checkpoints, 3, 1)],
            checkpoints=checkpoints,
            start_from=start,
        )
    command = ["train", XOR, "--out", str(tmp_path), "--resume"]
    assert main(command) == 1
    assert "of another run" in capsys.readouterr().err
    assert main([*command, "--start-from", "models/xor"]) == 0
    assert "Resumed after epoch 2 of 600.\n" in capsys.readouterr().out


# The other commands.


def test_evaluate_measures_on_the_rows_that_were_named(home):
    done = nncore("evaluate", "models/xor", "--data", "xor:test", folder=home)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "4 rows: accuracy 100.0000% (0 wrong)",
        "true \\ predicted  0 1",
        "               0  2 0",
        "               1  0 2",
    ]


@pytest.mark.parametrize(("part", "rows"), [("train", 640), ("validation", 160), ("test", 200)])
def test_evaluate_agrees_with_the_card(at_home, capsys, part, rows):
    assert main(["evaluate", "models/exam", "--data", f"exam:{part}"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{rows} rows: accuracy ")
    figures = load(at_home / "models" / "exam" / "1" / MODEL_FILE).card.metrics.get(part)
    assert figures is None or f"accuracy {figures['accuracy']:.4%} " in said


def test_evaluate_measures_a_regression_by_its_squares(tmp_path, capsys):
    assert main(["train", str(RECIPES / "line.json"), "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "line"), "--data", "line:test"]) == 0
    said = re.fullmatch(r"80 rows: mean squared error (\S+), R² (\S+)\n", capsys.readouterr().out)
    figures = load(tmp_path / "line" / "1" / MODEL_FILE).card.metrics["test"]
    assert float(said[1]) == pytest.approx(figures["loss"], rel=1e-4)
    assert float(said[2]) == pytest.approx(figures["r2"], abs=1e-5)


def test_inspect_shows_a_card_to_read_or_as_json(at_home, capsys):
    assert main(["inspect", "models/xor"]) == 0
    assert "output      binary: 0, 1" in capsys.readouterr().out.splitlines()
    assert main(["inspect", "models/xor/1", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["format"] == 1
    assert card["output"] == {"kind": "binary", "labels": ["0", "1"]}


def test_predict_answers_one_line_for_each_input(at_home, capsys):
    assert main(["predict", "models/xor", "[[0, 1], [1, 1]]"]) == 0
    said = capsys.readouterr().out
    answers = [json.loads(line) for line in said.splitlines()]
    assert [answer["label"] for answer in answers] == ["1", "0"]
    assert min(answer["confidence"] for answer in answers) > 0.99
    for arguments in (["-"], []):
        piped = nncore(
            "predict", f"models/xor/1/{MODEL_FILE}", *arguments, folder=at_home, input="[[0, 1], [1, 1]]"
        )
        assert piped.stdout == said


def test_predict_takes_plain_numbers_for_a_single_column(at_home, capsys):
    assert main(["predict", "models/exam", "[0, 10]"]) == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["fail", "pass"]


def test_predict_answers_nothing_with_nothing(at_home, capsys):
    assert main(["predict", "models/xor", "[]"]) == 0
    assert capsys.readouterr().out == ""


def test_a_model_folder_means_its_newest_version(at_home, capsys, tmp_path):
    for seed in ("1", "2"):
        assert (
            main(
                ["train", str(RECIPES / "xor.json"), "--out", str(tmp_path), "--epochs", "1", "--seed", seed]
            )
            == 0
        )
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "xor"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["seed"] == 2


def test_a_reader_that_has_enough_is_no_error(home):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "inspect", "models/xor"],
        cwd=home,
        env=ENVIRONMENT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


# What goes wrong is one line.

WRONG = [
    (["train", "nope.json"], r"nope\.json: No such file or directory"),
    (["train", "."], r"--name: must be 1 to 64 lower-case letters, .*, not ''"),
    (["train", "models", "--name", "x"], "models: Is a directory"),
    (["train", "broken.json"], r"broken\.json: not JSON: .*"),
    (["train", "wrong.json"], r"wrong\.json: network: is missing; wrong\.json: loss: is missing; .*"),
    (["train", XOR, "--name", "../xor"], r"--name: must be 1 to 64 .*, not '\.\./xor'"),
    (["train", XOR, "--name", "XOR"], "--name: must be .*"),
    (["train", XOR, "--seed", "-1"], "seed: must be ≥ 0, not -1"),
    (["train", XOR, "--epochs", "0"], "epochs: must be ≥ 1, not 0"),
    (["train", XOR, "--set", "epochs"], "--set: must be FIELD=VALUE, not 'epochs'"),
    (["train", XOR, "--set", "epoch=3"], "epoch: there is no 'epoch' here, only .*"),
    (
        ["train", XOR, "--set", "network[0].units=none"],
        r"network\[0\]\.units: must be a whole number, not 'none'",
    ),
    (["train", XOR, "--set", "network=" + "[" * 10_000], "network: must be an array, not .*"),
    (
        ["train", XOR, "--set", "loss=softmax_cross_entropy"],
        r"network\[2\]: gives \(1,\) numbers an example; .*",
    ),
    (
        ["train", XOR, "--set", "optimizer.learning_rate=1e3", "--set", "optimizer.type=sgd"],
        "optimizer.beta1: is not known .*",
    ),
    (
        ["train", XOR, "--epochs", "1", "--out", "broken.json"],
        r"broken\.json.*: (Not a directory|File exists)",
    ),
    (["train", XOR, "--start-from", "models/none"], "models/none: No such file or directory"),
    (["train", XOR, "--start-from", "broken.json"], r"broken\.json: truncated: .*"),
    (
        ["train", XOR, "--start-from", "models/exam"],
        r"network\[0\]: has weight \(2, 8\), bias \(8,\); the start has weight \(1, 1\), bias \(1,\); .*",
    ),
    (
        ["evaluate", "models/xor", "--data", "xor"],
        "--data: must be digits, exam, line, xor with .*, not 'xor'",
    ),
    (["evaluate", "models/xor", "--data", "nope:test"], "--data: must be .*, not 'nope:test'"),
    (["evaluate", "models/xor", "--data", "exam:test"], "--data: the model tells 0, 1; exam has fail, pass"),
    (
        ["evaluate", "models/exam", "--data", "line:test"],
        "--data: the model tells fail, pass; line has values",
    ),
    (["inspect", "models/none"], "models/none: No such file or directory"),
    (["inspect", "models"], r"models/model\.safetensors: No such file or directory"),
    (["inspect", "broken.json"], r"broken\.json: truncated: .*"),
    (["predict", "models/xor", "[[0, 1]"], "INPUTS: must be a JSON array of inputs, all of one shape .*"),
    (["predict", "models/xor", "[[0, 1], [1]]"], "INPUTS: must be a JSON array .*"),
    (["predict", "models/xor", '[["a", "b"]]'], "INPUTS: must be a JSON array .*"),
    (["predict", "models/xor", "{}"], "INPUTS: must be .*"),
    (["predict", "models/xor", "3"], r"INPUTS: must have shape \(N, 2\), finite, not \(\)"),
    (["predict", "models/xor", "[0, 1, 1]"], r"INPUTS: must have shape \(N, 2\), finite, not \(3,\)"),
    (["predict", "models/xor", "[[NaN, 1]]"], r"INPUTS: must have shape \(N, 2\), finite, not \(1, 2\)"),
    (["predict", "models/xor", "[[1e300, 1]]"], r"INPUTS: must have shape \(N, 2\), finite, not \(1, 2\)"),
    (["predict", "models/xor", "[[" + "9" * 400 + ", 1]]"], "INPUTS: must be .*"),
    (["predict", "models/xor", "[" * 100_000], "INPUTS: must be .*"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_an_error_is_one_line_and_the_exit_code_is_one(at_home, capsys, arguments, message):
    (at_home / "broken.json").write_text("{")
    (at_home / "wrong.json").write_text('{"dataset": "xor"}')
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(f"nncore: {message}\n", said.err)


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (["train", "nope.json"], "", "nncore: nope.json: No such file or directory\n"),
        (["predict", "models/xor"], b"\xff", "nncore: INPUTS: must be a JSON array"),
        (
            ["evaluate", "models/xor", "--data", "line:test"],
            "",
            "nncore: --data: the model tells 0, 1; line has values\n",
        ),
    ],
)
def test_an_error_has_no_traceback_in_a_shell_either(home, arguments, given, message):
    given = given if isinstance(given, bytes) else given.encode()
    done = subprocess.run([*COMMAND, *arguments], cwd=home, env=ENVIRONMENT, input=given, capture_output=True)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.decode().startswith(message)
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["train"], ["train", "x.json", "--seed", "one"], ["evaluate", "m"]]
)
def test_a_wrong_command_line_says_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: nncore")


def test_help_lists_the_commands_with_a_line_each(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    for command in ("train", "evaluate", "inspect", "predict"):
        assert re.search(rf"^ +{command} +\w+", said, re.MULTILINE)
