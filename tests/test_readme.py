"""What the README shows works as it stands there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dare import PRESETS
from dare.synthetic import Knobs, draw_benchmark

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_example_runs_and_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    draw_benchmark(tmp_path / "demo" / "data", knobs=Knobs(train_people=6, test_people=4), processes=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "demo", replace(PRESETS["demo"], iterations=3, people=4, images=2))
    exec(compile(example, "README.md", "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "stage", "stage", "fusion"]
    assert (tmp_path / "demo" / "report.html").exists()
