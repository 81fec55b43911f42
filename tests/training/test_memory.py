"""Memory kept between steps: blocks come back without page faults, and go back to the system at the end."""

import os
import subprocess
import sys

import pytest

import dare.training.memory
from dare.training.memory import memory_kept

FAULTS = """
import resource, torch
from dare.training.memory import memory_kept

def faults():
    for turn in range(16):
        if turn == 8:  # the first ones make room
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = torch.ones(16, 1 << 20)  # 64 MB, more than glibc ever keeps
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

torch.set_num_threads(1)
before, usual = resident(), faults()
with memory_kept():
    kept = faults()
print(usual, kept, resident() - before)
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="not glibc")
def test_large_blocks_stay_within_and_go_back_behind() -> None:
    """In a process of its own: what other tests have freed would be found again."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept, grown = map(int, done.stdout.split())
    assert usual > 100
    assert kept < usual / 4
    assert grown < usual / 8  # the pages of one block


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dare.training.memory.os, "confstr_names", {})
    monkeypatch.setattr(dare.training.memory.ctypes, "CDLL", None)
    with memory_kept():
        pass


def test_an_error_within_comes_through() -> None:
    with pytest.raises(ValueError, match="as it was"), memory_kept():
        raise ValueError("as it was")
