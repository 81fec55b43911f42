"""The baselines are the networks of their papers: what they cost, and what is particular about each."""

import copy

import pytest
import torch
from torch import nn

from dare.exporting.writing import export
from dare.models import BACKBONES, count_macs
from dare.models.aligned import PACE, box_loss, misplaced, mscan, pan, sample_region
from dare.models.baselines import (
    BASELINES,
    STATE,
    SWEPT,
    SpatialSweeps,
    Sweep,
    TemporalAttention,
    decorrelated,
    ide,
    restrain,
    st_rnn,
    svdnet,
    trinet,
)
from dare.models.checkpoints import Architecture
from dare.models.stage import WindowMaxPool, map_channels

FIGURE_6 = [
    ("trinet", "resnet50", 128, (256, 128), 2_529e6),
    ("ide", "resnet50", 0, (224, 224), 3_887e6),
    ("svdnet", "resnet50", 1024, (224, 224), 3_888e6),
    ("ide", "alexnet", 1024, (224, 224), 675e6),
    ("svdnet", "alexnet", 1024, (224, 224), 709e6),
]
"""Baseline, backbone, size of the vector, input, and the multiply-adds that figure 6 of the paper says."""


@pytest.mark.parametrize(("name", "backbone", "size", "input", "published"), FIGURE_6)
def test_a_cost_is_within_6_percent_of_figure_6(
    name: str, backbone: str, size: int, input: tuple[int, int], published: float
) -> None:
    model = BASELINES[name](BACKBONES[backbone](), size)
    assert count_macs(model, *input).macs[-1] == pytest.approx(published, rel=0.06)


@pytest.mark.parametrize(("name", "backbone", "size", "input", "published"), FIGURE_6[:3])
def test_with_the_older_resnets_stride_on_the_1x1_it_is_within_1_percent(
    name: str, backbone: str, size: int, input: tuple[int, int], published: float
) -> None:
    """Figure 6 counted the Caffe network; torchvision's has its stride on the 3x3."""
    model = BASELINES[name](BACKBONES[backbone](), size)
    moved = 0
    for block in model.modules():
        second = getattr(block, "conv2", None)
        if isinstance(second, nn.Conv2d) and second.stride == (2, 2):
            block.conv1.stride, second.stride = (2, 2), (1, 1)  # type: ignore[union-attr]
            moved += 1
    assert moved == 3
    assert count_macs(model, *input).macs[-1] == pytest.approx(published, rel=0.01)


def test_trinet_is_dare_without_the_other_heads() -> None:
    from dare.models import DaRe

    expected = DaRe(BACKBONES["slim"](), taps=[4], fusion=False)
    assert trinet(BACKBONES["slim"]()).state_dict().keys() == expected.state_dict().keys()


@torch.no_grad()
def test_ides_vector_is_what_the_trunk_pools() -> None:
    stages = BACKBONES["tiny"]()
    model = ide(stages).eval()
    features = images = torch.randn(2, 3, 64, 32)
    for stage in stages:
        features = stage.body(features)
    torch.testing.assert_close(model(images).stages[0], features.mean((2, 3)))
    assert model(images).stages.shape == (1, 2, 128)
    shorter = ide(BACKBONES["tiny"](), 16).eval()(images).stages[0]
    assert shorter.shape == (2, 16)
    assert shorter.min() == 0  # behind a ReLU


@torch.no_grad()
def test_alexnet_is_torchvisions_up_to_its_first_fully_connected_layer() -> None:
    from torchvision import models

    torch.manual_seed(0)
    published = models.alexnet().eval()
    torch.manual_seed(0)
    stages = BACKBONES["alexnet"]()
    features = images = torch.randn(2, 3, 224, 224)
    for stage in stages:
        features = stage.body(features)
    expected = published.classifier[:3](published.avgpool(published.features(images)).flatten(1))
    torch.testing.assert_close(stages[-1].tap.eval()(features), expected)


def test_decorrelated_weights_are_orthogonal_keep_distances_and_stay_close() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 20, generator=generator) + torch.randn(20, generator=generator)  # they have much in common
    features = torch.randn(9, 20, generator=generator)
    new = decorrelated(weight)
    products = new @ new.T
    torch.testing.assert_close(products, torch.diag(products.diag()), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cdist(features @ new.T, features @ new.T), torch.cdist(*[features @ weight.T] * 2))
    assert (nn.functional.cosine_similarity(new, weight) > 0).all()
    again = decorrelated(new)
    torch.testing.assert_close(again, new, atol=1e-4, rtol=0)  # what is decorrelated stays where it is


