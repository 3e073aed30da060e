"""`nnserve train`, `jobs`, `models`, `promote` and `rollback` against a running service with a trainer."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Run, lines, runner
from serving import DEADLINE, NNSERVE, Service, environment, wait_for
from terminals import CTRL_C, Terminal
from training import ENDLESS, QUICK, job, wait_for_epoch, wait_until

from service.client import Client


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    up = Service(tmp_path_factory.mktemp("training"), "up", workers=1)
    yield up
    print(up.log)
    up.stop()


@pytest.fixture
def run(up: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    (tmp_path / "quick.json").write_text(json.dumps(QUICK))
    (tmp_path / "endless.json").write_text(json.dumps(ENDLESS))
    yield runner(up.url, tmp_path, monkeypatch)
    # The trainer is the next test's.
    with Client(up.url) as client:
        for state in ("running", "queued"):
            for left in client.jobs(state=state):
                left.cancel()


@pytest.fixture
def terminal(up: Service, run: Run, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Run commands on terminals, which are closed after the test."""
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal([NNSERVE, *arguments], tmp_path, environment({"url": up.url})))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def newest(up: Service, model: str) -> str:
    """Return the id of a model's newest job, once there is one."""
    found: list[str] = []
    with Client(up.url) as client:
        wait_for(lambda: found.extend(one.id for one in client.jobs(model=model)) or found, "a job", up)
    return found[0]


