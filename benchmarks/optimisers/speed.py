"""CPU time of one suggestion, and memory, against the number of known trials: ten parameters, one thread.

    python benchmarks/optimisers/speed.py --out speed.csv [--optimisers NAME ...] [--trials 100 500 1000 5000]

Each figure is measured in a process of its own. The process tells an optimiser that many random points, asks for a
suggestion that is not counted (libraries load) and tells its value. The figure is the median CPU time of the next three
suggestions, each with its tell. A process that needs more than ``--limit`` CPU seconds in all is aborted.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from peers import optimisers

import hpt_core as hpt

SPACE = {
    **{f"x{i}": hpt.Float(0.0, 1.0) for i in range(6)},
    **{f"l{i}": hpt.Float(1e-4, 1.0, log=True) for i in range(2)},
    "k": hpt.Int(1, 50),
    "c": hpt.Categorical("a", "b", "c"),
}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("MKL", "OMP", "OPENBLAS")}


def value_of(params: hpt.Params) -> float:
    """A smooth bowl with a step for the category."""
    bowl = sum((params[f"x{i}"] - 0.3) ** 2 for i in range(6)) + sum(
        np.log10(params[f"l{i}"]) ** 2 / 9 for i in range(2)
    )
    return float(bowl + (params["k"] - 20) ** 2 / 900 + {"a": 0.2, "b": 0.0, "c": 0.4}[params["c"]])


def cpu_seconds() -> float:
    """CPU seconds of this process. Under a limit of CPU time, Linux updates ``time.process_time`` only every 4 ms."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one(name: str, trials: int) -> tuple[float, float]:
    """CPU milliseconds of a suggestion, and peak memory in MB."""
    space = hpt.Space(SPACE)
    optimiser = optimisers()[name].make(space, 0, trials + 10)
    for params in space.from_unit(np.random.default_rng(0).random((trials, len(space.columns)))):
        optimiser.tell(optimiser.add_point(params), value_of(params))
    spent = []
    for _ in range(4):
        start = cpu_seconds()
        token, params = optimiser.ask()
        optimiser.tell(token, value_of(params))
        spent.append(1e3 * (cpu_seconds() - start))
    return statistics.median(spent[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the command line."""
    known = [name for name in optimisers() if name not in ("smac", "hebo", "ax")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimisers", nargs="+", choices=list(optimisers()), default=known)
    parser.add_argument("--trials", nargs="+", type=int, default=[100, 500, 1000, 5000])
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("speed.csv"))
    parser.add_argument("--one", nargs=2, metavar=("NAME", "TRIALS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*one(options.one[0], int(options.one[1])))
        return
    new = not options.out.exists()
    for name in options.optimisers:
        for trials in options.trials:
            done = subprocess.run(
                [sys.executable, __file__, "--one", name, str(trials)],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, **ONE_THREAD},
                preexec_fn=partial(resource.setrlimit, resource.RLIMIT_CPU, (options.limit, options.limit)),
            )
            if done.returncode and done.returncode > 0:
                raise SystemExit(done.stderr)
            aborted = done.returncode < 0
            milliseconds, peak = (0.0, 0.0) if aborted else map(float, done.stdout.split()[-2:])
            texts = [f"over {options.limit} s in all", "–"] if aborted else [f"{milliseconds:.1f}", f"{peak:.0f}"]
            print(name, trials, *texts, flush=True)
            with options.out.open("a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(["optimiser", "trials", "cpu_ms", "peak_mb"])
                    new = False
                writer.writerow([name, trials, *texts])


if __name__ == "__main__":
    main()