def test_each_weight_vector_takes_the_closest_place() -> None:
    order, signs = torch.tensor([2, 0, 3, 1]), torch.tensor([1.0, -1, 1, -1])
    weight = torch.diag(torch.tensor([4.0, 3, 2, 1]))[order] * signs[:, None]
    torch.testing.assert_close(decorrelated(weight), weight)


def test_an_eigenlayer_is_fixed_in_restraints_and_decorrelated_when_one_begins() -> None:
    torch.manual_seed(0)
    model = svdnet(BACKBONES["tiny"](), 16)
    weight = model.steps[-1].head.weight
    learns, decorrelations = "", []
    for iteration in range(14):  # two rounds in seven parts of two iterations
        before = weight.detach().clone()
        restrain(model, iteration, 14, rounds=2)
        learns += "yn"[not weight.requires_grad]
        if not torch.equal(before, weight):
            decorrelations.append(iteration)
            gram = weight.detach() @ weight.detach().T
            torch.testing.assert_close(gram, torch.diag(gram.diag()), atol=1e-5, rtol=0)
        with torch.no_grad():
            weight.add_(0.1 if weight.requires_grad else 0.0)
    assert learns == "yyyyyynnyynnyy"
    assert decorrelations == [6, 10]


def test_an_eigenlayer_has_no_more_units_than_there_are_channels() -> None:
    with pytest.raises(ValueError, match="an eigenlayer on 128 channels has 1 to 128 units, got 1024"):
        svdnet(BACKBONES["tiny"]())


@torch.no_grad()
def test_a_sampled_region_is_what_lies_there() -> None:
    features = torch.arange(32.0).reshape(1, 1, 8, 4)
    whole = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    torch.testing.assert_close(sample_region(features, whole, 8, 4), features)
    lower_half = torch.tensor([[[1.0, 0, 0], [0, 0.5, 0.5]]])
    torch.testing.assert_close(sample_region(features, lower_half, 4, 4), features[:, :, 4:])
    beside = torch.tensor([[[1.0, 0, 4], [0, 1, 0]]])
    assert not sample_region(features, beside, 8, 4).any()


