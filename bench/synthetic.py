"""How many images of a synthetic benchmark one core draws and writes per second."""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

from dare.synthetic import SIZES, draw_benchmark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=40, help="labelled people to draw, about 16 pictures each")
    parser.add_argument("--size", choices=SIZES, default="tiny", help="whose knobs to use")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    half = max(1, arguments.people // 2)
    knobs = dataclasses.replace(SIZES[arguments.size], train_people=half, test_people=half)
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            written = draw_benchmark(Path(folder) / "drawn", knobs=knobs, processes=1)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{written} pictures, per second: {written / cpu:.0f} (CPU time), {written / wall:.0f} (wall time)")


if __name__ == "__main__":
    main()
