"""A `train` function receives the arguments that it names, and what it yields is reported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from hpt_core import Report, Study, TrialContext, UsageError
from hpt_evaluator_torch.evaluator import TorchEvaluator

TRIAL = TrialContext(params={"lr": 0.5, "n": 3}, number=4, seed=7, objectives=("score",))


def reports(function: Any, trial: TrialContext = TRIAL, **options: Any) -> list[Report]:
    return list(TorchEvaluator(train=function, device="cpu", **options).evaluate(trial))


def test_arguments_are_passed_by_name() -> None:
    seen: list[Any] = []

    def train(params: Any, trial: Any, device: Any, data: Any, lr: float, extra: int = 5) -> float:
        seen.append((params, trial.number, device.type, len(data.train), lr, extra))
        return 0.5

    study = Study(
        {"lr": [0.5], "n": [3]}, objective={"score": "maximize"},
        evaluator=TorchEvaluator(train=train, data=lambda: ((torch.ones(6, 2),), (torch.ones(3, 2),)), device="cpu"),
    )  # fmt: skip
    study.run(trials=1)
    assert seen == [({"lr": 0.5, "n": 3}, 0, "cpu", 6, 0.5, 5)]
    assert study.trials[0].value == 0.5


def test_values_pairs_mappings_and_reports_can_be_yielded() -> None:
    def train(n: int) -> Iterator[Any]:
        yield 0.1
        yield torch.tensor(0.2)
        yield 5, 0.3
        yield {"score": 0.4, "loss": 9.0}
        yield Report(9, 0.5)

    found = reports(train)
    assert [r.step for r in found] == [1, 2, 5, 6, 9]
    assert [float(r.value) for r in found] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[3].metrics == {"loss": 9.0}


def test_the_function_is_seeded_and_its_random_state_is_kept_between_reports() -> None:
    def train() -> Iterator[float]:
        for _ in range(3):
            yield float(torch.rand(()))

    torch.manual_seed(TRIAL.seed)
    expected = [float(torch.rand(())) for _ in range(3)]
    found = []
    for report in TorchEvaluator(train=train, device="cpu").evaluate(TRIAL):
        found.append(report.value)
        torch.rand(10)
    assert found == expected


@pytest.mark.parametrize("resumable", [False, True])
def test_reports_continue_after_the_last_step(resumable: bool) -> None:
    def train(trial: Any) -> Iterator[float]:
        for epoch in range(trial.resume_step if resumable else 0, 4):
            yield epoch + 1.0

    trial = TrialContext(params={}, objectives=("score",), resume_step=2)
    found = reports(train, trial, resumable=resumable)
    assert [(r.step, r.value) for r in found] == [(3, 3.0), (4, 4.0)]


def test_the_generator_is_closed_when_the_trial_is_stopped() -> None:
    ended: list[bool] = []

    def train() -> Iterator[float]:
        try:
            yield 1.0
            yield 2.0
        finally:
            ended.append(True)

    generator = TorchEvaluator(train=train, device="cpu").evaluate(TRIAL)
    next(generator)
    generator.close()
    assert ended == [True]


def test_a_required_argument_that_is_not_offered_is_refused() -> None:
    def train(config: Any) -> float:
        return float(config["x"])

    study = Study({"x": [1.0]}, evaluator=TorchEvaluator(train=train))
    with pytest.raises(UsageError, match="train requires 'config', which is neither of params, trial, device nor"):
        study.run(trials=1)


def test_a_loss_that_requires_a_gradient_may_be_yielded(recwarn: pytest.WarningsRecorder) -> None:
    def train(lr: float) -> Any:
        loss = torch.nn.Linear(2, 1)(torch.ones(1, 2)).sum() * lr
        yield loss
        yield 2, loss
        yield {"value": loss, "other": loss}

    study = Study({"lr": [0.5]}, evaluator=TorchEvaluator(train=train))
    study.run(trials=1)
    reports = study.trials[0].reports
    assert len(reports) == 3
    assert len({*(report.value for report in reports), reports[2].metrics["other"]}) == 1
    assert not [warning for warning in recwarn if "requires_grad" in str(warning.message)]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"loss": 0.5}, r"The report lacks the objective 'value'\. Got \['loss'\]\."),
        ((0, 0.5), r"step of a report must be an int from 1 on\. Got int 0\."),
    ],
)
def test_a_yielded_item_that_is_no_report_of_the_objective_fails_the_trial(item: Any, message: str) -> None:
    def train() -> Iterator[Any]:
        yield item
        yield 1, 0.5

    study = Study({"lr": [0.5]}, evaluator=TorchEvaluator(train=train))
    study.run(trials=1)
    failure = study.trials[0].failure
    assert failure is not None
    assert failure.kind == "invalid-value"
    assert re.search(message, failure.message)
    assert not failure.detail
