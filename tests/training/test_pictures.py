"""Augmentation: crops that fit, mirrors half of the time, erasing as the released code does it."""

import math

import pytest
import torch

from dare.images.preparation import Preparation
from dare.training.pictures import (
    ERASING_TRIES,
    Augmentation,
    _composed,
    _erase,
    _jitter,
    _windows,
    augment,
    picture_size,
)

PREPARATION = Preparation(64, 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NOTHING = Augmentation(erasing=0.0, jitter=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_are_windows_of_the_picture_mirrored_half_of_the_time() -> None:
    rows, columns = torch.meshgrid(torch.arange(72), torch.arange(36), indexing="ij")
    picture = torch.stack([rows, columns, torch.zeros_like(rows)], 2).to(torch.uint8)
    images = (augment(picture.repeat(400, 1, 1, 1), PREPARATION, NOTHING, generator()) * 255).round()
    down, across = images[:, 0], images[:, 1]
    assert (down.diff(dim=1) == 1).all()
    step = across.diff(dim=2)
    mirrored = step[:, 0, 0] == -1
    assert (step == torch.where(mirrored, -1, 1)[:, None, None]).all()
    assert 0.4 < mirrored.float().mean() < 0.6
    assert set(down[:, 0, 0].int().tolist()) == set(range(9))
    assert set(across.amin((1, 2)).int().tolist()) == set(range(5))


def test_without_enlargement_pictures_are_shifted_and_their_edges_repeated() -> None:
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(32), indexing="ij")
    picture = torch.stack([rows, columns, torch.zeros_like(rows)], 2).to(torch.uint8)
    still = Augmentation(enlarge=False, erasing=0.0)
    images = (augment(picture.repeat(400, 1, 1, 1), PREPARATION, still, generator()) * 255).round()
    shifts = set()
    for image in images.to(torch.uint8):
        down, across = image[0, :, 0].int(), image[1, 0].int()
        across = across.flip(0) if across[0] > across[-1] else across
        found = [
            (y, x)
            for y in range(-4, 5)
            for x in range(-2, 3)
            if torch.equal(down, (torch.arange(64) + y).clamp(0, 63).int())
            and torch.equal(across, (torch.arange(32) + x).clamp(0, 31).int())
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) == 45


def test_pictures_are_normalised() -> None:
    picture = torch.full((1, 72, 36, 3), 51, dtype=torch.uint8)
    preparation = Preparation(64, 32, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0))
    image = augment(picture, preparation, NOTHING, generator())
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([0.2, 0.0, -0.05]))


def test_erasing_replaces_rectangles_of_the_right_sizes_by_noise() -> None:
    count, height, width = 2000, 64, 32
    picture = torch.zeros(count, 72, 36, 3, dtype=torch.uint8)
    images = augment(picture, PREPARATION, Augmentation(erasing=0.5), generator())
    erased = (images != 0).all(1)
    touched = erased.any((1, 2))
    assert 0.46 < touched.float().mean() < 0.54
    noise = images.permute(0, 2, 3, 1)[erased]
    assert noise.mean().abs() < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    sizes = []
    for mask in erased[touched]:
        high, wide = int(mask.any(1).sum()), int(mask.any(0).sum())
        assert mask.sum() == high * wide  # one full rectangle
        sizes.append((high, wide))
    areas = [high * wide / (height * width) for high, wide in sizes]
    assert 0.01 < min(areas) < 0.05
    assert 0.18 < max(areas) < 0.22
    # Uniform in (0.02, 0.2) but for the few that don't fit: the mean is close to 0.11.
    assert sum(areas) / len(areas) == pytest.approx(0.11, abs=0.01)
    aspects = [high / wide for high, wide in sizes]
    assert max(aspects) < 3.33 * 1.3
    assert min(aspects) > 0.3 / 1.3
    # Linear, not logarithmic: a logarithmic draw would put half of them below 1.
    assert sum(aspect < 1 for aspect in aspects) / len(aspects) < 0.35


def test_jitter_changes_colours_but_little() -> None:
    picture = torch.full((50, 72, 36, 3), 128, dtype=torch.uint8)
    images = augment(picture, PREPARATION, Augmentation(erasing=0.0, jitter=0.15), generator())
    assert images.min() >= 0.5 * 0.8
    assert images.max() <= 0.51 * 1.2
    assert images[:, 0, 0, 0].std() > 0.01


def test_the_same_generator_gives_the_same_batch() -> None:
    picture = torch.randint(256, (4, 72, 36, 3), dtype=torch.uint8)
    settings = Augmentation(erasing=0.5, jitter=0.15)
    first, second = (augment(picture, PREPARATION, settings, generator(3)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [{"erasing": 1.5}, {"erasing": -0.1}, {"jitter": 1.0}, {"erasing": math.nan}])
def test_chances_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Input should be"):
        Augmentation(**bad)


@pytest.mark.parametrize("enlarge", [True, False])
@pytest.mark.parametrize("jitter", [0.0, 0.15])
def test_what_is_compiled_for_the_cpu_is_what_torch_composes(enlarge: bool, jitter: float) -> None:
    preparation, settings = Preparation(40, 24), Augmentation(enlarge, erasing=0.0, jitter=jitter)
    pictures = torch.randint(
        256, (30, *picture_size(preparation, settings), 3), dtype=torch.uint8, generator=generator()
    )
    compiled = augment(pictures, preparation, settings, generator(1))
    drawn = generator(1)
    windows = _windows(preparation, picture_size(preparation, settings), 30, drawn)
    composed = _composed(pictures, preparation, windows, _jitter(30, jitter, drawn) if jitter else None)
    if jitter:  # the mean is summed in another order
        torch.testing.assert_close(compiled, composed, atol=1e-5, rtol=0)
    else:
        assert torch.equal(compiled, composed)


def test_noise_is_what_a_mask_would_take() -> None:
    """The same values as on devices where rectangles are masks."""
    images = torch.zeros(40, 3, 64, 32)
    erased = _erase(images.clone(), 0.5, generator(2))
    noise_at = erased != 0
    drawn = generator(2)
    for _ in range(2):
        torch.rand(40, ERASING_TRIES, generator=drawn)
    for _ in range(3):
        torch.rand(40, 1, generator=drawn)
    noise = torch.randn(40, 3, 64, 32, generator=drawn)
    assert torch.equal(erased, torch.where(noise_at, noise, images))
