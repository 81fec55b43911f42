"""The triplet loss on each embedding's hardest friend and stranger, and its sum over the exits."""

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8
"""Added to squared distances under the root, as in the released code: the root's slope stays finite."""


def batch_hard(embeddings: Tensor, people: Tensor, margin: float = 0.0) -> Tensor:
    """Soft-margin triplet loss on each anchor's farthest friend and nearest stranger.

    An anchor is its own friend, so people with one image are allowed. Never NaN for finite embeddings.

    Args:
        embeddings: (B, D).
        people: (B,), person labels; at least two people.
        margin: added to the difference of distances before the softplus.

    Source: Hermans et al., "In Defense of the Triplet Loss", 2017, equation 5; paper, equation 2.
    """
    return triplet_losses(pairwise_distances(embeddings[None]), people, margin)[0]


def pairwise_distances(embeddings: Tensor) -> Tensor:
    """Euclidean distances in float32, (E, B, D) -> (E, B, B)."""
    embeddings = embeddings.float()
    squares = embeddings.square().sum(2)
    squared = squares[:, :, None] + squares[:, None, :] - 2 * embeddings @ embeddings.transpose(1, 2)
    # Rounding makes the squared distance of near twins negative, and its root NaN, unless clamped first.
    return (squared.clamp_min(0) + EPSILON).sqrt()


def triplet_losses(distances: Tensor, people: Tensor, margin: float = 0.0, hardness: float = 1.0) -> Tensor:
    """The loss of each exit, the mean over its anchors.

    Args:
        distances: (E, B, B).
        people: (B,).
        hardness: 1 takes the farthest friend and the nearest stranger, 0 the mean friend and stranger, values
            between mix the two distances: a way to ease mining in when training starts from random weights.

    Returns:
        (E,).
    """
    same = people[:, None] == people
    if bool(same.all()):
        raise ValueError("a batch needs at least two people, got one; without strangers there is no triplet")
    friend = distances.masked_fill(~same, -torch.inf).amax(2)
    stranger = distances.masked_fill(same, torch.inf).amin(2)
    if hardness < 1:
        friends = same.sum(1)
        mean_friend = (distances * same).sum(2) / (friends - 1).clamp_min(1)  # oneself, at 0, is no friend
        mean_stranger = (distances * ~same).sum(2) / (len(people) - friends)
        friend = torch.lerp(mean_friend, friend, hardness)
        stranger = torch.lerp(mean_stranger, stranger, hardness)
    return F.softplus(margin + friend - stranger).mean(1)


def median_distance(distances: Tensor) -> Tensor:
    """The scale of each exit's embeddings: the median distance of two different pictures, (E, B, B) -> (E,)."""
    above = torch.triu_indices(distances.shape[1], distances.shape[1], 1, device=distances.device)
    return distances[:, above[0], above[1]].median(1).values
