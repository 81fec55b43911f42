"""P people, K images of each: who is in a batch, also where there are too few."""

from collections import Counter

import numpy as np
import pytest

from dare.datasets import UNKNOWN
from dare.training.batches import IdentityBatches

PEOPLE = np.repeat(np.arange(100, 110), 6)


def test_a_batch_has_k_images_of_p_people() -> None:
    batches = IdentityBatches(PEOPLE, 3, 4, seed=0)
    for batch in (batches[number] for number in range(batches.per_epoch)):
        people = PEOPLE[batch]
        assert len(batch) == len(set(batch)) == 12
        assert sorted(Counter(people).values()) == [4, 4, 4]
        assert all(len(set(people[start : start + 4])) == 1 for start in (0, 4, 8))


def test_nobody_comes_twice_in_an_epoch_and_the_rest_sits_out() -> None:
    batches = IdentityBatches(PEOPLE, 3, 4, seed=0)
    assert batches.per_epoch == 3
    seen = [person for number in range(3) for person in set(PEOPLE[batches[number]])]
    assert len(seen) == len(set(seen)) == 9


def test_market1501s_epoch_has_41_batches() -> None:
    assert IdentityBatches(np.repeat(np.arange(751), 4), 18, 4, seed=0).per_epoch == 41


def test_exactly_p_people_left_are_a_batch() -> None:
    batches = IdentityBatches(PEOPLE, 5, 4, seed=0)
    assert batches.per_epoch == 2
    assert {*PEOPLE[batches[0]], *PEOPLE[batches[1]]} == set(PEOPLE)


def test_fewer_than_p_people_are_all_in_every_batch() -> None:
    batches = IdentityBatches(PEOPLE[:12], 18, 4, seed=0)
    assert batches.per_epoch == 1
    assert all(set(PEOPLE[batches[number]]) == {100, 101} for number in range(5))


def test_fewer_than_k_images_are_padded_by_repeats_once() -> None:
    people = np.array([1, 1, 1, 1, 1, 2])
    batches = IdentityBatches(people, 2, 4, seed=0)
    for number in range(5):
        batch = batches[number]
        assert sorted(people[batch]) == [1, 1, 1, 1, 2, 2, 2, 2]
        assert len(set(batch[people[batch] == 1])) == 4
    # Person 3 has three pictures: the one that is repeated is the same in every batch.
    people = np.array([1, 1, 1, 1, 3, 3, 3])
    batches = IdentityBatches(people, 2, 4, seed=0)
    doubles = {Counter(batches[number][people[batches[number]] == 3]).most_common(1)[0] for number in range(9)}
    assert len(doubles) == 1


def test_any_batch_can_be_had_alone_and_depends_on_the_seed() -> None:
    batches, again = IdentityBatches(PEOPLE, 3, 4, seed=5), IdentityBatches(PEOPLE, 3, 4, seed=5)
    in_order = [batches[number] for number in range(10)]
    for number in (7, 2, 9, 0):
        np.testing.assert_array_equal(again[number], in_order[number])
    assert any((IdentityBatches(PEOPLE, 3, 4, seed=6)[n] != in_order[n]).any() for n in range(3))


def test_epochs_differ() -> None:
    batches = IdentityBatches(PEOPLE, 10, 4, seed=0)
    assert (batches[0] != batches[1]).any()


def test_one_person_or_none_cannot_be_told_apart() -> None:
    for people in ([], [3, 3, 3, 3]):
        with pytest.raises(ValueError, match="at least 2 people to tell apart"):
            IdentityBatches(people, 18, 4, seed=0)


def test_pictures_of_nobody_follow_the_people_of_a_batch() -> None:
    people = IdentityBatches(PEOPLE, 3, 4, seed=0)
    labels = np.append(PEOPLE, np.full(10, UNKNOWN))
    mixed = IdentityBatches(labels, 3, 4, seed=0, others=7)
    for number in range(5):
        batch = mixed[number]
        assert batch[:12].tolist() == people[number].tolist()
        assert len(set(batch[12:])) == 7
        assert set(batch[12:]) <= set(range(60, 70))
        assert batch.tolist() == mixed[number].tolist()
    assert len(IdentityBatches(labels, 3, 4, seed=0, others=25)[0]) == 37
    with pytest.raises(ValueError, match="none of the generated pictures can be read"):
        IdentityBatches(PEOPLE, 3, 4, seed=0, others=7)


def test_a_batch_of_tracklets_has_frames_in_order_of_time() -> None:
    tracklets = np.repeat(np.arange(20), [3, 7] * 10)  # two of each person, one of three frames and one of seven
    people = np.repeat(np.arange(10), 10)
    batches = IdentityBatches(people, 4, 2, seed=0, tracklets=tracklets, frames=5)
    seen = set()
    for number in range(6):
        batch = batches[number].reshape(4, 2, 5)
        assert batch.flatten().tolist() == batches[number].tolist()
        for own in batch:
            assert len(set(people[own.flatten()])) == 1
            assert {len(set(tracklets[frames])) for frames in own} == {1}
            assert len({tracklets[frames[0]] for frames in own}) == 2
            assert all((np.diff(frames) >= 0).all() for frames in own)
            longer = max(own, key=lambda frames: (tracklets == tracklets[frames[0]]).sum())
            assert len(set(longer)) == 5
        seen.add(tuple(batches[number]))
    assert len(seen) == 6


def test_tracklets_that_have_lost_their_frames_are_not_drawn() -> None:
    people, tracklets = np.repeat([5, 6], 4), np.repeat([2, 9, 11, 40], 2)
    batches = IdentityBatches(people, 2, 2, seed=0, tracklets=tracklets, frames=2)
    assert sorted(batches[0]) == list(range(8))
