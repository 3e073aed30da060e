"""One attempt at a job: its recipe is run, or gone on with, and the outcome published and weighed."""

import dataclasses
import logging
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from nncore.artifact import describe, from_bytes, to_bytes
from nncore.checkpoints import Checkpoints
from nncore.config import from_json
from nncore.errors import TrainingError
from nncore.publishing import read_facts
from nncore.recipe import Recipe, StartFrom, Trained, run
from service.contents import load
from service.database import Database
from service.jobs.heart import Heart
from service.jobs.job import CHECKPOINTS
from service.jobs.plans import read_start
from service.jobs.progress import Progress
from service.jobs.publishing import publish_once
from service.promotion import Decision, Promotions
from service.settings import Settings

logger = logging.getLogger(__name__)


class Run:
    """An attempt, with what it works with. Whatever goes wrong is raised."""

    def __init__(self, heart: Heart, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.job, self.leases, self.stop = heart.job, heart.leases, heart.stop
        self.model = settings.model_store / self.job.model
        self.checkpoints = Checkpoints(
            settings.model_store / CHECKPOINTS / self.job.id, every=settings.checkpoint_seconds
        )
        self.progress = Progress(heart, self.checkpoints)

    def carry_out(self) -> None:
        """Train, publish, weigh, and end the job."""
        trained = self._train()
        self.progress.write()
        data = to_bytes(describe(trained))
        while True:
            try:
                self._publish(trained, data)
                break
            except OperationalError as error:
                logger.warning("job %s: published later, the database: %s", self.job.id, error.orig)
                if self.stop.wait(1):
                    raise
        self.checkpoints.clear()

    def _train(self) -> Trained:
        plan = self.job.plan
        recipe = from_json(Recipe, plan["recipe"])
        dataset = load(self.settings.model_store, recipe.dataset, verify=True)
        if dataset.sha256 != plan["dataset"]["sha256"]:
            raise TrainingError(f"the dataset {dataset.name} is not the one that the job was accepted with")
        return run(
            recipe,
            [self.progress],
            # A search among recipes must not look at the test set, and a gate is one.
            measure_test=False,
            checkpoints=self.checkpoints,
            start_from=self._start(plan["start_from"]),
            dataset=dataset,
        )

    def _start(self, start: dict[str, Any] | None) -> StartFrom | None:
        if start is None:
            return None
        data = read_start(self.model, start)
        return StartFrom(from_bytes(data).network, start["sha256"])

    def _publish(self, trained: Trained, data: bytes) -> None:
        job = self.job
        seconds = self.progress.seconds
        number = publish_once(self.database, self.leases, job, self.model, data, seconds)
        sha256 = read_facts(self.model / str(number))["sha256"]

        def end(connection: Connection, decision: Decision) -> None:
            history = trained.history
            result = {
                "version": number,
                "sha256": sha256,
                "metrics": trained.metrics,
                "epochs": {"run": len(history.epochs), "kept": history.kept_epoch, "ended": history.ended},
                "seconds": round(seconds, 3),
                "promotion": dataclasses.asdict(decision),
            }
            if trained.reinitialized:
                result["reinitialized"] = list(trained.reinitialized)
            self.leases.succeed(connection, job, result)

        promotions = Promotions(self.database, self.settings.model_store)
        decision = promotions.settle(job.model, number, job.plan["promote"], who=f"job {job.id}", also=end)
        logger.info("job %s: version %d of %s: %s", job.id, number, job.model, decision.reason)