def test_sampling_is_torchs_affine_grid_and_grid_sample() -> None:
    random = torch.Generator().manual_seed(0)
    features, affine = torch.randn(3, 2, 7, 5, generator=random), torch.randn(3, 2, 3, generator=random)
    places = nn.functional.affine_grid(affine, [3, 2, 4, 6], align_corners=False)
    expected = nn.functional.grid_sample(features, places, align_corners=False)
    torch.testing.assert_close(sample_region(features, affine, 4, 6), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(sample_region(features, affine, 4, 6), expected)


@torch.no_grad()
def test_pans_vector_is_both_branches_and_the_first_is_the_trunk_alone() -> None:
    torch.manual_seed(0)
    stages = BACKBONES["tiny"]()
    alone = ide(copy.deepcopy(stages)).eval()
    model, images = pan(stages).eval(), torch.randn(3, 3, 64, 32)
    vectors = model(images).stages[0]
    base, aligned = vectors.split(128, 1)
    torch.testing.assert_close(base, nn.functional.normalize(alone(images).stages[0]))
    torch.testing.assert_close(aligned.norm(dim=1), torch.ones(3))
    assert not torch.allclose(base, aligned)


def test_pans_base_branch_learns_as_if_it_were_alone() -> None:
    torch.manual_seed(0)
    model, images = pan(BACKBONES["tiny"]()), torch.randn(4, 3, 64, 32)
    branches = model.steps[1].body
    ((features, _),) = model.tapped(images)
    features[:, 128:].square().sum().backward()  # the aligned half
    pulled = {name for name, weight in branches.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert {name.split(".")[0] for name in pulled} == {"grid", "aligned"}
    assert not any(weight.grad.any() for weight in model.steps[0].parameters())


@torch.no_grad()
def test_pan_cuts_out_the_middle_at_first_and_learns_slowly_where_else() -> None:
    torch.manual_seed(0)
    grid = pan(BACKBONES["tiny"]()).eval().steps[1].body.grid
    middle = torch.randn(2, 64, 4, 2)
    expected = torch.tensor([[0.8, 0, 0], [0, 0.8, 0]])
    torch.testing.assert_close(grid(middle), expected.expand(2, 2, 3))
    grid.moved.bias[2] = 1.0
    assert grid(middle)[0, 0, 2].item() == pytest.approx(PACE)


def test_pan_says_what_it_takes() -> None:
    with pytest.raises(ValueError, match=r"three stages or more and embedding_dim=0.*got 4 and 128"):
        pan(BACKBONES["tiny"](), 128)


def slow_box_loss(boxes: list[list[list[float]]]) -> float:
    """Near its place, larger than nothing, inside of the picture: box by box."""
    total, count = 0.0, 0
    for picture in boxes:
        for (wide, high, across, down), place in zip(picture, (-2 / 3, 0.0, 2 / 3), strict=True):
            centre = max(0.0, across**2 + (down - place) ** 2 - 0.5)
            value = max(0.0, 0.1 - wide) + max(0.0, 0.1 - high)
            sides = [wide + across, wide - across, high + down, high - down]
            total += 0.5 * (centre + value + sum(max(0.0, side**2 - 1) for side in sides))
            count += 1
    return total / count


def test_the_loss_of_boxes_is_that_of_the_papers_three_limits() -> None:
    boxes = 1.5 * torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert box_loss(boxes).item() == pytest.approx(slow_box_loss(boxes.tolist()), rel=1e-6)


def test_boxes_start_as_three_thirds_of_the_body_which_cost_nothing() -> None:
    torch.manual_seed(0)
    model = mscan(BACKBONES["mscan"](), 16).eval()
    ((features, _),) = model.tapped(torch.randn(2, 3, 160, 64))
    assert features.shape == (2, 96, 10, 4)
    boxes = model.steps[-1].tap.boxes(features)
    thirds = [[1, 1 / 3, 0, -2 / 3], [1, 1 / 3, 0, 0], [1, 1 / 3, 0, 2 / 3]]
    torch.testing.assert_close(boxes, torch.tensor([thirds] * 2))
    assert misplaced(model, features).item() == pytest.approx(0, abs=1e-6)


def test_boxes_that_have_strayed_are_pulled_back() -> None:
    boxes = torch.tensor([[[0.05, -1.0, 2.0, 1.0]] * 3], requires_grad=True)
    optimizer = torch.optim.Adam([boxes], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        box_loss(boxes).backward()
        optimizer.step()
    assert box_loss(boxes).item() == pytest.approx(0, abs=1e-3)


@torch.no_grad()
def test_a_part_sees_its_own_third_of_the_map() -> None:
    torch.manual_seed(0)
    tap = mscan(BACKBONES["mscan"](), 16).eval().steps[-1].tap
    seen: list[torch.Tensor] = []
    for part in tap.part:
        part.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0][0, 0]))
    features = torch.zeros(1, 96, 12, 4)
    features[:, :, 4:8] = 3.0  # the middle third
    tap(features)
    assert seen[1] > 2.5
    assert max(seen[0], seen[2]) < 0.5


@torch.no_grad()
def test_the_mscan_trunk_joins_three_dilations() -> None:
    torch.manual_seed(0)
    block, features = BACKBONES["mscan"]()[1].body[0].eval(), torch.randn(1, 96, 9, 7)
    joined = [
        nn.functional.conv2d(features, scale.weight, padding=dilation, dilation=dilation)
        for dilation, scale in enumerate(block.scales, start=1)
    ]
    torch.testing.assert_close(block(features), block.norm(torch.cat(joined, 1)).relu())
    with pytest.raises(ValueError, match="the trunk mscan starts from random weights only"):
        BACKBONES["mscan"]("imagenet")


def test_what_looks_at_maps_says_which_trunks_it_takes() -> None:
    with pytest.raises(ValueError, match="expected a stage that is pooled by its average, got Sequential"):
        mscan(BACKBONES["alexnet"]())
    assert map_channels(BACKBONES["slim"]()[-1]) == map_channels(BACKBONES["tiny"]()[-1]) == 128


@pytest.mark.parametrize("size", [(13, 13), (3, 1), (10, 4), (7, 9)])
def test_window_pooling_is_torchs_adaptive_max_pooling(size: tuple[int, int]) -> None:
    features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.adaptive_max_pool2d(features, (6, 5))
    torch.testing.assert_close(WindowMaxPool(6, 5)(features), expected, rtol=0, atol=0)
    if size == (13, 13):
        pooled = nn.functional.max_pool2d(features, 3, 2)  # AlexNet's last pooling
        torch.testing.assert_close(WindowMaxPool(6, 6)(features), pooled, rtol=0, atol=0)


