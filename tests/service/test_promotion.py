"""Labels that move, on SQLite and on PostgreSQL: at the same time, by hand, and with a kill in the middle."""

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from candidates import BEST, FAIR, GOOD, POOR, damaged, exam
from serving import ROOT

from nncore.publishing import publish, remove
from service import history, promotion
from service.database import Database, parse_url
from service.gate import Candidate
from service.history import OUTSIDE
from service.jobs.leases import Leases
from service.jobs.ledger import Ledger, Request
from service.jobs.publishing import publish_once
from service.labels import LABELS_FILE, MOST_LABELS_BYTES, read_labels, write_labels
from service.problems import Conflict, Invalid, NotFound
from service.promotion import Decision, Promotions
from service.schema import LABEL_MOVES, migrate

STEPS = [f"{when} {name}" for name in ("also", "record", "write_labels") for when in ("before", "after")]


@pytest.fixture
def promotions(database_url: str, tmp_path: Path) -> Iterator[Promotions]:
    database = Database(parse_url(database_url))
    migrate(database)
    yield Promotions(database, tmp_path / "store")
    database.close()


@pytest.fixture
def model(promotions: Promotions) -> Path:
    """A model with a good version, which is stable, and two better candidates."""
    return with_versions(promotions.root / "exam", GOOD)


def with_versions(model: Path, *thresholds: float) -> Path:
    """Publish versions of these qualities; the first is stable."""
    for threshold in thresholds:
        publish(model, exam(threshold))
    write_labels(model, {"stable": 1})
    return model


def settle(promotions: Promotions, number: int, rule: str = "if_better", model: str = "exam") -> Decision:
    return promotions.settle(model, number, rule, who=f"job {number}")


def moves(promotions: Promotions, label: str = "stable", model: str = "exam") -> list[tuple[Any, ...]]:
    """Return the history as from, to and who, oldest first; each begins where the one before ended."""
    found = [(m.from_version, m.to_version, m.who) for m in promotions.history(model, label)[1]][::-1]
    assert [None, *(to for _, to, _ in found)][: len(found)] == [before for before, _, _ in found]
    return found


