import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from watching import DEADLINE, ENVIRONMENT, start

from nncore import member
from nncore.checkpoints import Checkpoints
from nncore.cli import main
from nncore.config import to_json
from nncore.optimizers import SGD
from nncore.predictor import load
from nncore.publishing import MODEL_FILE
from nncore.recipe import override, read_recipe, run
from nncore.sweep.folder import sweep_in
from nncore.sweep.grid import combine, read_axes
from nncore.tasks import Plan, Task, write_plan
from nncore.training import Callback

RECIPES = Path(__file__).parents[2] / "recipes"
XOR, EXAM, LINE = (str(RECIPES / f"{name}.json") for name in ("xor", "exam", "line"))
FIGURES = ("validation_loss", "validation_accuracy", "epochs_run", "epoch_kept", "parameters")


def sweep(*arguments):
    return main(["sweep", *map(str, arguments)])


def processes_beside(parent, number):
    """Return the processes of other members once this one has ended well."""
    line = parent.stderr.readline()
    assert line.startswith(f"member {number} of ")
    assert "accuracy" in line
    processes = {}
    for process in psutil.Process(parent.pid).children():
        # One that is about to begin is not yet what it will be.
        with suppress(psutil.Error):
            if "nncore.member" in (words := process.cmdline()):
                processes[json.loads(words[-1])["number"]] = process
    return {other: process for other, process in processes.items() if other != number}


def table(folder):
    """Return the rows of results.csv, all but the seconds, which no two sweeps have in common."""
    with (folder / "results.csv").open() as file:
        return [{key: row[key] for key in row if key != "seconds"} for row in csv.DictReader(file)]


def reached(name, **changes):
    """Return what results.csv has of a recipe that is trained alone."""
    recipe = override(read_recipe((RECIPES / f"{name}.json").read_bytes()), changes)
    trained = run(recipe, measure_test=False)
    figures, epochs = trained.metrics["validation"], len(trained.history.epochs)
    found = (*figures.values(), epochs, trained.history.kept_epoch, trained.network.flat.size)
    return dict(zip(FIGURES, map(str, found), strict=True))


