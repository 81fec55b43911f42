"""The triplet loss against a slow version, and its edges: twins, one image, one person."""

import math

import pytest
import torch
from torch import Tensor

from dare.training.losses import batch_hard, identity_loss, median_distance, pairwise_distances, triplet_losses


def slow_batch_hard(embeddings: Tensor, people: list[int], margin: float = 0.0) -> float:
    total = 0.0
    for i, anchor in enumerate(embeddings):
        distances = [math.sqrt(float((anchor - other).square().sum()) + 1e-8) for other in embeddings]
        friend = max(d for d, person in zip(distances, people, strict=True) if person == people[i])
        stranger = min(d for d, person in zip(distances, people, strict=True) if person != people[i])
        total += math.log1p(math.exp(margin + friend - stranger))
    return total / len(embeddings)


@pytest.mark.parametrize("margin", [0.0, 2.0])
@pytest.mark.parametrize("people", [[1, 1, 2, 2, 3, 3], [1, 2, 2, 2, 2, 2], [5, 6, 7, 8, 9, 9]])
def test_batch_hard_is_equation_2(people: list[int], margin: float) -> None:
    embeddings = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = batch_hard(embeddings, torch.tensor(people), margin)
    assert loss.item() == pytest.approx(slow_batch_hard(embeddings, people, margin), rel=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e-4, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_loss_and_gradient_are_never_nan(scale: float, offset: float) -> None:
    """Far from the origin, float32 makes squared distances of twins negative."""
    embeddings = torch.randn(12, 16, generator=torch.Generator().manual_seed(0)) * scale + offset
    embeddings[1] = embeddings[0]
    embeddings.requires_grad_()
    loss = batch_hard(embeddings, torch.arange(12) // 4)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(embeddings.grad).all()  # type: ignore[arg-type]


def test_one_person_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least two people"):
        batch_hard(torch.randn(4, 8), torch.zeros(4))


def test_every_exit_has_its_own_loss() -> None:
    embeddings = torch.randn(5, 8, 16)
    people = torch.arange(8) // 2
    losses = triplet_losses(pairwise_distances(embeddings), people)
    expected = torch.stack([batch_hard(vectors, people) for vectors in embeddings])
    torch.testing.assert_close(losses, expected)


def test_easing_in_starts_at_the_mean_friend_and_stranger() -> None:
    distances = pairwise_distances(torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0)))
    people = torch.tensor([1, 1, 1, 2, 2, 2])
    expected = 0.0
    for i in range(6):
        friends = [float(distances[0, i, j]) for j in range(6) if people[i] == people[j] and i != j]
        strangers = [float(distances[0, i, j]) for j in range(6) if people[i] != people[j]]
        expected += math.log1p(math.exp(sum(friends) / 2 - sum(strangers) / 3)) / 6
    assert triplet_losses(distances, people, hardness=0.0).item() == pytest.approx(expected, rel=1e-4)
    hard = triplet_losses(distances, people).item()
    assert expected < triplet_losses(distances, people, hardness=0.5).item() < hard


def test_easing_in_copes_with_people_of_one_image() -> None:
    distances = pairwise_distances(torch.randn(1, 3, 8))
    assert torch.isfinite(triplet_losses(distances, torch.arange(3), hardness=0.0)).all()


def test_the_scale_is_the_median_distance_of_different_pictures() -> None:
    points = torch.tensor([[[0.0], [1.0], [4.0]]])  # distances 1, 3, 4
    assert median_distance(pairwise_distances(points)).item() == pytest.approx(3.0)


def test_the_identity_loss_is_cross_entropy_and_even_over_everybody_for_pictures_of_nobody() -> None:
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = [2, -1, 0, -1, 3]
    total = 0.0
    for row, own in zip(scores.tolist(), classes, strict=True):
        shares = [math.exp(score) / sum(map(math.exp, row)) for score in row]
        total -= math.log(shares[own]) if own >= 0 else sum(map(math.log, shares)) / 4
    assert identity_loss(scores, torch.tensor(classes)).item() == pytest.approx(total / 5, rel=1e-5)
    known = torch.tensor([2, 1, 0, 1, 3])
    torch.testing.assert_close(identity_loss(scores, known), torch.nn.functional.cross_entropy(scores.float(), known))