@torch.no_grad()
def test_a_tracklets_vector_is_its_own_and_no_matter_of_the_batch() -> None:
    torch.manual_seed(0)
    model = st_rnn(BACKBONES["tiny"](), 16, frames=4).eval()
    pictures = torch.randn(3 * 4, 3, 64, 32)
    vectors = model(pictures).stages[0]
    assert vectors.shape == (3, 16)
    for number, tracklet in enumerate(pictures.split(4)):
        torch.testing.assert_close(model(tracklet).stages[0][0], vectors[number])
    with pytest.raises(ValueError, match="expected tracklets of 4 pictures each, got 5 in all"):
        model(pictures[:5])


@torch.no_grad()
def test_attention_weighs_frames_by_what_they_show() -> None:
    torch.manual_seed(0)
    attention = TemporalAttention(6)
    vectors = torch.randn(2, 5, 6)
    state, shares = attention(vectors)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    order = torch.tensor([3, 0, 4, 1, 2])
    moved_state, moved = attention(vectors[:, order])
    torch.testing.assert_close(moved, shares[:, order])  # which frame it is makes no difference
    torch.testing.assert_close(moved_state, state)
    _, even = attention(vectors[:, :1].expand(2, 5, 6))
    torch.testing.assert_close(even, torch.full((2, 5), 0.2))
    attention.score.weight.mul_(1000)
    assert attention(vectors)[1].amax(1).min() > 0.5


@torch.no_grad()
def test_a_sweep_carries_on_what_it_has_passed() -> None:
    torch.manual_seed(0)
    sweep = Sweep()
    line = torch.randn(2, 3, 4, 64)
    found = sweep(line)
    for batch in range(2):
        for row in range(3):
            state = torch.zeros(64)
            for place in range(4):
                state = (sweep.input(line[batch, row, place]) + sweep.recurrent(state)).relu()
                torch.testing.assert_close(found[batch, row, place], state)


@torch.no_grad()
def test_the_four_sweeps_come_from_four_sides() -> None:
    """What lies on one side only is carried on by the sweep that starts there, and by the opposite one at its end."""
    torch.manual_seed(0)
    swept = SpatialSweeps(5)
    swept.reduced.bias.zero_()
    for sweep in swept.sweeps:
        sweep.input.weight.copy_(torch.eye(SWEPT))
        sweep.input.bias.zero_()  # each state is then the running sum of what is positive
    one = torch.randn(1, 5, 4, 6)
    for side, place in enumerate([(..., slice(0, 1)), (..., slice(5, 6)), (..., slice(0, 1), slice(None))]):
        features = torch.zeros_like(one)
        features[place] = one[place]
        amounts = [part.sum().item() for part in swept(features).chunk(4, 1)]
        along = {0: 6, 1: 6, 2: 4}[side]
        assert amounts[side] == pytest.approx(along * amounts[side ^ 1], rel=1e-5)
    features = torch.zeros_like(one)
    features[..., 3:, :] = one[..., 3:, :]
    amounts = [part.sum().item() for part in swept(features).chunk(4, 1)]
    assert amounts[3] == pytest.approx(4 * amounts[2], rel=1e-5)


def test_the_cost_of_a_tracklet_is_that_of_its_frames_and_of_what_joins_them() -> None:
    frames, channels, places = 8, 128, 4 * 2
    trunk = frames * count_macs(ide(BACKBONES["tiny"]()), 64, 32).macs[0]
    attention = frames * (channels * STATE + STATE * STATE + frames * STATE + 4 * STATE * (channels + STATE))
    steps = 2 * 4 * (2 - 1) + 2 * 2 * (4 - 1)
    sweeps = places * channels * SWEPT + (4 * places + steps) * SWEPT * SWEPT
    head = (STATE + 4 * SWEPT) * 1024 + 1024 * 16
    costs = count_macs(st_rnn(BACKBONES["tiny"](), 16), 64, 32)
    assert costs.macs == (trunk + attention + sweeps + head,)
    assert costs.source.startswith("counted at 64x32 for 8 frames")


def test_only_st_rnn_takes_tracklets() -> None:
    for network in ("dare", "ide"):
        with pytest.raises(ValueError, match=f"{network} takes pictures one by one, got frames=4"):
            Architecture("tiny", network=network).build(frames=4)
    assert Architecture("tiny", network="st-rnn").build(frames=4).frames == 4
    with pytest.raises(ValueError, match="networks that take tracklets are not exported"):
        export(st_rnn(BACKBONES["tiny"](), 16), "nowhere")
