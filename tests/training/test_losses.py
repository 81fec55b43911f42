"""Losses against slow loops and the terms made of them against their formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dare.datasets import UNKNOWN
from dare.images.preparation import Preparation
from dare.models.checkpoints import Architecture
from dare.training.batches import Batch
from dare.training.config import TrainConfig, parse_terms
from dare.training.losses import (
    Classifiers,
    batch_hard,
    build_objective,
    identity_loss,
    median_distance,
    pairwise_distances,
    space_losses,
    teacher_losses,
    triplet_losses,
)


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


PEOPLE = torch.tensor([4, 4, 9, 9, 2, 2, UNKNOWN, UNKNOWN])
CONFIG = TrainConfig(
    architecture=Architecture("tiny", hidden_dim=8, embedding_dim=6, unit=True),
    weights=None,
    preparation=Preparation(32, 16),
)


def unit_vectors(*shape: int, seed: int = 5) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_triplets_are_of_labelled_pictures_at_their_scale() -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, margin=0.5)
    model = config.architecture.build().eval()
    images = torch.randn(8, 3, 32, 16)
    found = build_objective(config, model, PEOPLE.numpy())(model, Batch(images, PEOPLE), 0)
    wanted = [batch_hard(8 * vectors[:6], PEOPLE[:6], 0.5) for vectors in model(images).all()]
    torch.testing.assert_close(found.each, torch.stack(wanted), rtol=1e-4, atol=1e-5)


def test_identities_are_smoothed_and_behind_a_batch_norm_of_their_own() -> None:
    torch.manual_seed(1)
    term, vectors = Classifiers(3, 6, np.array([2, 4, 9])), unit_vectors(3, 6, 6)
    found = term(vectors, PEOPLE[:6])
    for number in range(3):
        shown = vectors[number]
        norm = (shown - shown.mean(0)) / (shown.var(0, unbiased=False) + 1e-5).sqrt()
        scores = norm @ term.classifiers[number][1].weight.T  # type: ignore[index]
        total = 0.0
        for row, label in zip(scores.log_softmax(1), (1, 1, 2, 2, 0, 0), strict=True):
            wanted = [0.1 / 3 + (0.9 if place == label else 0.0) for place in range(3)]
            total -= sum(share * value.item() for share, value in zip(wanted, row, strict=True))
        assert found[number].item() == pytest.approx(total / 6, rel=1e-4)


def test_the_teacher_is_followed_by_every_picture_and_by_their_similarities() -> None:
    targets, vectors = unit_vectors(8, 6), unit_vectors(3, 8, 6, seed=0)
    for own, found in zip(vectors, teacher_losses(vectors, targets).tolist(), strict=True):
        away = sum(1 - float(own[i] @ targets[i]) for i in range(8)) / 8
        pairs = sum((float(own[i] @ own[j]) - float(targets[i] @ targets[j])) ** 2 for i in range(8) for j in range(8))
        assert found == pytest.approx(away + 2 * pairs / 64, rel=1e-4)


def test_a_space_pulls_early_vectors_to_the_last_and_not_the_last_to_them() -> None:
    vectors = unit_vectors(3, 8, 6).requires_grad_()
    found = space_losses(vectors)
    wanted = [1 - (vectors[n] * vectors[2]).sum(1).mean() for n in range(3)]
    torch.testing.assert_close(found, torch.stack(wanted), atol=1e-6, rtol=0)
    found.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad[:2].abs().amin(0).amax() > 1e-3
    assert vectors.grad[2].abs().max() < 1e-6


@pytest.mark.parametrize("deep", [True, False])
def test_an_objective_is_the_weighted_sum_of_its_terms(deep: bool) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, terms=(("triplet", 0.5), ("teacher", 6.0)), deep_supervision=deep)
    model = config.architecture.build()
    objective = build_objective(config, model, np.array([2, 4, 9, UNKNOWN]))
    assert objective.names[0] == "stage 1"
    assert objective.names[-1] == "teacher fusion"
    losses = objective(model.eval(), Batch(torch.randn(8, 3, 32, 16), PEOPLE, unit_vectors(8, 6)), 0)
    triplet, teacher = losses.each[:5], losses.each[5:]
    wanted = 0.5 * triplet.sum() + 6 * teacher.sum() if deep else 0.5 * triplet[-1] + 6 * teacher[-1]
    torch.testing.assert_close(losses.total, wanted)


def test_unit_vectors_have_length_one_and_their_fusion_too() -> None:
    torch.manual_seed(0)
    model = CONFIG.architecture.build().eval()
    found = model(torch.randn(3, 3, 32, 16))
    torch.testing.assert_close(found.all().norm(dim=2), torch.ones(5, 3))
    mean = found.stages.mean(0)  # fusion starts with equal weights
    torch.testing.assert_close(found.fused, mean / mean.norm(dim=1, keepdim=True))


def test_terms_are_read_and_refused_by_name() -> None:
    assert parse_terms("triplet, teacher=6") == (("triplet", 1.0), ("teacher", 6.0))
    with pytest.raises(ValueError, match=r"triplet=1,teacher=6, got 'triplet=much'"):
        parse_terms("triplet=much")
    for terms, reason in (
        ((), "at least 1 item"),
        ((("triplets", 1.0),), "'triplet', 'identity', 'teacher' or 'space'"),
        ((("triplet", 1.0), ("triplet", 2.0)), "expected each term once, got triplet, triplet"),
        ((("triplet", math.nan),), "finite number"),
        ((("triplet", 0.0),), "greater than 0"),
    ):
        with pytest.raises(ValueError, match=reason):
            replace(CONFIG, terms=terms)
    with pytest.raises(ValueError, match="add one, or set space to own"):
        replace(CONFIG, space="shared")
    with pytest.raises(ValueError, match="leave terms out"):
        replace(CONFIG, architecture=Architecture("tiny", network="trinet"), terms=(("space", 1.0),))