def written(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written anew, and not when it is read."""
    return path.stat().st_ino, path.stat().st_mtime_ns


class TestOfTwoThatEndTogether:
    def test_the_one_that_was_measured_against_the_old_one_is_measured_again(
        self, promotions: Promotions, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(model, exam(BEST))
        publish(model, exam(5.5))
        judge, met, judged = Candidate.judge, threading.Barrier(2), itertools.count()

        def together(self: Candidate, rule: str, stable: int | None) -> Decision:
            decision = judge(self, rule, stable)
            if next(judged) < 2:
                assert stable == 1
                met.wait(10)
            return decision

        monkeypatch.setattr(Candidate, "judge", together)
        ours = [Promotions(promotions.database, promotions.root) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            best, other = pool.map(settle, ours, (2, 3))

        assert best.promoted
        assert read_labels(model) == {"stable": 2}
        # Whoever came second was compared with the other one.
        assert next(judged) == 3
        assert {best.stable_version, other.stable_version} in ({1, 2}, {1, 3})
        moves(promotions)

    @pytest.mark.parametrize("order", list(itertools.permutations([2, 3, 4])))
    def test_the_best_one_is_stable_in_the_end_whatever_the_order(
        self, promotions: Promotions, order: tuple[int, ...]
    ) -> None:
        for turn in range(3):
            model = with_versions(promotions.root / f"exam-{turn}", POOR, FAIR, BEST, GOOD)
            ours = [Promotions(promotions.database, promotions.root) for _ in order]
            with ThreadPoolExecutor(3) as pool:
                decisions = list(pool.map(settle, ours, order, ["if_better"] * 3, [model.name] * 3))

            assert read_labels(model) == {"stable": 3}
            assert decisions[order.index(3)].promoted
            assert moves(promotions, model=model.name)[-1] == (
                decisions[order.index(3)].stable_version,
                3,
                "job 3",
            )

    def test_also_in_processes_of_their_own(self, promotions: Promotions) -> None:
        names = [f"exam-{turn}" for turn in range(20)]
        for name in names:
            with_versions(promotions.root / name, POOR, FAIR, BEST)
        children = [Child(promotions, number, names) for number in (2, 3)]
        for child in children:
            child.ready()
        for child in children:
            child.go()
        for child in children:
            assert child.end() == 0

        for name in names:
            assert read_labels(promotions.root / name) == {"stable": 3}
            assert [to for _, to, _ in moves(promotions, model=name)] in ([1, 3], [1, 2, 3])


CHILD = """
import sys
from pathlib import Path
from service import history, promotion
from service.database import Database, parse_url
from service.promotion import Promotions

promotions = Promotions(Database(parse_url(sys.argv[1])), Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for name in sys.argv[4:]:
    promotions.settle(name, int(sys.argv[3]), "if_better", who="job " + sys.argv[3])
"""


class Child:
    """A process that settles one version of each of several models, once it is told to begin."""

    def __init__(self, promotions: Promotions, number: int, names: list[str]) -> None:
        url = promotions.database.url.render_as_string(hide_password=False)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CHILD, url, promotions.root, str(number), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode


def kill_at(promotions: Promotions, step: str) -> None:
    """Settle version 2 in a process of its own that is gone in the middle, before or after a step."""
    promotions.database.close()
    child = os.fork()
    if child == 0:
        try:
            settle_and_die(promotions, step)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def settle_and_die(promotions: Promotions, step: str) -> None:
    when, _, name = step.partition(" ")

    def dying(action: Callable[..., None]) -> Callable[..., None]:
        def die(*arguments: Any, **named: Any) -> None:
            if when == "after":
                action(*arguments, **named)
            os._exit(9)

        return die if action.__name__ == name else action

    def also(connection: Any, decision: Decision) -> None:
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "write_labels", dying(promotion.write_labels))
        patch.setattr(history, "record", dying(history.record))
        promotions.settle("exam", 2, "if_better", who="job 2", also=dying(also))


class TestAfterAKill:
    @pytest.mark.parametrize("history_read", ["never", "before", "after"])
    @pytest.mark.parametrize("step", STEPS)
    def test_the_decision_is_the_same_and_no_move_is_lost(
        self, promotions: Promotions, model: Path, step: str, history_read: str
    ) -> None:
        publish(model, exam(BEST))
        if history_read == "before":
            promotions.history("exam", "stable")
        kill_at(promotions, step)
        assert read_labels(model) == {"stable": 2 if step == "after write_labels" else 1}
        if history_read == "after":
            promotions.history("exam", "stable")
        written: list[Decision] = []
        decision = promotions.settle(
            "exam", 2, "if_better", who="job 2", also=lambda _, decision: written.append(decision)
        )

        assert decision == Decision(
            True, "accuracy 0.9375 is better than version 1's 0.85625", "accuracy", 0.9375, 0.85625, 1
        )
        assert written == [decision]
        assert read_labels(model) == {"stable": 2}
        assert [move[:2] for move in moves(promotions)] == [(None, 1), (1, 2)]

    def test_of_the_first_version_it_is_still_the_first(self, promotions: Promotions, model: Path) -> None:
        write_labels(model, {})
        publish(model, exam(BEST))
        kill_at(promotions, "after write_labels")
        assert read_labels(model) == {"stable": 2}

        assert settle(promotions, 2).reason == "no version was stable before"
        assert moves(promotions) == [(None, 2, "job 2")]

    def test_a_version_that_a_person_made_stable_meanwhile_is_compared_and_left_there(
        self, promotions: Promotions, model: Path
    ) -> None:
        publish(model, exam(FAIR))
        promotions.move("exam", "stable", 2, who="a person", why="to try it")
        decision = settle(promotions, 2)

        assert (decision.promoted, decision.stable_version) == (False, 1)
        assert read_labels(model) == {"stable": 2}
        assert moves(promotions) == [(None, 1, OUTSIDE), (1, 2, "a person")]

    def test_settling_again_decides_again_the_same(self, promotions: Promotions, model: Path) -> None:
        publish(model, exam(BEST))
        first = settle(promotions, 2)

        assert settle(promotions, 2) == first
        assert len(moves(promotions)) == 2


class TestAVersionThatComesASecondTime:
    @pytest.mark.parametrize("rule", ["if_better", "always", "never"])
    def test_is_the_stable_one_already(self, promotions: Promotions, model: Path, rule: str) -> None:
        publish(model, exam(BEST))
        settle(promotions, 2)
        before = written(model / LABELS_FILE)
        again = promotions.settle_again("exam", 2, rule, who="me")

        assert again == Decision(False, "it is the stable version already", stable_version=2)
        assert written(model / LABELS_FILE) == before
        assert moves(promotions) == [(None, 1, OUTSIDE), (1, 2, "job 2")]

    def test_passes_the_gate_where_another_one_is_stable(self, promotions: Promotions, model: Path) -> None:
        publish(model, exam(BEST))

        assert promotions.settle_again("exam", 2, "never", who="me").reason == "as asked: promote is never"
        assert promotions.settle_again("exam", 2, "if_better", who="me").promoted
        assert moves(promotions)[-1] == (1, 2, "me")


def test_where_the_labels_are_broken_a_job_publishes_nothing(promotions: Promotions, model: Path) -> None:
    (model / LABELS_FILE).write_text("{")
    database = promotions.database
    plan = {"recipe": {}, "promote": "always"}
    queued, _ = Ledger(database, most_queued=1, most_queued_by_one=1).add("exam", plan, 1, Request("me", "a"))
    leases = Leases(database, most_attempts=1)
    job = leases.claim(queued.id, "trainer")
    assert job is not None

    with pytest.raises(Conflict, match=r"exam/labels\.json cannot be read"):
        publish_once(database, leases, job, model, exam(BEST), 1.0)
    assert sorted(path.name for path in model.iterdir()) == [".last-version", "1", LABELS_FILE]
    # Once the file is repaired the same job may be tried again.
    write_labels(model, {"stable": 1})
    assert publish_once(database, leases, job, model, exam(BEST), 1.0) == 2
    assert read_labels(model) == {"stable": 1}


def test_what_is_written_with_the_decision_is_undone_with_it(promotions: Promotions, model: Path) -> None:
    publish(model, exam(BEST))

    def also(connection: Any, decision: Decision) -> None:
        assert decision.promoted
        row = {"model": "exam", "label": "x", "who": "w", "why": "y", "time": 0.0}
        connection.execute(LABEL_MOVES.insert().values(row))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        promotions.settle("exam", 2, "if_better", who="job 2", also=also)
    assert read_labels(model) == {"stable": 1}
    assert [move[:2] for move in moves(promotions)] == [(None, 1)]
    with pytest.raises(NotFound):
        promotions.history("exam", "x")


def test_a_disk_that_is_full_moves_nothing(
    promotions: Promotions, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(model, exam(BEST))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(promotion, "write_labels", full)
    with pytest.raises(OSError, match="No space left"):
        settle(promotions, 2)
    assert [move[:2] for move in moves(promotions)] == [(None, 1)]


class TestMovingByHand:
    def test_a_label_is_moved_forward_and_back(self, promotions: Promotions, model: Path) -> None:
        publish(model, exam(FAIR))
        promotions.move("exam", "stable", 2, who="me", why="to try it")
        promotions.move("exam", "stable", 1, who="me", why="it was no good")

        assert read_labels(model) == {"stable": 1}
        assert moves(promotions) == [(None, 1, OUTSIDE), (1, 2, "me"), (2, 1, "me")]
        newest = promotions.history("exam", "stable")[1][0]
        assert newest.why == "it was no good"
        assert newest.time > 1.7e9

    def test_a_label_of_ones_own_is_made_moved_and_taken_away(
        self, promotions: Promotions, model: Path
    ) -> None:
        publish(model, exam(FAIR))
        for number in (2, 1):
            promotions.move("exam", "canary", number, who="me", why="")
        assert read_labels(model) == {"stable": 1, "canary": 1}
        promotions.drop("exam", "canary", who="you")

        assert read_labels(model) == {"stable": 1}
        assert moves(promotions, "canary") == [(None, 2, "me"), (2, 1, "me"), (1, None, "you")]
        assert promotions.history("exam", "canary")[0] is None

    def test_a_label_that_is_there_already_is_not_moved(self, promotions: Promotions, model: Path) -> None:
        before = written(model / LABELS_FILE)
        promotions.move("exam", "stable", 1, who="me", why="")

        assert written(model / LABELS_FILE) == before
        assert moves(promotions) == [(None, 1, OUTSIDE)]

    def test_labels_where_there_were_none_keep_what_was_stable(
        self, promotions: Promotions, model: Path
    ) -> None:
        publish(model, exam(FAIR))
        (model / LABELS_FILE).unlink()
        promotions.move("exam", "canary", 1, who="me", why="")

        assert read_labels(model) == {"stable": 2, "canary": 1}

    def test_a_version_that_is_not_there_or_does_not_load_is_refused(
        self, promotions: Promotions, model: Path
    ) -> None:
        publish(model, damaged(exam(BEST)))

        with pytest.raises(NotFound, match="has no version 7, only 1, 2"):
            promotions.move("exam", "stable", 7, who="me", why="")
        with pytest.raises(Conflict, match="Version 2 of 'exam' does not load: known answer"):
            promotions.move("exam", "stable", 2, who="me", why="")
        with pytest.raises(NotFound, match="none at all"):
            promotions.move("nobody", "stable", 1, who="me", why="")
        assert read_labels(model) == {"stable": 1}
        assert [move[:2] for move in moves(promotions)] == [(None, 1)]

    def test_a_version_that_goes_meanwhile_is_refused(
        self, promotions: Promotions, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(model, exam(BEST))
        load = promotion.load

        def slow(folder: Path, number: int) -> Any:
            served = load(folder, number)
            remove(folder, number)
            return served

        monkeypatch.setattr(promotion, "load", slow)
        with pytest.raises(NotFound, match="has just gone"):
            promotions.move("exam", "stable", 2, who="me", why="")
        assert read_labels(model) == {"stable": 1}

    @pytest.mark.parametrize("label", ["", "1", "007", "Big", "a b", "a/b", "ä", "x" * 65, "a\n", "²"])
    def test_a_name_that_no_label_can_have_is_refused(
        self, promotions: Promotions, model: Path, label: str
    ) -> None:
        with pytest.raises(Invalid, match="must be 1 to 64 lower-case letters"):
            promotions.move("exam", label, 1, who="me", why="")

    @pytest.mark.parametrize("label", ["", "1", "Hand Made", "x" * 65, "a\0", "\0", "ä"])
    def test_such_a_name_has_no_history_and_is_not_taken_away(
        self, promotions: Promotions, model: Path, label: str
    ) -> None:
        write_labels(model, {"stable": 1, "Hand Made": 1})

        with pytest.raises(NotFound, match=r"has no label .*; a label is 1 to 64 lower-case letters"):
            promotions.history("exam", label)
        with pytest.raises(NotFound, match="has no label"):
            promotions.drop("exam", label, who="me")
        assert read_labels(model) == {"stable": 1, "Hand Made": 1}

    @pytest.mark.parametrize("name", ["", ".", "..", "Exam", "exam\0", "\0", "../store/exam", "x" * 65])
    def test_a_name_that_no_model_can_have_is_unknown(
        self, promotions: Promotions, model: Path, name: str
    ) -> None:
        with pytest.raises(NotFound, match="There is no model"):
            promotions.history(name, "canary")
        with pytest.raises(NotFound, match="There is no model"):
            promotions.drop(name, "canary", who="me")

    @pytest.mark.parametrize("label", ["a", "7b", "-", "_", "x" * 64, "2026-01-31"])
    def test_any_other_can_be_moved(self, promotions: Promotions, model: Path, label: str) -> None:
        promotions.move("exam", label, 1, who="me", why="")

        assert read_labels(model) == {"stable": 1, label: 1}

    def test_a_hundred_labels_are_enough(self, promotions: Promotions, model: Path) -> None:
        publish(model, exam(FAIR))
        labels = {f"label-{number}": 1 for number in range(99)} | {"stable": 1}
        write_labels(model, labels)
        with pytest.raises(Conflict, match="'exam' has 100 labels, and may have 100: take one away"):
            promotions.move("exam", "canary", 1, who="me", why="")
        assert read_labels(model) == labels
        with pytest.raises(NotFound):
            promotions.history("exam", "canary")

        promotions.move("exam", "label-0", 2, who="me", why="")
        promotions.drop("exam", "label-1", who="me")
        promotions.move("exam", "canary", 1, who="me", why="")
        assert len(read_labels(model) or {}) == 100

    def test_beside_a_hundred_others_there_is_room_for_stable(
        self, promotions: Promotions, model: Path
    ) -> None:
        write_labels(model, {f"label-{number}": 1 for number in range(100)})

        assert settle(promotions, 1).promoted
        assert (read_labels(model) or {})["stable"] == 1

    def test_labels_that_could_not_be_read_again_are_not_written(
        self, promotions: Promotions, model: Path
    ) -> None:
        long = "x" * (MOST_LABELS_BYTES - 50)
        write_labels(model, {"stable": 1, long: 1})
        with pytest.raises(Conflict, match="may have 1,048,576: take labels out of it"):
            promotions.move("exam", "y" * 64, 1, who="me", why="")

        assert read_labels(model) == {"stable": 1, long: 1}
        with pytest.raises(NotFound):
            promotions.history("exam", "y" * 64)

    def test_where_the_labels_are_broken_the_caller_is_told_what_to_do(
        self, promotions: Promotions, model: Path
    ) -> None:
        (model / LABELS_FILE).write_text("{")

        with pytest.raises(
            Conflict, match=r'Write {"stable": N} into it, .* or move it away: then the newest'
        ):
            promotions.move("exam", "stable", 1, who="me", why="")
        (model / LABELS_FILE).write_text('{"stable": 1}')
        promotions.move("exam", "canary", 1, who="me", why="")

    def test_stable_cannot_be_taken_away_nor_what_is_not_there(
        self, promotions: Promotions, model: Path
    ) -> None:
        with pytest.raises(Conflict, match="it can be moved, and not taken away"):
            promotions.drop("exam", "stable", who="me")
        with pytest.raises(NotFound, match="has no label 'canary'; it has: stable"):
            promotions.drop("exam", "canary", who="me")
        with pytest.raises(NotFound, match="no model 'nobody'"):
            promotions.drop("nobody", "canary", who="me")

    def test_many_at_once_leave_one_history_without_gaps(self, promotions: Promotions, model: Path) -> None:
        for threshold in (FAIR, POOR, BEST):
            publish(model, exam(threshold))

        def mover(me: int) -> None:
            for number in (1, 2, 3, 4) * 3:
                promotions.move("exam", "stable", number, who=f"{me}", why="")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(mover, range(4)))
        assert read_labels(model) == {"stable": moves(promotions)[-1][1]}


class TestTheHistory:
    def test_has_what_was_done_by_hand_before_and_after(self, promotions: Promotions, model: Path) -> None:
        for threshold in (FAIR, POOR):
            publish(model, exam(threshold))
        write_labels(model, {"stable": 2})
        assert moves(promotions) == [(None, 2, OUTSIDE)]
        write_labels(model, {"stable": 3})
        promotions.move("exam", "stable", 1, who="me", why="")
        write_labels(model, {})

        assert moves(promotions) == [(None, 2, OUTSIDE), (2, 3, OUTSIDE), (3, 1, "me"), (1, None, OUTSIDE)]

    def test_says_what_came_with_nnserve(self, promotions: Promotions) -> None:
        model = promotions.root / "exam"
        publish(model, exam(GOOD), origin="shipped")
        publish(model, exam(BEST), origin="shipped")
        publish(model, exam(FAIR))
        write_labels(model, {"stable": 1})
        assert moves(promotions) == [(None, 1, "shipped")]
        write_labels(model, {"stable": 2})
        assert moves(promotions)[-1] == (1, 2, "shipped")
        # Nobody but a person goes back, or leaves a version of his own.
        for number in (1, 3, 2):
            write_labels(model, {"stable": number})
            assert moves(promotions)[-1][2] == OUTSIDE

    def test_of_a_model_without_labels_has_the_newest_version(
        self, promotions: Promotions, model: Path
    ) -> None:
        (model / LABELS_FILE).unlink()
        assert moves(promotions) == [(None, 1, OUTSIDE)]
        publish(model, exam(BEST))
        assert moves(promotions) == [(None, 1, OUTSIDE), (1, 2, OUTSIDE)]

    def test_is_shown_page_by_page_newest_first(self, promotions: Promotions, model: Path) -> None:
        publish(model, exam(BEST))
        for number in (2, 1, 2):
            promotions.move("exam", "stable", number, who="me", why="")
        now, newest = promotions.history("exam", "stable", limit=3)
        assert (now, [move.to_version for move in newest]) == (2, [2, 1, 2])
        now, older = promotions.history("exam", "stable", before=newest[-1].number)
        assert (now, [move.to_version for move in older]) == (2, [1])

    def test_of_what_never_was_is_none(self, promotions: Promotions, model: Path) -> None:
        with pytest.raises(NotFound, match="has no label 'canary'; it has: stable"):
            promotions.history("exam", "canary")
        with pytest.raises(NotFound, match="no model 'nobody'"):
            promotions.history("nobody", "stable")

    def test_of_one_model_has_nothing_of_another(self, promotions: Promotions, model: Path) -> None:
        with_versions(promotions.root / "exam-2", GOOD, BEST)
        promotions.move("exam-2", "stable", 2, who="me", why="")

        assert moves(promotions) == [(None, 1, OUTSIDE)]
