r"""Make Markdown tables from the raw rows, and print them or insert them at the markers of pages.

python benchmarks/optimisers/report.py rows.csv
python benchmarks/optimisers/report.py docs/benchmarks/optimisers-rows.csv.gz \
        --speed docs/benchmarks/optimisers-speed.csv --plots docs/benchmarks \
        --page docs/benchmarks/optimisers.md docs/benchmarks/optimisers-tables.md
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from rows import SCALE, Row, Rows, read, write
from stats import Curves, Interval, at, common, interval, main_budget, ranks, regrets, stages, trials_to

__all__ = ["tables"]

BUDGETS = (20, 40, 60, 100)
LEADS = ("hpt-auto", "hpt-bayes")
"""The optimisers that are compared head to head with all others."""

Standings = dict[int, dict[str, tuple[Interval, Interval]]]
"""Budget -> optimiser -> (regret, rank)."""

SERIAL_TRIALS = 40
"""Number of serial trials whose regret several workers have to reach."""


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines])


# --- regret and rank -------------------------------------------------------------------------------------


def standings(curves: Curves, keep: Callable[[str], bool] = lambda _: True) -> Standings:
    """Regret and rank of each optimiser at each budget, on the runs common to all that reached it."""
    found = {}
    for budget in BUDGETS:
        table = at(curves, budget, keep)
        cells = common(table, list(table))
        if len(table) < max(2, len(curves) / 2) or not cells:
            continue  # a budget that few optimisers reached would be another comparison
        values = np.array([[runs[cell] for cell in cells] for runs in table.values()])
        pairs = zip(table, values, ranks(values), strict=True)
        found[budget] = {name: (interval(regret, cells), interval(rank, cells)) for name, regret, rank in pairs}
    return found


def board(curves: Curves, keep: Callable[[str], bool] = lambda _: True) -> str:
    """Regret and rank at each budget, sorted by the regret at the main budget."""
    found = standings(curves, keep)
    pairs = ((f"regret, {budget} trials", f"rank of {len(standing)}") for budget, standing in found.items())
    head = ["optimiser", *(text for pair in pairs for text in pair)]
    missing = ("–", "–")
    lines = [
        [name, *(str(text) for standing in found.values() for text in standing.get(name, missing))]
        for name in ordered(curves, found)
    ]
    return markdown(head, lines) if lines else "No two optimisers ran the same problems."


def ordered(curves: Curves, found: Standings) -> list[str]:
    """The optimisers by their regret at the main budget, or at the last one before it that they reached."""
    order: dict[str, float] = {}
    for budget, standing in found.items():
        if budget <= main_budget(curves):
            order |= {name: regret.mean for name, (regret, _) in standing.items()}
    return sorted(order, key=lambda name: (order[name], name))


def summary(rows: Rows, curves: Curves) -> str:
    """Mean regret and CPU time of the optimisers with the most seeds."""
    _, cut = stages(curves)[-1]
    found = {budget: standing for budget, standing in standings(cut).items() if budget <= main_budget(cut)}
    lines = []
    for name in ordered(cut, found):
        means = [f"{standing[name][0].mean:.2f}" if name in standing else "–" for standing in found.values()]
        lines.append([name, *means, f"{cpu_ms(rows, name):.1f}"])
    return markdown(["optimiser", *(f"regret, {budget} trials" for budget in found), "CPU ms a trial"], lines)


def everyone(curves: Curves) -> str:
    """A board for each number of seeds, with the optimisers that ran them."""
    parts = []
    for seeds, cut in stages(curves):
        cells = common(at(cut, main_budget(cut)), list(cut))
        problems = len({problem for problem, _ in cells})
        parts.append(f"{problems} problems, {_seeds(seeds)}, {len(cells)} runs of each:\n\n{board(cut)}")
    return "\n\n".join(parts)


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"up to {count} seeds"


def by_family(rows: Rows, curves: Curves) -> str:
    """A board for each family, from the stage with the most optimisers."""
    families = {row.problem: row.family for row in rows.values()}
    seeds, cut = stages(curves)[0]
    shared = {problem for problem, _ in common(at(cut, main_budget(cut)), list(cut))}
    parts = []
    for family in dict.fromkeys(families.values()):
        inside = {name for name in shared if families[name] == family}
        if inside:
            text = f"**{family}** ({', '.join(sorted(inside))}; {_seeds(seeds)})"
            parts.append(f"{text}:\n\n{board(cut, inside.__contains__)}")
    return "\n\n".join(parts)


def partial_boards(curves: Curves) -> str:
    """For each optimiser that ran only a part: a board of all optimisers on its runs."""
    table = at(curves, main_budget(curves))
    _, cut = stages(curves)[0]
    parts = []
    for name in sorted(table.keys() - cut.keys()):
        cells = common(table, [*cut, name])
        if cells:
            count = len({problem for problem, _ in cells})
            shared = {other: {cell: curves[other][cell] for cell in cells} for other in [*cut, name]}
            parts.append(f"On the {len(cells)} runs ({count} problems) that **{name}** finished:\n\n{board(shared)}")
    return "\n\n".join(parts) or "All optimisers are in a table of all problems."


def head_to_head(curves: Curves) -> str:
    """Each lead against every other optimiser, on the runs that both have."""
    table = at(curves, main_budget(curves))
    head = ["", "against", "runs", "better", "same", "worse", "difference of regret"]
    lines = []
    for lead in (name for name in LEADS if name in table):
        for other in sorted(table.keys() - {lead}):
            cells = common(table, [lead, other])
            if cells:
                difference = np.array([table[lead][cell] - table[other][cell] for cell in cells])
                counts = [int(np.sum(np.sign(difference) == sign)) for sign in (-1, 0, 1)]
                of = interval(difference, cells)
                text = f"{of.mean:+.2f} [{of.low:+.2f}, {of.high:+.2f}]"
                lines.append([lead, other, str(len(cells)), *map(str, counts), text])
    return markdown(head, lines)


def by_problem(curves: Curves) -> str:
    """Mean regret on each problem after `main_budget` trials, the lowest in bold; without incomplete optimisers."""
    _, cut = stages(curves)[0]
    table = at(cut, main_budget(cut))
    names = sorted(table)
    cells = common(table, names)
    lines = []
    for problem in dict.fromkeys(problem for problem, _ in cells):
        means = [np.mean([table[name][cell] for cell in cells if cell[0] == problem]) for name in names]
        texts = [f"{mean:.3f}" for mean in means]
        lines.append(
            [problem, *(f"**{text}**" if mean <= min(means) else text for text, mean in zip(texts, means, strict=True))]
        )
    return markdown(["problem", *names], lines)


def serial_rows(rows: Rows, optimiser: str) -> list[Row]:
    """The rows of an optimiser with one worker."""
    return [row for row in rows.values() if row.optimiser == optimiser and row.workers == 1]


def cpu_ms(rows: Rows, optimiser: str) -> float:
    """Mean CPU time of the optimiser itself for each trial, in milliseconds."""
    return 1e3 * float(np.mean([row.seconds / len(row.values) for row in serial_rows(rows, optimiser)]))


def runs(rows: Rows) -> str:
    """Versions, numbers of runs, and the CPU time of each optimiser itself."""
    lines = []
    for name in sorted({row.optimiser for row in rows.values() if row.workers == 1} - {SCALE}):
        mine = serial_rows(rows, name)
        lengths = Counter(len(row.values) for row in mine)
        lines.append(
            [
                name,
                "/".join(sorted({row.version for row in mine})),
                str(len({row.problem for row in mine})),
                str(len(mine)),
                ", ".join(map(str, sorted(lengths))),
                f"{cpu_ms(rows, name):.1f}",
            ]
        )
    return markdown(["optimiser", "version", "problems", "runs", "trials", "CPU ms a trial"], lines)


# --- several workers, and time ---------------------------------------------------------------------------


def parallel(rows: Rows) -> str:
    """Number of trials that several workers need to reach the regret of one worker after `SERIAL_TRIALS`."""
    lines = []
    serial = regrets(rows)
    for workers in sorted({row.workers for row in rows.values()} - {1}):
        several = regrets(rows, workers)
        for name in sorted(several):
            cells = sorted(several[name].keys() & serial.get(name, {}).keys())
            if not cells:
                continue
            one = np.mean([serial[name][cell][:60] for cell in cells], axis=0)
            many = np.mean([several[name][cell][:60] for cell in cells], axis=0)
            target = float(one[SERIAL_TRIALS - 1])
            need = trials_to(many, target)
            lines.append(
                [
                    name,
                    str(workers),
                    str(len(cells)),
                    f"{target:.3f}",
                    f"{float(many[SERIAL_TRIALS - 1]):.3f}",
                    "more than 60" if need is None else str(need),
                ]
            )
    head = [
        "optimiser",
        "workers",
        "runs",
        f"serial regret at {SERIAL_TRIALS}",
        "with the workers",
        "trials to get there",
    ]
    return markdown(head, lines)


def speed(path: Path) -> str:
    """CPU milliseconds of a suggestion and peak memory against the number of known trials."""
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    counts = sorted({int(cells["trials"]) for cells in found})
    of = {(cells["optimiser"], int(cells["trials"])): cells for cells in found}
    lines = []
    for name in dict.fromkeys(cells["optimiser"] for cells in found):
        mine = [of.get((name, count)) for count in counts]
        times = [cells["cpu_ms"] if cells else "–" for cells in mine]
        lines.append([name, *times, *(cells["peak_mb"] if cells else "–" for cells in mine)])
    head = ["optimiser", *(f"ms, n = {count}" for count in counts), *(f"MB, n = {count}" for count in counts)]
    return markdown(head, lines)


# --- all tables ------------------------------------------------------------------------------------------


def blocks(rows: Rows, speeds: Path | None) -> dict[str, str]:
    """Every table by the name of its marker in the pages."""
    curves = regrets(rows)
    found = {
        "summary": summary(rows, curves),
        "runs": runs(rows),
        "all": everyone(curves),
        "head to head": head_to_head(curves),
        "families": by_family(rows, curves),
        "partial": partial_boards(curves),
        "problems": by_problem(curves),
    }
    if any(row.workers > 1 for row in rows.values()):
        found["parallel"] = parallel(rows)
    if speeds:
        found["speed"] = speed(speeds)
    return found


def tables(rows: Rows, speeds: Path | None = None) -> str:
    """All tables, one below the other; a sentence if there are no runs that they could compare."""
    if not regrets(rows):
        return "There are no tables yet: they compare runs with one worker, and there are none."
    return "\n\n".join(f"## {name}\n\n{text}" for name, text in blocks(rows, speeds).items())


def fill(page: Path, found: dict[str, str]) -> None:
    """Insert each table between ``<!-- table: NAME -->`` and ``<!-- end -->``."""

    def filled(match: re.Match[str]) -> str:
        if match[2] not in found:
            raise SystemExit(f"{page} has a table {match[2]!r}, but there are no runs or measurements for it.")
        return f"{match[1]}\n\n{found[match[2]]}\n\n<!-- end -->"

    place = re.compile(r"(<!-- table: ([\w ]+) -->).*?<!-- end -->", re.DOTALL)
    page.write_text(place.sub(filled, page.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, help="the file written by run.py")
    parser.add_argument("--speed", type=Path, help="the file written by speed.py")
    parser.add_argument("--page", type=Path, nargs="+", help="the pages whose tables to replace")
    parser.add_argument("--plots", type=Path, help="the folder to write plots to (needs matplotlib)")
    parser.add_argument("--pack", type=Path, help="write the rows, sorted and compressed, to this .csv.gz")
    options = parser.parse_args()
    rows = read(options.rows)
    if not regrets(rows):
        parser.error(f"{options.rows} holds no runs with one worker: give the file written by run.py.")
    if options.pack:
        write(options.pack, rows)
    if options.plots:
        from plots import draw

        draw(rows, regrets(rows), options.speed, options.plots)
    if options.page:
        found = blocks(rows, options.speed)
        for page in options.page:
            fill(page, found)
    else:
        print(tables(rows, options.speed))


if __name__ == "__main__":
    main()
