"""Download MovieLens 100k from the wheel of the package recbole. Nothing is installed.

Run it once:   python examples/recommender/download_movielens.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAMES = ("ml-100k.inter", "ml-100k.item")
FOLDER = Path(__file__).parent / "ml-100k"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "recbole==1.2.1", "--no-deps", "--dest", folder]
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"pip could not download the data; its message is above. {sys.executable} needs pip, and PyPI.")
        (wheel,) = Path(folder).glob("recbole-*.whl")
        FOLDER.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name in NAMES:
                (FOLDER / name).write_bytes(archive.read(f"recbole/dataset_example/ml-100k/{name}"))
    print(f"{', '.join(NAMES)} are in {FOLDER}.")


if __name__ == "__main__":
    main()
