"""The files that ``hpt init`` creates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

__all__ = ["EVALUATORS", "study_file", "training_file"]

EVALUATORS = ("sklearn", "function", "command", "torch")

_HEAD = """\
# An hpt study. `hpt check {file}` checks this file, `hpt run {file}` runs the study, or resumes it.
# Any value can be overridden on the command line: hpt run {file} trials=100

name = "{name}"
objective = {{ {objective} = "{direction}" }}  # or "{other}"; several objectives give a Pareto front
seed = 0                             # the same seed gives the same trials
trials = {trials}                          # in total: a second run continues up to this number
# workers = 2                        # number of worker processes
# trial_timeout = 600                # time limit of a trial in seconds

[space]
# A list is a set of choices, a table is a range. `when` makes a parameter active for some choices only.
# `default` is where hpt starts, and the baseline that the result is compared with.
"""

_SPACES = {
    "sklearn": """\
model = ["svm", "forest"]
C = { low = 1e-2, high = 1e3, log = true, default = 1.0, when = { model = "svm" } }
gamma = { low = 1e-5, high = 1.0, log = true, default = 1e-2, when = { model = "svm" } }
max_depth = { low = 2, high = 30, when = { model = "forest" } }  # integer bounds: an integer
max_features = { low = 0.05, high = 1.0, when = { model = "forest" } }
""",
    "training": """\
learning_rate = { low = 1e-4, high = 1.0, log = true, default = 0.01 }
momentum = { low = 0.0, high = 0.99, default = 0.9 }
epochs = { low = 10, high = 200, log = true, default = 50 }  # integer bounds: an integer
""",
    "torch": """\
lr = { low = 1e-4, high = 1e-1, log = true, default = 1e-3 }  # goes to the optimizer
batch_size = [16, 32, 64]                                     # goes to the training
hidden = { low = 4, high = 64, log = true, default = 16 }     # goes to the model; integer bounds: an integer
dropout = { low = 0.0, high = 0.5, default = 0.0 }
""",
}

_SKLEARN = """
[evaluator]
use = "sklearn"
data = "sklearn.datasets:load_breast_cancer"  # or { file = "train.csv", target = "label" }
cv = 5
pipeline = [["scale", "sklearn.preprocessing:StandardScaler"], "model"]

[evaluator.choices.model]            # the estimator for each choice of `model`
svm = "sklearn.svm:SVC"
forest = { use = "sklearn.ensemble:RandomForestClassifier", n_estimators = 100 }

[evaluator.params]                   # parameter of the space = parameter of the pipeline
C = "model__C"
gamma = "model__gamma"
max_depth = "model__max_depth"
max_features = "model__max_features"
"""

_FUNCTION = """
[evaluator]
use = "function"
call = "{module}:train"                 # a function of the parameters, in {module}.py next to this file
"""

_COMMAND = """
[evaluator]
use = "command"
# The last line that it prints is the result: a number, or {{"loss": 0.1, ...}}.
command = [
    "{python}", "{program}",
    "--learning-rate={{learning_rate}}", "--momentum={{momentum}}", "--epochs={{epochs}}",
]
"""

_TORCH = """
[evaluator]
use = "torch"
model = "{module}:make_model"           # a function that makes a model, in {module}.py next to this file
data = "{module}:load_data"             # a function that returns the training and the validation data
epochs = 20
threads = 1                          # of torch in each trial; more of them pay off for large models
"""

_TAIL = """
[sampler]
use = "{sampler}"

[store]
{store}

# `hpt plugins` lists all samplers, stores and stopping rules; `hpt plugins show NAME` shows the options of one.
{stop}
"""

_TRAINING = '''\
"""The function to tune: replace `train` with your own."""
{imports}

def train(params):
    """Minimize a curved valley by gradient descent with momentum; return the final loss."""
    x, y, dx, dy = -1.0, 1.5, 0.0, 0.0
    for _ in range(params["epochs"]):
        slope_x, slope_y = 2 * (x - 1) - 4 * x * (y - x * x), 2 * (y - x * x)
        dx = params["momentum"] * dx - params["learning_rate"] * slope_x
        dy = params["momentum"] * dy - params["learning_rate"] * slope_y
        x, y = max(-5.0, min(5.0, x + dx)), max(-5.0, min(5.0, y + dy))
    return (1 - x) ** 2 + (y - x * x) ** 2
{main}'''

_MAIN = """

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--momentum", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    print(train(vars(parser.parse_args())))
"""


_TORCH_TRAINING = '''\
"""The model to tune and its data: replace both with your own."""

import torch
from torch import nn


def make_model(hidden, dropout):
    """Make a new model from the parameters of the space that are arguments here."""
    return nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))


def load_data():
    """Points in a square; the class says whether a point lies in a circle, with some noise."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(800, 2, generator=generator) * 2 - 1
    noise = torch.randn(800, generator=generator) / 10
    classes = (points.square().sum(1) + noise < 0.5).long()
    return {"train": (points[:600], classes[:600]), "valid": (points[600:], classes[600:])}
'''


def study_file(
    evaluator: str, file: str, name: str, training: Path, python: str, installed: Mapping[str, Collection[str]]
) -> str:
    """The text of a study file that is ready to run.

    Args:
        evaluator: One of `EVALUATORS`.
        file: The path of the file, as the user gave it.
        name: The study's name.
        training: The program that ``function``, ``command`` and ``torch`` tune.
        python: The Python interpreter for ``command``.
        installed: Kind -> names of the installed components; only those are used.
    """
    accuracy = evaluator in ("sklearn", "torch")
    objective, direction, trials = ("accuracy", "maximize", 30) if accuracy else ("loss", "minimize", 40)
    other = "maximize" if direction == "minimize" else "minimize"
    head = _HEAD.format(file=file, name=name, objective=objective, direction=direction, other=other, trials=trials)
    bodies = {"sklearn": _SKLEARN, "function": _FUNCTION, "command": _COMMAND, "torch": _TORCH}
    body = bodies[evaluator]
    if evaluator != "sklearn":
        body = body.format(module=training.stem, program=training.as_posix(), python=python)
    return head + _SPACES.get(evaluator, _SPACES["training"]) + body + _tail(installed)


def _tail(installed: Mapping[str, Collection[str]]) -> str:
    preferred = [name for name in ("auto", "bayes", "random", "grid") if name in installed["sampler"]]
    sampler = [*preferred, *installed["sampler"], "bayes"][0]  # if none is installed, `hpt check` says what to install
    stores = {"sqlite": "hpt.db", "csv": "hpt.csv"}
    store = next((name for name in stores if name in installed["store"]), None)
    plateau = '[[stop]]\nuse = "plateau"                      # ends the study when the best result stops improving'
    return _TAIL.format(
        sampler=sampler,
        store=f'use = "{store}"\npath = "{stores[store]}"' if store else 'use = "memory"',
        stop=plateau if "plateau" in installed["stopping rule"] else '# [[stop]]\n# use = "plateau"',
    )


def training_file(evaluator: str) -> str:
    """The text of the program to tune."""
    if evaluator == "torch":
        return _TORCH_TRAINING
    if evaluator == "command":
        return _TRAINING.format(imports="\nimport argparse\n", main=_MAIN)
    return _TRAINING.format(imports="", main="")
