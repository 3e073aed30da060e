import hashlib
import json
import os
import select
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from watching import DEADLINE, start

from nncore.artifact import describe, to_bytes
from nncore.checkpoints import Checkpoints
from nncore.cli import main
from nncore.merging import merge
from nncore.predictor import load
from nncore.publishing import MODEL_FILE, versions
from nncore.recipe import StartFrom, override, read_recipe, run
from nncore.resuming import members_of
from nncore.training import Callback

RECIPES = Path(__file__).parents[2] / "recipes"
XOR, EXAM, LINE = (str(RECIPES / f"{name}.json") for name in ("xor", "exam", "line"))


def processes_of(parent, *members):
    """Return these members' processes, once each is over its first epoch."""
    waiting = set(members)
    while waiting:
        line = parent.stderr.readline()
        assert line, "the parent has ended"
        waiting -= {number for number in waiting if line.startswith(f"member {number}: epoch ")}
    processes = {
        json.loads(process.cmdline()[-1])["number"]: process
        for process in psutil.Process(parent.pid).children()
    }
    return [processes[number] for number in members]


@contextmanager
def gone_after(process):
    """See that a process, which need not be a child, is gone after what is done here."""
    descriptor = os.pidfd_open(process.pid)
    try:
        yield
        assert select.select([descriptor], [], [], DEADLINE)[0], "it goes on"
    finally:
        os.close(descriptor)


def one_by_one(folder, name, members, *, start_from=None, measure_test=True, **changes):
    """Return the bytes of an ensemble whose members were trained one after the other."""
    files = []
    folder.mkdir()
    for place in range(members):
        recipe = override(read_recipe((RECIPES / f"{name}.json").read_bytes()), changes)
        recipe = override(recipe, {"seed": recipe.seed + place})
        files.append(folder / f"{place}.safetensors")
        files[-1].write_bytes(to_bytes(describe(run(recipe, measure_test=False, start_from=start_from))))
    return to_bytes(merge(files, measure_test=measure_test))


