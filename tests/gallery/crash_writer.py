"""Changes a gallery until it is killed, says after each change that it is done; and what there must be afterwards.

    python tests/gallery/crash_writer.py GALLERY FIRST FORGET_EVERY
    python tests/gallery/crash_writer.py --kills 200    # starts and kills such writers, and checks everything each time

The changes are numbered, and a number tells all about one: whoever knows the last one that was done knows what the
gallery holds.
"""

import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dare.gallery.care import verify
from dare.gallery.entry import Entry
from dare.gallery.opening import create_gallery, open_gallery
from dare.gallery.store import Gallery

DIMENSIONS = (16, 8)
BATCH, PEOPLE = 40, 12
SECONDS_AFTER = 0.05
KILLS_PER_GALLERY, FORGET_EVERY = 20, (11, 3)

State = dict[str, tuple[Entry, tuple[bytes, ...]]]


def create(path: Path) -> None:
    create_gallery(path, model="a" * 64, dimensions=DIMENSIONS).close()


def change(gallery: Gallery, number: int, forget_every: int) -> None:
    if number % forget_every == forget_every - 1:
        gallery.forget(people=[number % PEOPLE])
    elif number % 5 == 4:
        gallery.remove(removed(number))
    else:
        gallery.add(*added(number))


def expected(before: State, number: int, forget_every: int) -> State:
    """What there is after a change."""
    if number % forget_every == forget_every - 1:
        return {id: value for id, value in before.items() if value[0].person != number % PEOPLE}
    if number % 5 == 4:
        gone = set(removed(number))
        return {id: value for id, value in before.items() if id not in gone}
    vectors, entries = added(number)
    new = {entry.id: (entry, tuple(rows[place].tobytes() for rows in vectors)) for place, entry in enumerate(entries)}
    return {id: value for id, value in before.items() if id not in new} | new


def added(number: int) -> tuple[list[np.ndarray], list[Entry]]:
    """Every third time half of the entries replace those of the change before."""
    numbers = np.random.default_rng(number)
    vectors = [numbers.normal(size=(BATCH, size)).astype(np.float32) for size in DIMENSIONS]
    first = BATCH * number - (BATCH // 2 if number % 3 == 0 else 0)
    places = range(first, first + BATCH)
    return vectors, [
        Entry(f"id {place}", place % PEOPLE, number % 6, float(number), f"{number}.jpg") for place in places
    ]


def removed(number: int) -> list[str]:
    return [f"id {place}" for place in range(BATCH * (number - 2), BATCH * (number - 2) + BATCH // 2)]


def kill_writer(path: Path, first: int, forget_every: int, seed: int) -> int:
    """Let a process make changes, kill it at a random time after some; returns the last one it said was done."""
    chance = random.Random(seed)
    command = [sys.executable, __file__, str(path), str(first), str(forget_every)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        done = first - 1
        for _ in range(chance.randint(0, 12)):
            done = int(writer.stdout.readline())
        time.sleep(chance.uniform(0, SECONDS_AFTER))
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout:
            if line.endswith("\n"):
                done = int(line)
    return done


def state_after(path: Path, before: State, first: int, done: int, forget_every: int) -> tuple[State, int]:
    """What a gallery holds after the changes from `first` on, of which `done` is the last that was said to be done.

    The next one may be done too, nothing else. Returns that and the number of the change that comes next.
    """
    for number in range(first, done + 1):
        before = expected(before, number, forget_every)
    after = expected(before, done + 1, forget_every)
    assert verify(path).problems == ()
    gallery = open_gallery(path)
    try:
        if holds(gallery, before):
            return before, done + 1
        assert holds(gallery, after), f"after change {done} the gallery is neither before nor after the next one"
        return after, done + 2
    finally:
        gallery.close()


def holds(gallery: Gallery, state: State) -> bool:
    """Whether a gallery's entries and vectors are these, in this order."""
    if gallery.count() != len(state) or gallery.get(state) != {id: entry for id, (entry, _) in state.items()}:
        return False
    return all(
        gallery.vectors(exit).tobytes() == b"".join(vectors[exit] for _, vectors in state.values())
        for exit in range(len(DIMENSIONS))
    )


def kill_often(folder: Path, kills: int) -> None:
    changes = entries = first = 0
    state: State = {}
    for number in range(kills):
        forget_every = FORGET_EVERY[number // KILLS_PER_GALLERY % len(FORGET_EVERY)]
        path = folder / f"{number // KILLS_PER_GALLERY}"
        if number % KILLS_PER_GALLERY == 0:
            create(path)
            state, first = {}, 0
        done = kill_writer(path, first, forget_every, seed=number)
        before, (state, first) = first, state_after(path, state, first, done, forget_every)
        changes += first - before
        entries += len(state)
        if (number + 1) % 10 == 0:
            print(f"{number + 1} kills, {changes} changes, {entries} entries compared", flush=True)
    print(f"{kills} kills: nothing lost, nothing torn, nothing twice, nothing came back")


def main() -> None:
    if sys.argv[1] == "--kills":
        with tempfile.TemporaryDirectory() as folder:
            kill_often(Path(folder), int(sys.argv[2]))
        return
    gallery = open_gallery(sys.argv[1])
    first, forget_every = int(sys.argv[2]), int(sys.argv[3])
    for number in itertools.count(first):
        change(gallery, number, forget_every)
        print(number, flush=True)


if __name__ == "__main__":
    main()
