"""Training images per second on one thread, beside an older commit and torchreid's loop.

    python bench/training.py COMMIT [--networks slim lite0 resnet50] [--rounds 7] [--torchreid SITE]

Each contestant is a separate process that waits for its turn before every iteration, so all are timed in the same
minutes; the first iterations, which prepare kernels, are not counted. Medians of CPU time and wall time are printed; on
a busy machine use the CPU time. COMMIT, or a folder with a package `dare`, is the code to compare with; both train
preset `paper` (slim: preset `slim`) on drawn people, in the precision they choose. torchreid trains the same network on
the same files with its ImageTripletEngine, its own transforms and Adam, softmax and triplet loss on the last vector.
`pip install torchreid` installs none of its dependencies (opencv-python-headless, gdown), so it may be in a separate
folder, SITE.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

OWN = Path(__file__).parents[1] / "src"
NETWORKS = {  # trunk, height, width, people in a batch (four images of each)
    "slim": ("slim", 128, 64, 18),
    "lite0": ("timm/efficientnet_lite0", 256, 128, 8),
    "resnet50": ("resnet50", 256, 128, 4),
}
IMAGES = 4
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", metavar="COMMIT")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torchreid", type=Path, metavar="SITE")
    parser.add_argument("--turn", nargs=2, help=argparse.SUPPRESS)  # contestant, data: this is one of the processes
    options = parser.parse_args()
    if options.turn:
        take_turns(*options.turn, options.networks[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        before = source_of(options.before, Path(folder) / "before")
        data = Path(folder) / "data"
        from dare.synthetic import Knobs, draw_benchmark

        draw_benchmark(data, knobs=Knobs(train_people=20, test_people=2))
        for network in options.networks:
            contestants = [Contestant("before", [before], data, network), Contestant("now", [OWN], data, network)]
            if options.torchreid or found("torchreid"):
                # At the end: what it brings along must not stand in for what is installed.
                contestants.append(Contestant("torchreid", [OWN], data, network, options.torchreid))
            report(network, contestants, options.rounds)


class Contestant:
    """A process that trains one iteration on request.

    Args:
        sources: where the package `dare` is.
        site: where torchreid is, if not installed.
    """

    def __init__(self, name: str, sources: list[Path], data: Path, network: str, site: Path | None = None) -> None:
        self.name = name
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, sources)),
            "OMP_NUM_THREADS": "1",
            "TORCHREID_SITE": str(site or ""),
        }
        command = [sys.executable, __file__, "-", "--networks", network, "--turn", name, str(data)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.times: list[tuple[float, float]] = []

    def iterate(self) -> tuple[float, float]:
        """CPU and wall seconds of the next iteration."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with exit status {self._process.wait()}; see above")
        cpu, clock = line.split()
        return float(cpu), float(clock)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def report(network: str, contestants: list[Contestant], rounds: int) -> None:
    trunk, height, width, people = NETWORKS[network]
    batch = people * IMAGES
    for number in range(WARM_UP + rounds):
        for contestant in contestants:
            seconds = contestant.iterate()
            if number >= WARM_UP:
                contestant.times.append(seconds)
    print(f"\n{network} ({trunk}) at {height}x{width}, batches of {batch}, medians of {rounds} iterations in turn")
    medians = {one.name: [statistics.median(each) for each in zip(*one.times, strict=True)] for one in contestants}
    for name, (cpu, clock) in medians.items():
        print(
            f"  {name:9} {batch / cpu:6.1f} images per second of processor ({1000 * cpu / batch:5.1f} ms each), "
            f"{batch / clock:6.1f} by the clock; now is {cpu / medians['now'][0]:.2f} and "
            f"{clock / medians['now'][1]:.2f} times as fast"
        )
    for contestant in contestants:
        contestant.end()


def source_of(before: str, folder: Path) -> Path:
    """The sources of a commit, or the folder itself."""
    if Path(before, "dare").is_dir():
        return Path(before)
    folder.mkdir()
    archive = subprocess.run(["git", "archive", before, "src"], cwd=OWN.parent, stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder / "src"


def found(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def take_turns(contestant: str, data: str, network: str) -> None:
    """Train; before every iteration wait for a line, afterwards print its times."""
    import torch

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    last: list[tuple[float, float]] = []

    def tick() -> None:
        if last:
            cpu, clock = last.pop()
            print(time.process_time() - cpu, time.perf_counter() - clock, file=answers, flush=True)
        if not sys.stdin.readline():
            raise SystemExit
        last.append((time.process_time(), time.perf_counter()))

    (by_torchreid if contestant == "torchreid" else by_dare)(network, Path(data), tick)


def by_dare(network: str, data: Path, tick: Callable[[], None]) -> None:
    from dare.datasets import open_benchmark

    try:
        from dare.training.presets import PRESETS, configure
    except ModuleNotFoundError:  # an older commit's
        from dare.training.config import PRESETS, configure  # type: ignore[no-redef,attr-defined]
    from dare.training.train import train

    trunk, height, width, people = NETWORKS[network]
    settings = {"backbone": trunk, "height": height, "width": width, "people": people, "images": IMAGES}
    config = configure(PRESETS["slim" if network == "slim" else "paper"], settings | {"weights": "none"})
    tick()
    with tempfile.TemporaryDirectory() as run:
        train(
            open_benchmark(data).train,
            run,
            replace(config, save_every=10**6),
            on_progress=lambda now: tick() if now.phase == "training" else None,
        )


def by_torchreid(network: str, data: Path, tick: Callable[[], None]) -> None:
    sys.path.append(os.environ["TORCHREID_SITE"])
    import torch
    from torchreid.reid.data.transforms import build_transforms
    from torchreid.reid.engine import ImageTripletEngine

    from dare.datasets import open_benchmark
    from dare.models.backbones import build_backbone
    from dare.models.dare import DaRe
    from dare.training.batches import IdentityBatches

    trunk, height, width, people = NETWORKS[network]
    samples = open_benchmark(data).train
    labels = {person: number for number, person in enumerate(sorted({sample.person for sample in samples}))}
    transform, _ = build_transforms(height, width, ["random_flip", "random_crop", "random_erase"])

    class Model(torch.nn.Module):
        """The same network, with the classifier that torchreid's engine needs."""

        def __init__(self) -> None:
            super().__init__()
            hidden = 256 if network == "slim" else 1024
            self.network = DaRe(build_backbone(trunk), hidden_dim=hidden)
            self.classifier = torch.nn.Linear(128, len(labels))

        def forward(self, images: Any) -> Any:
            vectors = self.network(images).all()[-1]
            return self.classifier(vectors), vectors

    class Dataset(torch.utils.data.Dataset[dict[str, Any]]):
        def __getitem__(self, row: int) -> dict[str, Any]:
            from PIL import Image

            sample = samples[row]
            return {"img": transform(Image.open(sample.images[0]).convert("RGB")), "pid": labels[sample.person]}

    batches = IdentityBatches([sample.person for sample in samples], people, IMAGES, 0)

    class Data:
        train_loader = torch.utils.data.DataLoader(Dataset(), batch_sampler=[batches[n] for n in range(1000)])
        test_loader, num_train_pids = None, len(labels)

    class Engine(ImageTripletEngine):  # type: ignore[misc]
        def forward_backward(self, batch: Any) -> Any:
            summary = super().forward_backward(batch)
            tick()
            return summary

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, weight_decay=5e-4)
    engine = Engine(Data(), model, optimizer, use_gpu=False)
    engine.max_epoch = 1
    tick()
    engine.train(print_freq=10**6)


if __name__ == "__main__":
    main()
