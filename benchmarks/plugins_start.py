"""The start-up time of ``hpt plugins`` with 100 plugins installed, ten of them broken.

    python benchmarks/plugins_start.py [repeats]

The plugins are generated in a fresh environment together with this hpt-core. Each is a distribution with an entry
point, a module and a component; of the broken ones, five fail to import, two require another API version, two misspell
a hook and one has a name collision. All commands are run alternately. Shown are medians of wall and processor time in
milliseconds, minus those of the bare interpreter.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distribution
from pathlib import Path

PLUGINS = 100
NEEDED = ("attr", "attrs", "click", "numpy", "numpy.libs", "pluggy")
GOOD = """\
from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers():
    return {{"s{n}": "plugin_{n}_sampler:Sampler"}}
"""
BROKEN = [
    *["import there_is_no_such_module\n"] * 5,
    *["hpt_api_version = 99\n"] * 2,
    *[GOOD.replace("hpt_samplers", "hpt_sampler")] * 2,
    GOOD.replace('"s{n}"', '"s50"'),
]


def make_environment(place: Path) -> Path:
    """Create an environment with hpt-core, its dependencies and the plugins; return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for name in NEEDED:
        (packages / name).symlink_to(Path(str(distribution("numpy").locate_file(name))))
    core = distribution("hpt-core")
    (packages / "hpt_core").symlink_to(Path(__file__).parents[1] / "hpt_core")
    _write_info(packages, "hpt-core", core.version, "".join(f"{p.name} = {p.value}\n" for p in core.entry_points))
    for n in range(PLUGINS):
        source = BROKEN[n] if n < len(BROKEN) else GOOD
        (packages / f"plugin_{n}.py").write_text(source.format(n=n))
        _write_info(packages, f"plugin-{n}", "1.0", f"p{n} = plugin_{n}\n")
    return place / "bin" / "python"


def _write_info(packages: Path, name: str, version: str, points: str) -> None:
    folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    hpt = "".join(line for line in points.splitlines(keepends=True) if not line.startswith("hpt ="))
    (folder / "entry_points.txt").write_text(f"[hpt]\n{hpt}")


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall and processor time of a command in milliseconds."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("HPT_", "PYTHON"))}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, env=known, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * wall, 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main(repeats: int) -> None:
    place = Path(tempfile.mkdtemp(prefix="hpt-start-"))
    try:
        python = str(make_environment(place / "venv"))
        hpt = [python, "-m", "hpt_core"]
        commands = {
            "interpreter": [python, "-c", "pass"],
            "hpt --version": [*hpt, "--version"],
            "hpt plugins": [*hpt, "plugins"],
            "hpt --help": [*hpt, "--help"],
        }
        for command in commands.values():  # compiles the imported modules
            measured(command, place)
        found = [{name: measured(command, place) for name, command in commands.items()} for _ in range(repeats)]
        print(f"{PLUGINS} plugins, {len(BROKEN)} of them broken; beyond the interpreter's own start, ms")
        for name in list(commands)[1:]:
            wall, cpu = (statistics.median(each[name][i] - each["interpreter"][i] for each in found) for i in range(2))
            print(f"{name:16s} wall {wall:6.0f}   processor {cpu:6.0f}")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
