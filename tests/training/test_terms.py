"""What a training is a sum of: each term against a loop of its formula, on every embedding."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dare.datasets import UNKNOWN
from dare.images.reading import Preparation
from dare.models.checkpoints import Architecture
from dare.training.config import TrainConfig, parse_terms
from dare.training.losses import batch_hard, pairwise_distances
from dare.training.objectives import Batch, build_objective
from dare.training.terms import Embedded, Identity, Space, Teacher, Triplet

PEOPLE = torch.tensor([4, 4, 9, 9, 2, 2, UNKNOWN, UNKNOWN])
CONFIG = TrainConfig(
    architecture=Architecture("tiny", hidden_dim=8, embedding_dim=6, unit=True),
    weights=None,
    preparation=Preparation(32, 16),
)


def embedded(seed: int = 0, targets: Tensor | None = None) -> Embedded:
    torch.manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.randn(3, 8, 6), dim=2)
    return Embedded(vectors, pairwise_distances(vectors), PEOPLE, targets, 0)


def unit_targets() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(8, 6, generator=torch.Generator().manual_seed(5)), dim=1)


def test_triplets_are_of_labelled_pictures_at_their_scale() -> None:
    batch = embedded()
    found = Triplet(8.0, 0.5, lambda iteration: 1.0)(batch)
    wanted = [batch_hard(8 * vectors[:6], PEOPLE[:6], 0.5) for vectors in batch.vectors]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-4, atol=1e-5)


def test_identities_are_smoothed_and_behind_a_batch_norm_of_their_own() -> None:
    torch.manual_seed(1)
    term, batch = Identity(3, 6, np.array([2, 4, 9])), embedded()
    found = term(batch)
    for number in range(3):
        shown = batch.vectors[number, :6]
        norm = (shown - shown.mean(0)) / (shown.var(0, unbiased=False) + 1e-5).sqrt()
        scores = norm @ term.classifiers[number][1].weight.T
        total = 0.0
        for row, label in zip(scores.log_softmax(1), (1, 1, 2, 2, 0, 0), strict=True):
            wanted = [0.1 / 3 + (0.9 if place == label else 0.0) for place in range(3)]
            total -= sum(share * value.item() for share, value in zip(wanted, row, strict=True))
        assert found[number].item() == pytest.approx(total / 6, rel=1e-4)


def test_the_teacher_is_followed_by_every_picture_and_by_their_similarities() -> None:
    targets = unit_targets()
    batch = embedded(targets=targets)
    for number, found in enumerate(Teacher()(batch).tolist()):
        own = batch.vectors[number]
        away = sum(1 - float(own[i] @ targets[i]) for i in range(8)) / 8
        pairs = sum((float(own[i] @ own[j]) - float(targets[i] @ targets[j])) ** 2 for i in range(8) for j in range(8))
        assert found == pytest.approx(away + 2 * pairs / 64, rel=1e-4)


def test_a_space_pulls_early_vectors_to_the_last_and_not_the_last_to_them() -> None:
    batch = embedded()
    vectors = batch.vectors.clone().requires_grad_()
    found = Space()(replace(batch, vectors=vectors))
    wanted = [1 - (batch.vectors[n] * batch.vectors[2]).sum(1).mean() for n in range(3)]
    torch.testing.assert_close(found.detach(), torch.stack(wanted), atol=1e-6, rtol=0)
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
    losses = objective(model.eval(), Batch(torch.randn(8, 3, 32, 16), PEOPLE, unit_targets()), 0)
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
    for terms in ((), (("triplets", 1.0),), (("triplet", 1.0), ("triplet", 2.0))):
        with pytest.raises(ValueError, match="triplet, identity, teacher, space, each once"):
            replace(CONFIG, terms=terms)
    with pytest.raises(ValueError, match="must be positive"):
        replace(CONFIG, terms=(("triplet", math.nan),))
    with pytest.raises(ValueError, match="add one, or set space to own"):
        replace(CONFIG, space="shared")
    with pytest.raises(ValueError, match="leave terms out"):
        replace(CONFIG, architecture=Architecture("tiny", network="trinet"), terms=(("space", 1.0),))
