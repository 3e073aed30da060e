"""The gate: whether a new version is to be the stable one, and the reason in words."""

from dataclasses import dataclass
from pathlib import Path

from nncore.publishing import versions
from service.judging import Incomparable, Trial, against, on_trial
from service.loading import Loading, Served
from service.problems import Conflict, NotFound

IF_BETTER, ALWAYS, NEVER = "if_better", "always", "never"
RULES = (IF_BETTER, ALWAYS, NEVER)


@dataclass(frozen=True)
class Decision:
    """Whether a version became the stable one, why, and how both did on the same rows.

    `metric` and `candidate` are None where it could not be measured, `stable` where there was nothing to
    compare it with.
    """

    promoted: bool
    reason: str
    metric: str | None = None
    candidate: float | None = None
    stable: float | None = None
    stable_version: int | None = None


class Candidate:
    """A version at the gate: loaded and measured once, judged as often as there is another one to beat."""

    def __init__(self, model: Path, number: int) -> None:
        """Load it; raises NotFound where it is not there."""
        self.model, self.number = model, number
        self._failure = self._why_not = ""
        self._trial: Trial | None = None
        try:
            self._trial = on_trial(load(model, number).predictor, model.parent)
        except Conflict as problem:
            self._failure = problem.detail
        except Incomparable as error:
            self._why_not = str(error)

    def judge(self, rule: str, stable: int | None) -> Decision:
        """Return what becomes of it by a rule, where `stable` is the version that is stable now."""
        if self._failure:
            return Decision(False, self._failure, stable_version=stable)
        mine, metric = (self._trial.figure, self._trial.metric) if self._trial else (None, None)
        figure, why_not = self._compared(stable)
        if rule != IF_BETTER:
            promoted, reason = rule == ALWAYS, f"as asked: promote is {rule}"
        elif stable is None:
            promoted, reason = True, "no version was stable before"
        elif mine is None or figure is None:
            promoted, reason = False, f"it cannot be compared with version {stable}: {why_not}"
        else:
            promoted = mine > figure
            word = "better" if promoted else "worse" if mine < figure else "no better"
            reason = f"{metric} {mine:.6g} is {word} than version {stable}'s {figure:.6g}"
        return Decision(promoted, reason, metric, mine, figure, stable)

    def _compared(self, stable: int | None) -> tuple[float | None, str]:
        """Return the stable version's figure on the candidate's rows, or why there is none."""
        if self._trial is None or stable is None:
            return None, self._why_not
        try:
            return against(self._trial, load(self.model, stable).predictor), ""
        except (Incomparable, Conflict, NotFound) as error:
            return None, str(error)


def load(model: Path, number: int) -> Served:
    """Return a version, every check passed; raises NotFound, or Conflict that says why it does not load."""
    numbers = versions(model)
    if number not in numbers:
        known = ", ".join(map(str, numbers[-20:])) or "none at all"
        raise NotFound(f"The model {model.name!r} has no version {number}, only {known}.")
    loading = Loading(model, numbers, {})
    served = loading.get(number)
    if served is None:
        raise Conflict(f"Version {number} of {model.name!r} does not load: {loading.failures[number]}.")
    return served