# What comes of it.


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep with a member that is refused and one whose loss becomes infinite, and what was said of it."""
    folder = tmp_path_factory.mktemp("swept") / "out"
    command = [sys.executable, "-m", "nncore", "sweep", LINE, "--seed", "3", "--epochs", "4"]
    grid = ["--grid", "optimizer.learning_rate=0.01,1000", "--grid", "network[0].units=1,0"]
    early = ["--set", 'early_stopping={"patience": 1, "minimum_improvement": 1.5}']
    done = subprocess.run(
        [*command, *grid, *early, "--out", str(folder)], env=ENVIRONMENT, capture_output=True, text=True
    )
    return folder, done


def test_the_best_is_said_first_and_below_it_why_others_failed(swept):
    folder, done = swept
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "Refused: optimizer.learning_rate=0.01 network.0.units=0: network[0].units: must be ≥ 1, not 0",
        "Refused: optimizer.learning_rate=1000 network.0.units=0: network[0].units: must be ≥ 1, not 0",
    ]
    assert lines[2] == "1 of 4 members, best first by the validation data:"
    heads = "rank optimizer.learning_rate network.0.units loss r2 epochs kept parameters seconds"
    assert lines[3].split() == heads.split()
    rank, rate, units, loss, r2, epochs, kept, parameters, _ = lines[4].split()
    assert (rank, rate, units, epochs, kept, parameters) == ("1", "0.01", "1", "2", "1", "2")
    assert lines[5:7] == ["3 of 4 members failed:", "  optimizer.learning_rate=0.01 network.0.units=0: "
        "network[0].units: must be ≥ 1, not 0"]  # fmt: skip
    assert lines[7].startswith(
        "  optimizer.learning_rate=1000 network.0.units=1: the loss (inf) is not finite"
    )
    assert lines[9:] == [
        f"Wrote {folder}/results.csv, sweep.png and best.json.",
        f"The best: python -m nncore train {folder}/best.json",
    ]
    said = sorted(done.stderr.splitlines())
    assert said[0] == (f"member 1 of 4: optimizer.learning_rate=0.01 network.0.units=1: loss {loss}, r2 {r2}")
    assert said[1].startswith(
        "member 3 of 4: optimizer.learning_rate=1000 network.0.units=1: failed: the loss"
    )
    assert len(said) == 2


def test_the_table_has_every_member_with_what_it_would_have_reached_alone(swept):
    best, *failed = table(swept[0])
    early = {"patience": 1, "minimum_improvement": 1.5}
    changes = {"optimizer.learning_rate": 0.01, "seed": 3, "epochs": 4, "early_stopping": early}
    figures = reached("line", **changes)
    figures["validation_r2"] = figures.pop("validation_accuracy")
    assert best == {
        "rank": "1",
        "member": "1",
        "optimizer.learning_rate": "0.01",
        "network.0.units": "1",
        **figures,
        "failed": "",
    }
    assert [(row["member"], row["rank"], row["validation_loss"]) for row in failed] == [
        ("2", "", ""),
        ("3", "", ""),
        ("4", "", ""),
    ]
    assert "is not finite" in failed[1]["failed"]


def test_nothing_is_left_behind_but_figures_the_table_the_picture_the_best_and_the_plan(swept):
    folder, _ = swept
    assert sorted(path.name for path in folder.iterdir()) == [
        *("best.json", "members", "plan.json", "results.csv", "sweep.png"),
    ]
    assert sorted(path.name for path in (folder / "members").iterdir()) == ["1.json", "3.json"]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_recipe_is_ready_to_train_and_reaches_what_it_reached(swept, tmp_path, capsys):
    folder, done = swept
    assert main(["train", str(folder / "best.json"), "--no-test", "--out", str(tmp_path)]) == 0
    loss, r2 = done.stdout.splitlines()[4].split()[3:5]
    assert f"validation: loss {loss}, r2 {r2}\n" in capsys.readouterr().out
    card = load(tmp_path / "best" / "1" / MODEL_FILE).card
    assert card.recipe["seed"] == 3


def test_resumed_when_all_is_done_it_trains_nothing_and_says_the_same(swept, capsys):
    folder, done = swept
    before = (folder / "results.csv").read_bytes()
    early = 'early_stopping={"patience": 1, "minimum_improvement": 1.5}'
    command = [LINE, "--seed", 3, "--epochs", 4, "--set", early, "--out", folder, "--resume"]
    assert (
        sweep(*command, "--grid", "optimizer.learning_rate=0.01,1000", "--grid", "network.0.units=1,0") == 0
    )
    said = capsys.readouterr()
    lines = done.stdout.splitlines()
    lines.insert(2, "Trained already: 2 of 2 members.")
    assert said.out.splitlines() == lines
    assert said.err == ""
    assert (folder / "results.csv").read_bytes() == before


def test_the_test_set_is_never_looked_at_and_the_seed_is_the_recipes(tmp_path, monkeypatch):
    def see(recipe, callbacks, *, measure_test, **options):
        seen.append((recipe.seed, recipe.network[0].units, measure_test))
        return run(recipe, measure_test=measure_test, **options)

    seen = []
    assert sweep(XOR, "--grid", "network.0.units=2,4", "--epochs", 1, "--out", tmp_path / "out") == 0
    monkeypatch.setattr(member, "run", see)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for number in (1, 2):
        task = {"plan": str(tmp_path / "out" / "plan.json"), "folder": str(tmp_path), "parent": os.getpid()}
        assert member.main([json.dumps({**task, "start_from": None, "number": number})]) == 0
    assert seen == [(1, 2, False), (1, 4, False)]


def test_a_member_whose_dataset_has_changed_meanwhile_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    plan = Plan(read_recipe(Path(XOR).read_bytes()), "0" * 64, None, ({"epochs": 1},), keeps="figures")
    write_plan(tmp_path / "plan.json", plan, "others")
    task = Task(f"{tmp_path}/plan.json", str(tmp_path), os.getppid(), None, 1)
    assert member.main([json.dumps(to_json(task))]) == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == {"error": "the dataset 'xor' is no longer the one that this began with"}
    assert not (tmp_path / "1.json").exists()


def test_a_field_is_set_in_the_object_that_the_grid_has_for_it_whichever_was_named_first():
    changes = {"optimizer.learning_rate": 0.125, "optimizer": {"type": "sgd"}}
    plan = Plan(read_recipe(Path(XOR).read_bytes()), "", None, (changes,), keeps="figures")
    assert plan.recipe_of(1).optimizer == SGD(0.125)


def test_a_number_of_combinations_is_drawn_by_the_seed(tmp_path, capsys):
    command = [EXAM, "--grid", "optimizer.learning_rate=0.01..1", "--random", 2, "--epochs", 1]
    assert sweep(*command, "--out", tmp_path / "out") == 0
    (first, second) = table(tmp_path / "out")
    rates = {float(row["optimizer.learning_rate"]) for row in (first, second)}
    # The recipe's seed is 1.
    drawn = combine(read_axes([command[2]]), 2, 1)
    assert rates == {changes["optimizer.learning_rate"] for changes in drawn}
    capsys.readouterr()
    assert sweep(*command, "--out", tmp_path / "out", "--resume") == 0
    assert capsys.readouterr().out.startswith("Trained already: 2 of 2 members.\n")
    assert sweep(*command, "--out", tmp_path / "out", "--resume", "--seed", 9) == 1
    assert "is of another sweep" in capsys.readouterr().err


def test_without_matplotlib_all_but_the_picture_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert sweep(XOR, "--grid", "epochs=1", "--out", tmp_path / "out") == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "No picture: the package matplotlib is not installed: pip install 'nnserve[examples]'",
        f"Wrote {tmp_path}/out/results.csv and best.json.",
        f"The best: python -m nncore train {tmp_path}/out/best.json",
    ]
    assert not (tmp_path / "out" / "sweep.png").exists()


# Killed, interrupted and gone on with.


class KillAfter(Callback):
    """Ends a run as a kill would, with a checkpoint after an epoch."""

    def __init__(self, checkpoints, epoch):
        self.checkpoints, self.epoch = checkpoints, epoch

    def on_epoch(self, epoch):
        if epoch.number == self.epoch:
            self.checkpoints.ask()

    def on_checkpoint(self, epoch, batch, batches):
        # On a slow machine there are others before.
        if (epoch, batch) == (self.epoch, batches):
            raise KeyError("killed")


def test_of_a_killed_member_the_others_stay_and_a_resumed_sweep_ends_as_an_unbroken_one(tmp_path, capsys):
    folder, changes = tmp_path / "out", {"batch_size": 4, "epochs": 80}
    command = [EXAM, "--set", "batch_size=4", "--grid", "epochs=1,80,2", "--out", folder]
    parent = start("sweep", *command, "--processes", 2, folder=tmp_path)
    processes_beside(parent, 1)[2].kill()
    out, err = parent.communicate(timeout=DEADLINE)
    assert parent.returncode == 0
    assert "member 2 of 3: epochs=80: failed: was lost: ended by signal 9, Killed\n" in err
    assert "1 of 3 members failed:\n  epochs=80: was lost: ended by signal 9, Killed\n" in out
    assert "--resume trains again those that were lost.\n" in out
    assert [row["member"] for row in table(folder)] == ["3", "1", "2"]
    # One that is damaged is trained again.
    (folder / "members" / "3.json").write_text("{")
    checkpoints = Checkpoints(folder / "members" / "2")
    recipe = override(read_recipe(Path(EXAM).read_bytes()), changes)
    with pytest.raises(KeyError, match="killed"):
        run(recipe, [KillAfter(checkpoints, 70)], checkpoints=checkpoints)
    capsys.readouterr()
    assert sweep(*command, "--resume") == 0
    said = capsys.readouterr()
    assert said.out.startswith("Trained already: 1 of 3 members.\n")
    assert "member 2: resumed after epoch 70 of 80\n" in said.err
    expected = {number: reached("exam", batch_size=4, epochs=number) for number in (1, 80, 2)}
    found = {int(row["epochs"]): {name: row[name] for name in FIGURES} for row in table(folder)}
    assert found == expected
    assert [row["rank"] for row in table(folder)] == ["1", "2", "3"]
    assert sorted(path.name for path in (folder / "members").iterdir()) == ["1.json", "2.json", "3.json"]


def test_ctrl_c_ends_all_members_keeps_what_is_finished_and_says_how_to_go_on(tmp_path):
    parent = start("sweep", XOR, "--grid", "epochs=1,1000000", "--processes", 2, folder=tmp_path)
    members = processes_beside(parent, 1)
    parent.send_signal(signal.SIGINT)
    out, err = parent.communicate(timeout=DEADLINE)
    assert parent.returncode == 130
    assert err == "nncore: interrupted; --resume goes on with what the members have learned\n"
    assert out == ""
    assert not any(process.is_running() for process in members.values())
    assert (tmp_path / "var" / "sweeps" / "xor" / "members" / "1.json").exists()


def test_where_all_members_fail_it_is_an_error_and_the_table_says_why(tmp_path, monkeypatch, capsys):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No room.; exit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert sweep(XOR, "--grid", "network.0.units=2,0", "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == [
        "2 of 2 members failed:",
        "  network.0.units=2: was lost: No room.",
        "  network.0.units=0: network[0].units: must be ≥ 1, not 0",
        "--resume trains again those that were lost.",
    ]
    assert said.err.splitlines()[-1] == (
        f"nncore: all members have failed; {tmp_path}/out/results.csv says why"
    )
    assert next(row["failed"] for row in table(tmp_path / "out")) == "was lost: No room."
    assert not (tmp_path / "out" / "best.json").exists()


# What cannot be begun.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "optimizer.rate=1,2"], "optimizer.rate: there is no 'rate' here, only type, "),
        (["--grid", "network.0.units=1,2", "--grid", "unit=1"], "unit: there is no 'unit' here, only "),
        (
            ["--grid", "network.0.units=0,-1"],
            "--grid: no combination can be trained; network.0.units=0: network[0].units: must be ≥ 1, not 0",
        ),
        (["--grid", "l2=0,1", "--set", "network.2.units=3"], "network[2]: gives (3,) numbers an example; "),
        (
            ["--grid", "loss=binary_cross_entropy,mean_squared_error"],
            "--grid: losses of values and of classes cannot be compared: name those of one kind",
        ),
        (["--grid", "l2=0..1"], "--grid: l2 is a range"),
        (["--grid", "l2=0", "--random", "2"], "--random: must be at most 1"),
        (["--grid", "l2=0", "--processes", "0"], "--processes: must be ≥ 1, not 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_said_before_anything_is_trained(tmp_path, capsys, options, message):
    assert sweep(XOR, "--out", tmp_path / "out", *options) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"nncore: {message}")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


GRID = ("--grid", "epochs=1", "--out")


def test_results_of_another_sweep_are_never_overwritten(swept, capsys):
    before = {path: path.read_bytes() for path in swept[0].rglob("*") if path.is_file()}
    assert sweep(LINE, *GRID, swept[0]) == 1
    assert "holds a sweep with 2 finished members: --resume goes on with it" in capsys.readouterr().err
    assert sweep(LINE, *GRID, swept[0], "--resume") == 1
    assert "is of another sweep: of another recipe, grid or dataset" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in swept[0].rglob("*") if path.is_file()}


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "results.csv").write_text("mine")
    for options in ([], ["--resume"]):
        assert sweep(XOR, *GRID, tmp_path, *options) == 1
        assert capsys.readouterr().err == (
            f"nncore: --out: {tmp_path} is not empty and holds no sweep: name another folder\n"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_while_another_sweep_is_running_there_it_is_an_error(tmp_path, capsys):
    with sweep_in(tmp_path, resume=False):
        assert sweep(XOR, *GRID, tmp_path, "--resume") == 1
    assert capsys.readouterr().err == (
        f"nncore: --out: another sweep is running in {tmp_path}: wait for its end\n"
    )


def test_what_a_sweep_without_results_left_is_thrown_away_without_resume(tmp_path, capsys):
    with sweep_in(tmp_path, resume=True) as place:
        assert capsys.readouterr().out == (
            f"Nothing to resume in {tmp_path}: the sweep begins at the beginning.\n"
        )
        place.plan.write_text("{}")
        (place.folder / "1").mkdir()
    with sweep_in(tmp_path, resume=False) as place:
        assert capsys.readouterr().out.startswith("Threw away the checkpoints of a sweep that was killed;")
        assert not place.plan.exists()
        assert list(place.folder.iterdir()) == []