def test_members_trained_at_once_are_those_trained_one_by_one_and_merged(tmp_path, capsys):
    begun = tmp_path / "begun.safetensors"
    begun.write_bytes(to_bytes(describe(run(read_recipe(Path(EXAM).read_bytes())))))
    options = ["--seed", "5", "--epochs", "3", "--set", "batch_size=64", "--no-test", "--name", "all"]
    command = ["train", EXAM, *options, "--start-from", str(begun), "--out", str(tmp_path)]
    assert main([*command, "--members", "3", "--processes", "2"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    file = tmp_path / "all" / "1" / MODEL_FILE
    assert [line.partition(": loss ")[0] for line in lines] == [
        f"Starting from {begun}.",
        "member 1",
        "member 2",
        "member 3",
        "validation",
        f"Wrote {file} ({file.stat().st_size:,} bytes).",
    ]
    for number in (1, 2, 3):
        assert f"member {number}: epoch 3/3, loss 0." in said.err
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [".last-version", "1"]
    beginning = StartFrom(load(begun).network, hashlib.sha256(begun.read_bytes()).hexdigest())
    expected = one_by_one(
        tmp_path / "apart",
        "exam",
        3,
        start_from=beginning,
        measure_test=False,
        seed=5,
        epochs=3,
        batch_size=64,
    )
    assert file.read_bytes() == expected


# Killed and gone on with.


class KillAfter(Callback):
    """Ends a run as a kill would, with a checkpoint after an epoch."""

    def __init__(self, checkpoints, epoch):
        self.checkpoints, self.epoch = checkpoints, epoch

    def on_epoch(self, epoch):
        if epoch.number == self.epoch:
            self.checkpoints.ask()

    def on_checkpoint(self, epoch, batch, batches):
        raise KeyError("killed")


def test_of_a_killed_member_the_others_stay_and_resume_trains_what_is_missing(tmp_path, capsys, caplog):
    command = [EXAM, "--set", "batch_size=4", "--members", 3, "--out", tmp_path]
    parent = start("train", *command, "--processes", 2, folder=tmp_path)
    (second,) = processes_of(parent, 2)
    second.kill()
    _, err = parent.communicate(timeout=DEADLINE)
    assert parent.returncode == 1
    assert err.splitlines()[-1] == (
        "nncore: member 2 was lost: ended by signal 9, Killed; --resume trains only what is missing"
    )
    assert "Traceback" not in err
    assert versions(tmp_path / "exam") == []
    folder = tmp_path / "exam" / ".checkpoints" / "members"
    first, third = folder / "1.safetensors", folder / "3.safetensors"
    assert sorted(folder.glob("*.safetensors")) == [first, third]
    third.write_bytes(first.read_bytes()[:-1])
    checkpoints = Checkpoints(folder / "2")
    recipe = override(read_recipe(Path(EXAM).read_bytes()), {"batch_size": 4, "seed": 2})
    with pytest.raises(KeyError, match="killed"):
        run(recipe, [KillAfter(checkpoints, 30)], checkpoints=checkpoints)
    assert main(["train", *map(str, command), "--processes", "1", "--resume"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Trained already: 1 of 3 members.\nmember 2: Resumed after epoch 30 of 40.\n")
    assert "member 1: epoch" not in said.err
    assert said.err.startswith("member 2: epoch 31/40")
    assert f"the member in {third} is trained again: {third}: truncated" in caplog.text
    expected = one_by_one(tmp_path / "apart", "exam", 3, batch_size=4)
    assert (tmp_path / "exam" / "1" / MODEL_FILE).read_bytes() == expected
    assert not folder.parent.exists()


def test_ctrl_c_ends_all_processes_and_says_how_to_go_on(tmp_path):
    parent = start("train", XOR, "--epochs", 1_000_000, "--members", 2, "--processes", 2, folder=tmp_path)
    members = processes_of(parent, 1, 2)
    parent.send_signal(signal.SIGINT)
    _, err = parent.communicate(timeout=DEADLINE)
    assert parent.returncode == 130
    last = "nncore: interrupted; --resume goes on with what the members have learned"
    assert err.splitlines()[-1] == last
    assert "Traceback" not in err
    assert not any(process.is_running() for process in members)


def test_members_whose_parent_is_gone_leave_and_hold_the_model_until_then(tmp_path, capsys):
    command = [XOR, "--epochs", 1_000_000, "--members", 2, "--processes", 2, "--out", tmp_path]
    parent = start("train", *command, folder=tmp_path)
    first, second = processes_of(parent, 1, 2)
    first.suspend()
    with gone_after(second):
        parent.kill()
    assert main(["train", *map(str, command), "--resume"]) == 1
    assert capsys.readouterr().err == (
        f"nncore: --members: another run is training {tmp_path / 'xor'}: wait for its end\n"
    )
    with gone_after(first):
        first.resume()
    parent.communicate(timeout=DEADLINE)


def test_why_members_are_lost_is_said_once(tmp_path, capsys):
    changes = ["--set", 'optimizer={"type": "sgd", "learning_rate": 1000}']
    assert main(["train", LINE, *changes, "--members", "2", "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("nncore: members 1, 2 were lost, number 1: the loss (inf) is not finite in ")
    assert err.endswith("; --resume trains only what is missing\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "words", "why"),
    [
        ('echo \'"Words"\'; echo "{}" >&2; echo No room.; exit 3', ['"Words"', "{}", "No room."], "No room."),
        ("exit 3", [], "exit status 3"),
        (None, [], "no process can be started: No such file or directory"),
    ],
)
def test_whatever_members_die_of_is_said(tmp_path, capsys, monkeypatch, script, words, why):
    python = tmp_path / "python"
    if script:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert main(["train", XOR, "--members", "2", "--processes", "1", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        *(f"member {number}: {text}" for number in (1, 2) for text in words),
        f"nncore: members 1, 2 were lost, number 1: {why}; --resume trains only what is missing",
    ]


# What is left over.


def left(model, *, members):
    """Leave behind what a killed run leaves."""
    if members:
        with members_of(model, resume=False) as folder:
            (folder.path / "plan.json").write_text("{}")
            return folder.path / "plan.json"
    file = model / ".checkpoints" / "checkpoint-00000001"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    return file


@pytest.mark.parametrize("members", [True, False])
def test_without_resume_what_either_kind_of_run_left_is_thrown_away(tmp_path, capsys, members):
    file = left(tmp_path / "xor", members=not members)
    if members:
        with members_of(tmp_path / "xor", resume=False) as folder:
            assert list(folder.path.iterdir()) == []
    else:
        assert main(["train", XOR, "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Threw away the checkpoints of a run that was killed;")
    assert not file.exists()


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        (
            True,
            ["--members", "2"],
            "members is of other members: of another recipe, dataset, start or",
        ),
        (True, [], ".checkpoints is of a run with --members;"),
        (False, ["--members", "2"], ".checkpoints is of a run without --members;"),
    ],
)
def test_resuming_another_kind_of_run_is_an_error_that_says_what_to_do(
    tmp_path, capsys, members, options, message
):
    file = left(tmp_path / "xor", members=members)
    assert main(["train", XOR, "--out", str(tmp_path), "--resume", *options]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.endswith("or train without --resume to begin anew\n")
    assert file.exists()


def test_with_no_members_to_resume_it_is_said(tmp_path, capsys):
    with members_of(tmp_path / "xor", resume=True) as folder:
        folder.clear()
    assert capsys.readouterr().out == (
        f"Nothing to resume in {tmp_path / 'xor' / '.checkpoints'}: training begins at the beginning.\n"
    )
    assert not (tmp_path / "xor").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--members", "1"], "--members: must be 2 to 64, not 1"),
        (["--members", "65"], "--members: must be 2 to 64, not 65"),
        (["--members", "2", "--processes", "0"], "--processes: must be ≥ 1, not 0"),
        (["--processes", "2"], "--processes: goes with --members"),
        (["--members", "3", "--seed", str(2**63 - 2)], f"seed: must be ≤ {2**63 - 1}, not {2**63}"),
        (["--members", "2", "--set", "network.2.units=3"], "network[2]: gives (3,) numbers an example; "),
        (
            ["--members", "2", "--set", 'network=[{"type": "ensemble", "output": "binary", "members": '
             '[[{"type": "dense", "units": 1}], [{"type": "dense", "units": 1}]]}]'],
            "--members: the network is an ensemble already, and a member cannot be one",
        ),
    ],
)  # fmt: skip
def test_what_cannot_become_an_ensemble_is_said_before_anything_is_trained(
    tmp_path, capsys, options, message
):
    assert main(["train", XOR, "--out", str(tmp_path / "out"), *options]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"nncore: {message}")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