class TestTrain:
    def test_a_recipe_becomes_a_version_of_the_model_of_its_name(self, run: Run, up: Service) -> None:
        done = run("train", "quick.json", "--promote", "always")

        assert done.exit_code == 0
        first, figures = done.stdout.splitlines()
        assert re.fullmatch(r"quick version \d+: promoted, as asked: promote is always", first)
        assert re.fullmatch(r"loss \S+, r2 \S+", figures)
        told = done.stderr.splitlines()
        assert told[0] == f"job {newest(up, 'quick')}"
        assert [line.partition(",")[0] for line in told[-3:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]

    def test_a_recipe_may_come_by_standard_input_and_as_json_goes_the_job(self, run: Run) -> None:
        done = run("train", "-", "--model", "piped", "--json", input=json.dumps(QUICK))

        assert done.exit_code == 0
        told = json.loads(done.stdout)
        assert (told["model"], told["state"], told["result"]["version"]) == ("piped", "succeeded", 1)

    def test_a_dataset_is_trained_on_by_the_recipe_to_begin_with(
        self, run: Run, up: Service, tmp_path: Path
    ) -> None:
        rows = "".join(f"{number},{'small' if number < 30 else 'large'}\n" for number in range(60))
        (tmp_path / "sizes.csv").write_text("number,size\n" + rows)
        with Client(up.url) as client:
            client.upload_dataset("sizes", tmp_path / "sizes.csv", target="size")

        done = run("train", "--dataset", "sizes", "--set", "epochs=20")
        assert done.exit_code == 0
        assert "sizes version 1: promoted" in done.stdout
        refused = run("train", "quick.json", "--dataset", "sizes")
        assert refused.exit_code == 2

    def test_fields_are_set_in_files_shipped_recipes_and_repeated_ones(self, run: Run) -> None:
        def planned(*arguments: str) -> dict:
            done = run("train", *arguments, "--dry-run", "--json")
            assert done.exit_code == 0, done.stderr
            return json.loads(done.stdout)["recipe"]

        changes = ["--set", "epochs=7", "--set", "optimizer.learning_rate=0.5", "--set", "network.0.units=5"]
        assert planned("quick.json", "--set", "epochs=7")["epochs"] == 7
        for given in (["xor"], ["--model", "xor"]):
            recipe = planned(*given, *changes)
            assert (recipe["epochs"], recipe["optimizer"]["learning_rate"]) == (7, 0.5)
            assert recipe["network"][0]["units"] == 5
        assert planned("quick.json", "--set", "network.2.rate=0.5")["network"][2]["rate"] == 0.5
        assert planned("quick.json", "--set", "schedule.type=constant")["schedule"] == {"type": "constant"}

    def test_a_dry_run_says_what_would_be_done(self, run: Run) -> None:
        rows = dict(lines(run("train", "xor", "--dry-run", "--start-from", "stable")))

        assert (rows["dataset"], rows["parameters"]) == ("xor", "33")
        assert (rows["start from"], rows["promote"]) == ("version 1", "if_better")

    def test_who_detaches_gets_the_id_at_once(self, run: Run, up: Service) -> None:
        [[job_id]] = lines(run("train", "quick.json", "--model", "detached", "--detach"))

        assert job_id == newest(up, "detached")
        wait_until(up, job_id, "succeeded")

    @pytest.mark.parametrize(
        ("arguments", "status", "said"),
        [
            ([], 2, "say which model is trained: --model NAME"),
            (["-"], 2, "say which model is trained: --model NAME"),
            (["xor", "--promote", "perhaps"], 2, "'perhaps' is not one of"),
            (["none.json"], 1, "No such file or directory: 'none.json'"),
            (["text.json"], 1, "text.json: is no JSON"),
            (["list.json"], 1, "list.json: a recipe is an object"),
            (["xnor"], 1, "#/recipe must be a recipe or the name of one"),
            (["quick.json", "--set", "epochs=0"], 1, "#/recipe/epochs must be ≥ 1"),
            (["quick.json", "--set", "epochs"], 1, "--set takes FIELD=VALUE"),
            (["quick.json", "--set", "network.9.units=1"], 1, "--set network.9: there is no such place"),
            (["quick.json", "--set", "epochs.a=1"], 1, "--set epochs.a: there is no such place"),
            (["quick.json", "--set", "network.9=1"], 1, "--set network.9: there is no such place"),
        ],
    )
    def test_what_cannot_be_trained_is_told(
        self, run: Run, tmp_path: Path, arguments: list[str], status: int, said: str
    ) -> None:
        (tmp_path / "text.json").write_text("words")
        (tmp_path / "list.json").write_text("[]")
        done = run("train", *arguments)

        assert (done.exit_code, done.stdout) == (status, "")
        assert said in done.stderr
        assert status == 2 or done.stderr.count("\n") == 1

    def test_a_job_that_fails_fails_the_command(self, run: Run) -> None:
        # Steps that are far too long.
        done = run(
            "train",
            "quick.json",
            "--model",
            "failing",
            "--set",
            'optimizer={"type": "sgd", "learning_rate": 1000, "momentum": 0.99}',
        )

        assert (done.exit_code, done.stdout) == (1, "")
        assert re.fullmatch(r"nnserve: job [0-9a-f]{16} failed: .+", done.stderr.splitlines()[-1])


class TestJobs:
    def test_jobs_are_listed_shown_and_watched(self, run: Run, up: Service) -> None:
        [[job_id]] = lines(run("train", "quick.json", "--model", "listed", "--detach"))
        wait_until(up, job_id, "succeeded")

        [row] = lines(run("jobs", "list", "--model", "listed"))
        assert row[:4] == [job_id, "listed", "succeeded", "3/3"]
        assert lines(run("jobs", "list", "--model", "listed", "--state", "failed")) == []
        assert len(lines(run("jobs", "list", "--limit", "1"))) == 1
        rows = dict(lines(run("jobs", "show", job_id)))
        assert (rows["state"], rows["epochs"]) == ("succeeded", "3/3")
        assert rows["result"] == "listed version 1: promoted, no version was stable before"
        assert json.loads(run("jobs", "show", job_id, "--json").stdout)["id"] == job_id
        assert json.loads(run("jobs", "list", "--model", "listed", "--json").stdout)["id"] == job_id
        watched = run("jobs", "watch", job_id)
        assert watched.stdout.startswith("listed version 1: promoted")
        assert "epoch 3/3" in watched.stderr

    def test_a_job_is_cancelled_and_tried_again(self, run: Run) -> None:
        [[job_id]] = lines(run("train", "endless.json", "--detach"))

        assert lines(run("jobs", "cancel", job_id)) == [[f"{job_id}: cancelled"]]
        watched = run("jobs", "watch", job_id)
        assert (watched.exit_code, watched.stderr.splitlines()[-1]) == (
            1,
            f"nnserve: job {job_id} was cancelled",
        )
        assert lines(run("jobs", "retry", job_id)) == [[f"{job_id}: queued"]]
        assert lines(run("jobs", "cancel", job_id)) == [[f"{job_id}: cancelled"]]
        assert run("jobs", "show", "0123456789abcdef").exit_code == 1


class TestLabels:
    def test_a_label_is_moved_back_to_where_it_was(self, run: Run, up: Service, tmp_path: Path) -> None:
        run("train", "quick.json", "--model", "rolled")
        nothing = run("rollback", "rolled")
        assert nothing.exit_code == 1
        assert nothing.stderr == "nnserve: the history of rolled stable has no other version to go back to\n"

        for seed in (2, 3):
            run("train", "quick.json", "--model", "rolled", "--set", f"seed={seed}", "--promote", "always")
        assert lines(run("rollback", "rolled")) == [["rolled stable: version 2"]]
        assert lines(run("rollback", "rolled")) == [["rolled stable: version 3"]]
        moves = lines(run("models", "history", "rolled"))
        assert [(cells[1], cells[2]) for cells in moves] == [
            ("2", "3"),
            ("3", "2"),
            ("2", "3"),
            ("1", "2"),
            ("-", "1"),
        ]
        assert lines(run("models", "rm", "rolled", "2")) == []
        assert lines(run("rollback", "rolled")) == [["rolled stable: version 1"]]
        assert lines(run("promote", "rolled", "3", "--label", "next")) == [["rolled next: version 3"]]
        rows = dict(lines(run("models", "show", "rolled", "next")))
        assert (rows["version"], rows["labels"]) == ("3", "next")
        assert "r2" in rows["validation"]


class TestOnATerminal:
    def test_who_is_asked_may_watch_on(self, terminal: Callable[..., Terminal], run: Run) -> None:
        shell = terminal("train", "quick.json", "--set", "epochs=100", "--model", "on")
        shell.wait_for("epoch")
        shell.press(CTRL_C)
        shell.wait_for("or watch on (w)?")
        shell.press("w\n")

        assert shell.status() == 0
        assert "on version 1: promoted" in shell.shown

    @pytest.mark.parametrize(
        ("keys", "state", "said"),
        [("c\n", "cancelled", "cancelled"), ("d\n", "running", "goes on"), (CTRL_C, "running", "goes on")],
    )
    def test_ctrl_c_asks_what_is_to_become_of_the_job(
        self, terminal: Callable[..., Terminal], up: Service, keys: str, state: str, said: str
    ) -> None:
        shell = terminal("train", "endless.json", "--model", "asked")
        shell.wait_for("epoch 1")
        shell.press(CTRL_C)
        shell.wait_for("or watch on (w)?")
        shell.press(keys)
        shell.wait_for(said)

        assert shell.status() == 130
        assert "Traceback" not in shell.shown
        assert job(up, newest(up, "asked"))["state"] == state

    def test_ctrl_c_leaves_a_job_alone_that_is_only_watched(
        self, terminal: Callable[..., Terminal], run: Run, up: Service
    ) -> None:
        [[job_id]] = lines(run("train", "endless.json", "--model", "watched", "--detach"))
        wait_for_epoch(up, job_id, 1)
        shell = terminal("jobs", "watch", job_id)
        shell.wait_for("epoch")
        shell.press(CTRL_C)

        assert shell.status() == 130
        assert "Traceback" not in shell.shown
        assert job(up, job_id)["state"] == "running"

    def test_a_bar_goes_to_the_end(self, terminal: Callable[..., Terminal]) -> None:
        shell = terminal("train", "quick.json", "--model", "shown")

        assert shell.status() == 0
        assert "100% " in shell.shown
        assert "epoch 3/3, loss " in shell.shown
        assert "shown version 1: promoted" in shell.shown

    def test_a_list_has_titles(self, terminal: Callable[..., Terminal]) -> None:
        shell = terminal("models", "show", "xor")

        assert shell.status() == 0
        assert re.match(r"field +value\r\nmodel +xor\r\nversion +1\r\n", shell.shown)


def test_ctrl_c_without_a_terminal_lets_the_job_go_on(up: Service, run: Run, tmp_path: Path) -> None:
    with subprocess.Popen(
        [NNSERVE, "train", "endless.json", "--model", "left"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment({"url": up.url}),
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(DEADLINE) == 130
    job_id = newest(up, "left")
    assert f"job {job_id} goes on; nnserve jobs watch {job_id}\n" in rest
    assert "Traceback" not in rest
    assert job(up, job_id)["state"] == "running"
