"""The evaluator `boosting`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
from sklearn.datasets import load_wine
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from hpt_core import Mistake, Report, Space, TrialContext, UsageError, option

NAMES = {"learning_rate", "max_leaf_nodes", "min_samples_leaf", "subsample"}


@attrs.define(kw_only=True)
class Boosting:
    """Boosted trees on the wines of scikit-learn; a report is the loss on the held-out third."""

    steps: int = option(4, ge=1, help="How many reports a whole trial gives.")
    rounds: int = option(2, ge=1, help="Trees per class between two reports.")

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Refuse what the model does not know, before the first trial."""
        unknown = sorted(set(space.names) - NAMES)
        if unknown:
            known = ", ".join(sorted(NAMES))
            raise UsageError(Mistake(f"space.{unknown[0]}", f"The model has no such parameter. Known: {known}."))

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        """Go on growing the same forest, and report after some rounds."""
        X, y = load_wine(return_X_y=True)
        parts = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=0)
        model = GradientBoostingClassifier(**trial.params, warm_start=True, random_state=trial.seed)
        for step in range(1, self.steps + 1):
            model.set_params(n_estimators=step * self.rounds).fit(parts[0], parts[2])
            yield Report(step, float(log_loss(parts[3], model.predict_proba(parts[1]))))
