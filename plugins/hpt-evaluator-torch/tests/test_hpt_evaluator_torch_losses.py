"""A loss may be a module: with parameters that are trained, with state, and with further arguments of a call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn.functional import cross_entropy

from hpt_core import Study, TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator

SEED, EPOCHS, LR, CLIP = 7, 3, 0.1, 0.05
RNG = np.random.default_rng(0)
X = torch.from_numpy(RNG.normal(size=(60, 4)).astype(np.float32))
Y = (X[:, 0] > X[:, 1]).long()


def data() -> Any:
    return (X[:40], Y[:40]), (X[40:], Y[40:])


def make_model() -> Any:
    return torch.nn.Linear(4, 2)


class Uncertainty(torch.nn.Module):
    """Weighs the loss by a variance that is trained with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = torch.nn.Parameter(torch.zeros(()))

    def forward(self, outputs: Any, targets: Any, weight: float = 1.0) -> Any:
        loss = weight * cross_entropy(outputs, targets)
        return torch.exp(-self.log_variance) * loss + self.log_variance


class Noisy(torch.nn.Module):
    """Counts the batches that it sees in training, and smooths only those."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, outputs: Any, targets: Any, scale: float = 0.1) -> Any:
        if not self.training:
            return cross_entropy(outputs, targets)
        self.seen += 1
        return cross_entropy(outputs, targets) * (1 + scale * self.seen)


class Wrapped(torch.nn.Module):
    """Passes on what it is given, as a compiled module does."""

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *given: Any, **arguments: Any) -> Any:
        return self.loss(*given, **arguments)


class Distilled(torch.nn.Module):
    """Pulls the outputs to those of a teacher, who is to stay in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.smoothing = torch.nn.Dropout(0.5)
        layers = torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)
        self.teacher = torch.nn.Sequential(*layers).eval().requires_grad_(requires_grad=False)
        for values in self.teacher.state_dict().values():
            values.fill_(0.1)

    def forward(self, outputs: Any, targets: Any) -> Any:
        taught = self.teacher(torch.cat([outputs, outputs], 1))
        return cross_entropy(outputs, targets) + (self.smoothing(outputs) - taught).square().mean()


def losses(params: dict[str, Any], **options: Any) -> list[float]:
    """The validation loss after each epoch."""
    options = {"model": make_model, "optimizer": "sgd", **options}
    made = TorchEvaluator(data=data, epochs=EPOCHS, device="cpu", **options)
    trial = TrialContext(params={"lr": LR, **params}, seed=SEED, objectives=("loss",))
    first, again = ([report.value for report in made.evaluate(trial)] for _ in range(2))
    assert first == again  # nothing of a trial passes to the next
    return first


def by_hand(make_loss: Any, *, clip: bool = False, **arguments: Any) -> list[float]:
    torch.manual_seed(SEED)
    model, loss = make_model(), make_loss()
    trained = [*model.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(trained, lr=LR)
    (inputs, targets), (held_out, expected) = data()
    found = []
    learning = [part for part in loss.modules() if part.training]
    for epoch in range(1, EPOCHS + 1):
        for part in learning:
            part.training = True
        for rows in torch.randperm(40, generator=torch.Generator().manual_seed(SEED + epoch)).split(32):
            optimizer.zero_grad()
            loss(model(inputs[rows]), targets[rows], **arguments).backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimizer.step()
        loss.eval()
        with torch.no_grad():
            found.append(float(loss(model(held_out), expected, **arguments)))
    return found


@pytest.mark.parametrize("loss", [Uncertainty, Uncertainty()], ids=["class", "object"])
@pytest.mark.parametrize("clip", [False, True])
def test_the_parameters_of_a_loss_are_trained_with_those_of_the_model(loss: Any, clip: bool) -> None:
    found = losses({}, loss=loss, clip_norm=CLIP if clip else None)
    assert found == pytest.approx(by_hand(Uncertainty, clip=clip), rel=1e-6)


@pytest.mark.parametrize("loss", [Noisy, Noisy()], ids=["class", "object"])
def test_a_loss_is_in_evaluation_mode_on_the_validation_data(loss: Any) -> None:
    assert losses({}, loss=loss) == pytest.approx(by_hand(Noisy), rel=1e-6)


def test_a_part_of_a_loss_that_is_in_evaluation_mode_stays_in_it() -> None:
    assert losses({}, loss=Distilled) == pytest.approx(by_hand(Distilled), rel=1e-6)


def test_an_object_may_be_given_further_arguments_which_can_be_tuned() -> None:
    expected = pytest.approx(by_hand(Noisy, scale=0.5), rel=1e-6)
    assert losses({}, loss={"use": Noisy(), "scale": 0.5}) == expected
    assert losses({"scale": 0.5}, loss=Noisy()) == expected
    assert losses({}, loss={"use": Wrapped(Noisy()), "scale": 0.5}) == expected
    made = TorchEvaluator(model=make_model, data=data, epochs=1, device="cpu", loss=Uncertainty())
    study = Study({"weight": [0.5]}, objective={"loss": "minimize"}, evaluator=made)
    study.run(trials=1)
    assert study.trials[0].state == "complete"


def test_gradients_that_the_optimizer_leaves_alone_do_not_count_for_the_norm() -> None:
    """No step sets them to zero, so they grow, and would leave nothing of the others."""

    def backbone() -> Any:
        return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))

    def head(params: Any, model: Any, lr: float) -> Any:
        del params
        return torch.optim.SGD(model[1].parameters(), lr)

    def frozen() -> Any:
        model = backbone()
        model[0].requires_grad_(requires_grad=False)
        return model

    assert losses({}, model=backbone, optimizer=head, clip_norm=CLIP) == losses({}, model=frozen, clip_norm=CLIP)


class Both:
    """Combines two optimisers, as one has to for `torch.optim.Muon`; it has no groups of parameters of its own."""

    def __init__(self, params: Any, lr: float) -> None:
        params = list(params)
        self.parts = [torch.optim.SGD(part, lr) for part in (params[:1], params[1:])]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()


def test_the_gradients_of_an_optimizer_that_combines_others_are_clipped() -> None:
    assert losses({}, optimizer=Both, clip_norm=CLIP) == losses({}, clip_norm=CLIP)


class Judge(torch.nn.Module):
    """A metric with weights, which are drawn when it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, outputs: Any, targets: Any) -> Any:
        return self.layer(outputs).sum() + 0 * targets.sum()


def test_a_metric_that_draws_random_numbers_when_it_is_made_changes_no_training() -> None:
    assert losses({}, metrics={"judge": Judge}) == losses({})
