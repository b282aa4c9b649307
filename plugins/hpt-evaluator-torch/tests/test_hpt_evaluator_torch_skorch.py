"""skorch nets report after each epoch what their own ``fit`` records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.utils.data import DataLoader, TensorDataset

from hpt_core import EvaluationError, Report, Study, TrialContext, UsageError
from hpt_evaluator_torch.evaluator import TorchEvaluator

skorch: Any = pytest.importorskip("skorch")
callbacks: Any = pytest.importorskip("skorch.callbacks")
helper: Any = pytest.importorskip("skorch.helper")
pytestmark = pytest.mark.filterwarnings("ignore")


def data() -> Any:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 4, generator=generator)
    y = (X[:, 0] > 0).long()
    return (X[:40], y[:40]), (X[40:], y[40:])


class Net(torch.nn.Sequential):
    def __init__(self, hidden: int = 3) -> None:
        super().__init__(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2))


def classifier(hidden: int = 3, **options: Any) -> Any:
    """A typical net."""
    chosen = {"module__hidden": hidden, "criterion": torch.nn.CrossEntropyLoss, "verbose": 0, **options}
    return skorch.NeuralNetClassifier(Net, **chosen)


NET = classifier(optimizer=torch.optim.SGD, optimizer__momentum=0.5)


def with_callbacks() -> Any:
    schedule = callbacks.LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=6)
    scoring = callbacks.EpochScoring("f1_macro", lower_is_better=False)
    return classifier(
        callbacks=[("f1", scoring), ("rate", schedule), ("early", callbacks.EarlyStopping(patience=2, threshold=9))]
    )


def evaluator(model: Any, source: Any = data, **options: Any) -> TorchEvaluator:
    return TorchEvaluator(model=model, data=source, **{"epochs": 3, "device": "cpu", "batch_size": 16, **options})


def reports(made: TorchEvaluator, params: dict[str, Any], objective: str = "accuracy", **trial: Any) -> list[Report]:
    return list(made.evaluate(TrialContext(params=params, seed=3, objectives=(objective,), **trial)))


def by_skorch(net: Any, **params: Any) -> Any:
    """The history of a training without hpt."""
    train, valid = (TensorDataset(*part) for part in data())
    net.set_params(train_split=helper.predefined_split(valid), **params)
    return net.fit(train, None).history


def test_a_net_trains_as_with_its_own_fit() -> None:
    params = {"hidden": 5, "lr": 0.2, "batch_size": 8, "optimizer__weight_decay": 0.1}
    found = reports(evaluator(classifier), params)
    torch.manual_seed(3)
    alone = by_skorch(classifier(5), lr=0.2, batch_size=8, max_epochs=3, optimizer__weight_decay=0.1)
    assert [r.value for r in found] == alone[:, "valid_acc"]
    assert [r.metrics["valid_loss"] for r in found] == alone[:, "valid_loss"]
    assert reports(evaluator(classifier), params, resume_step=2) == found[2:]
    assert found != reports(evaluator(classifier), params | {"optimizer__weight_decay": 0.0})


@pytest.mark.parametrize("model", [NET, f"{__name__}:NET"], ids=["object", "path"])
def test_a_net_is_given_as_an_object_and_copied_for_each_trial(model: Any) -> None:
    params = {"module__hidden": 6, "optimizer__momentum": 0.9, "lr": 0.1}
    study = Study(
        {name: [value] for name, value in params.items()}, objective={"accuracy": "maximize"},
        evaluator=evaluator(model),
    )  # fmt: skip
    study.run(trials=1)
    assert study.trials[0].state == "complete"
    found = reports(evaluator(model), params)
    torch.manual_seed(3)
    alone = by_skorch(classifier(6, optimizer=torch.optim.SGD), max_epochs=3, lr=0.1, optimizer__momentum=0.9)
    assert [r.metrics["valid_loss"] for r in found] == alone[:, "valid_loss"]
    assert NET.get_params()["optimizer__momentum"] == 0.5
    assert not hasattr(NET, "module_")


def all_params(params: dict[str, Any]) -> Any:
    return classifier(params["hidden"])


@pytest.mark.parametrize("model", [all_params, lambda hidden, batch_size: classifier(hidden) if batch_size else None])
def test_the_batch_size_is_that_of_the_space_whatever_the_model_function_receives(model: Any) -> None:
    params = {"hidden": 5, "batch_size": 8}
    assert reports(evaluator(model), params) == reports(evaluator(classifier), params)


class Scheduled(skorch.NeuralNetClassifier):
    """Has arguments with the names of options of the evaluator."""

    def __init__(self, *given: Any, scheduler: str = "none", loss: str = "none", **options: Any) -> None:
        super().__init__(*given, **options)
        self.scheduler, self.loss = scheduler, loss

    def initialize(self) -> Any:
        assert (self.scheduler, self.loss) == ("cosine", "l1")
        return super().initialize()


def test_a_net_may_have_parameters_with_the_names_of_options_of_the_training() -> None:
    net = Scheduled(Net, criterion=torch.nn.CrossEntropyLoss, verbose=0)
    assert len(reports(evaluator(net), {"scheduler": "cosine", "loss": "l1"})) == 3


def test_parameters_and_data_that_a_net_does_not_support_are_refused() -> None:
    for name, message in [("hiden", "The net has no parameter 'hiden'"), ("max_epochs", "Is called `epochs` here")]:
        with pytest.raises(UsageError, match=rf"space\.{name}: {message}"):
            Study({name: [1]}, objective={"accuracy": "maximize"}, evaluator=evaluator(NET)).run(trials=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        reports(evaluator(NET), {"module__nope": 1})
    with pytest.raises(EvaluationError, match="the parameter 'clip_norm' must be one of the model function's"):
        reports(evaluator(classifier), {"clip_norm": 1.0})
    with pytest.raises(EvaluationError, match="the parameter 'optimizer' must be one of the model function's"):
        reports(evaluator(NET), {"optimizer": "sgd"})
    with pytest.raises(EvaluationError, match="leave out the option `optimizer`"):
        reports(evaluator(classifier, optimizer="sgd"), {})
    with pytest.raises(EvaluationError, match="leave out the option `clip_norm`"):
        reports(evaluator(classifier, clip_norm=1.0), {})
    loader = DataLoader(TensorDataset(*data()[0]), 8)
    with pytest.raises(EvaluationError, match="makes its own batches: `data` must return arrays or datasets"):
        reports(evaluator(classifier, lambda: (loader, data()[1])), {})


def test_callbacks_run_and_one_that_ends_the_training_completes_the_trial() -> None:
    study = Study(
        {"lr": [0.1]}, objective={"f1_macro": "maximize"}, evaluator=evaluator(with_callbacks, epochs=9), seed=0
    )
    study.run(trials=1)
    (trial,) = study.trials
    torch.manual_seed(study.context(trial).seed)
    alone = by_skorch(with_callbacks(), lr=0.1, max_epochs=9)
    assert 1 < len(alone) < 9
    assert trial.state == "complete"
    assert [report.value for report in trial.reports] == alone[:, "f1_macro"]
    assert [report.metrics["event_lr"] for report in trial.reports] == alone[:, "event_lr"]


def test_a_keyboard_interrupt_does_not_complete_the_trial() -> None:
    class Interrupted(torch.nn.Linear):
        def forward(self, X: Any) -> Any:
            raise KeyboardInterrupt

    net = skorch.NeuralNetClassifier(Interrupted(4, 2), verbose=0)
    with pytest.raises(KeyboardInterrupt):
        reports(evaluator(lambda: net), {})


def test_on_train_end_is_called_for_complete_and_stopped_trials() -> None:
    ended: list[int] = []

    class Ends(callbacks.Callback):
        def on_train_end(self, net: Any, **_: Any) -> None:
            ended.append(len(net.history))

    made = evaluator(lambda: classifier(callbacks=[Ends()]))
    reports(made, {})
    generator = made.evaluate(TrialContext(params={}, objectives=("accuracy",)))
    next(generator)
    generator.close()
    assert ended == [3, 1]


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    found = reports(evaluator(classifier, keep="best", epochs=5), {"lr": 0.3}, "valid_loss", workdir=tmp_path)
    kept = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert kept["epoch"] == min(found, key=lambda report: report.value).step
    assert kept["model"].keys() == Net().state_dict().keys()


def test_a_training_that_diverges_fails() -> None:
    with pytest.raises(EvaluationError, match=r"The training diverged: after epoch \d \w+ is nan") as caught:
        reports(evaluator(classifier), {"lr": 1e30})
    assert caught.value.kind == "invalid-value"


def test_a_net_resumes_from_its_checkpoint_unless_its_callbacks_keep_state(tmp_path: Path) -> None:
    trained: list[int] = []

    class Drawing(Net):
        def __init__(self) -> None:
            super().__init__()
            self.append(torch.nn.Dropout(0.1))

        def forward(self, inputs: Any) -> Any:
            if self.training:
                trained.append(len(inputs))
            return super().forward(inputs)

    def net(**options: Any) -> Any:
        return skorch.NeuralNetClassifier(
            Drawing, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, verbose=0,
            iterator_train__shuffle=True, **options,
        )  # fmt: skip

    def with_stateful_callbacks() -> list[dict[str, Any]]:
        schedule = callbacks.LRScheduler("StepLR", step_size=1)
        return [{"callbacks": [callbacks.EarlyStopping()]}, {"callbacks": [schedule]}]

    def epochs_trained(folder: Path, options: dict[str, Any]) -> float:
        """The number of epochs trained when a trial resumes after the second of three."""
        made = evaluator(lambda: net(**options), checkpoint_every=1)
        whole = reports(made, {}, "valid_loss")
        begun = made.evaluate(TrialContext(params={}, seed=3, objectives=("valid_loss",), workdir=folder))
        assert [next(begun), next(begun)] == whole[:2]
        begun.close()
        trained.clear()
        assert reports(made, {}, "valid_loss", workdir=folder, resume_step=2) == whole[2:]
        return sum(trained) / 40

    assert epochs_trained(tmp_path / "default", {}) == 1
    assert epochs_trained(tmp_path / "fewer", {"callbacks__valid_acc": None}) == 1
    for i, options in enumerate(with_stateful_callbacks()):
        assert epochs_trained(tmp_path / str(i), options) == 3
