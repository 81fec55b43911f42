"""The alarm goes off for a scale that stays near zero, and for nothing else."""

import numpy as np

from dare.training.monitor import PATIENCE, ScaleAlarm


def test_it_goes_off_after_200_low_scales_in_a_row() -> None:
    alarm = ScaleAlarm()
    assert not alarm.collapsed(np.array([10.0, 10.0])).any()
    for _ in range(PATIENCE - 1):
        assert not alarm.collapsed(np.array([0.49, 10.0])).any()
    assert alarm.collapsed(np.array([0.49, 10.0])).tolist() == [True, False]


def test_one_scale_above_five_percent_starts_the_count_anew() -> None:
    alarm = ScaleAlarm()
    alarm.collapsed(np.array([10.0]))
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            assert not alarm.collapsed(np.array([0.1])).any()
        assert not alarm.collapsed(np.array([0.6])).any()


def test_a_scale_that_falls_to_a_tenth_and_stays_is_no_collapse() -> None:
    alarm = ScaleAlarm()
    assert not any(alarm.collapsed(np.array([scale])).any() for scale in [10.0] + 2000 * [1.0])
