"""The network of the paper: stages, heads, fusion, exits, multiply-adds."""

import pytest
import torch
from torch import nn
from torchvision.models import densenet201 as torchvision_densenet201
from torchvision.models import resnet50 as torchvision_resnet50

from dare.models import BACKBONES, DaRe, count_macs
from dare.models.backbones import build_backbone
from dare.models.dare import Step
from dare.models.stage import GlobalAveragePool, Stage, StripePool


def parameters(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("backbone", "macs"),
    [
        ("resnet50", (513_671_168, 1_185_415_168, 2_142_896_128, 2_673_606_656)),
        ("densenet201", (756_940_800, 1_290_272_768, 2_378_563_584, 2_806_382_592)),
        ("resnet18", (379_256_832, 647_954_432, 916_783_104, 1_185_873_920)),
    ],
)
def test_multiply_adds_at_256x128_are_the_known_ones(backbone: str, macs: tuple[int, ...]) -> None:
    assert count_macs(DaRe(BACKBONES[backbone]())).macs == macs


DENSE = {
    "densenet121": (32, (6, 12, 24, 16), 64, (256, 512, 1024, 1024)),
    "densenet161": (48, (6, 12, 36, 24), 96, (384, 768, 2112, 2208)),
    "densenet169": (32, (6, 12, 32, 32), 64, (256, 512, 1280, 1664)),
    "densenet201": (32, (6, 12, 48, 32), 64, (256, 512, 1792, 1920)),
}
"""Growth, layers of each block, channels of the stem, and of the taps: table 1 of Huang et al., 2017."""


def dense_macs(growth: int, blocks: tuple[int, ...], stem: int, height: int, width: int) -> list[int]:
    """What leaving at each exit costs, layer by layer: a 1x1 convolution to four times the growth, then a 3x3."""
    area = height * width // 4
    total, channels, found = area * 3 * stem * 7 * 7, stem, []
    area //= 4
    for layers in blocks:
        for _ in range(layers):
            total += area * 4 * growth * (channels + 9 * growth)
            channels += growth
        total += channels * 1024 + 1024 * 128  # the head
        found.append(total)
        total += area * channels * channels // 2  # the transition, before its pooling
        channels, area = channels // 2, area // 4
    return found


@pytest.mark.parametrize("backbone", DENSE)
def test_densenets_cost_what_their_layers_add_up_to_and_are_tapped_alike(backbone: str) -> None:
    growth, blocks, stem, channels = DENSE[backbone]
    stages = BACKBONES[backbone]()
    assert tuple(stage.channels for stage in stages) == channels
    model = DaRe(stages)
    for height, width in ((256, 128), (128, 64)):
        assert list(count_macs(model, height, width).macs) == dense_macs(growth, blocks, stem, height, width)


def test_counting_leaves_the_network_as_it_was() -> None:
    model = DaRe(BACKBONES["slim"]()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_macs(model, 64, 32)
    assert model.training
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_sizes_are_those_of_the_paper() -> None:
    assert parameters(DaRe(BACKBONES["resnet50"]())) == 27_977_284
    assert parameters(DaRe(BACKBONES["resnet50"](), taps=[4], fusion=False)) == 25_739_456


@torch.no_grad()
def test_resnet50_taps_are_torchvisions_layers_pooled() -> None:
    torch.manual_seed(0)
    stages = BACKBONES["resnet50"]()
    network = torchvision_resnet50().eval()
    trunk = torch.nn.ModuleList([stage.body for stage in stages]).eval()
    pairs = zip(trunk.state_dict().values(), network.state_dict().values(), strict=False)  # fc comes last
    for own, theirs in pairs:
        theirs.copy_(own)
    features = images = torch.randn(2, 3, 256, 128)
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    shapes = []
    for stage, layer in zip(stages, (network.layer1, network.layer2, network.layer3, network.layer4), strict=True):
        features, x = stage.body(features), layer(x)
        shapes.append(tuple(features.shape[1:]))
        torch.testing.assert_close(stage.tap(features), network.avgpool(x).flatten(1))
    assert shapes == [(256, 64, 32), (512, 32, 16), (1024, 16, 8), (2048, 8, 4)]


@torch.no_grad()
def test_densenet201_is_tapped_before_its_transitions() -> None:
    torch.manual_seed(0)
    stages = BACKBONES["densenet201"]()
    for stage in stages:
        stage.body.eval(), stage.tap.eval()
    features = torch.randn(1, 3, 256, 128)
    shapes = []
    for stage in stages:
        features = stage.body(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(256, 64, 32), (512, 32, 16), (1792, 16, 8), (1920, 8, 4)]
    norms = [stage.tap[0] for stage in stages]  # type: ignore[index]
    assert len({id(norm) for norm in norms}) == 4
    # The last tap is the network's own norm5, so the fourth stage is torchvision's classifier input.
    assert "norm5" in dict(torchvision_densenet201().features.named_children())
    expected = torch.relu(norms[3](features)).mean((2, 3))
    torch.testing.assert_close(stages[3].tap(features), expected)


def test_heads_are_not_shared_and_have_the_released_codes_layers() -> None:
    model = DaRe(BACKBONES["resnet50"]())
    for step, channels in zip(model.steps, (256, 512, 1024, 2048), strict=True):
        first, norm, _, last = step.head  # type: ignore[misc]
        assert (first.in_features, first.out_features, norm.num_features, last.out_features) == (
            channels,
            1024,
            1024,
            128,
        )
    assert DaRe(BACKBONES["slim"](), hidden_dim=1204).steps[0].head[0].out_features == 1204  # type: ignore[index]


@torch.no_grad()
def test_the_fused_vector_is_the_weighted_sum() -> None:
    model = DaRe(BACKBONES["slim"]()).eval()
    assert model.fusion is not None
    assert model.fusion.weights.shape == (4,)
    assert model.fusion.weights.abs().max() <= 0.5
    found = model(torch.randn(2, 3, 64, 32))
    expected = sum(weight * stage for weight, stage in zip(model.fusion.weights, found.stages, strict=True))
    torch.testing.assert_close(found.fused, expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("taps", "fusion", "names"),
    [
        (None, True, ("stage 1", "stage 2", "stage 3", "fusion")),
        (None, False, ("stage 1", "stage 2", "stage 3", "stage 4")),
        ([4], False, ("stage 4",)),
        ([2, 4], True, ("stage 2", "fusion")),
        ([3, 1], False, ("stage 1", "stage 3")),
        ([2], True, ("fusion",)),
    ],
)
def test_exits_follow_from_taps_and_fusion(taps: list[int] | None, fusion: bool, names: tuple[str, ...]) -> None:
    model = DaRe(BACKBONES["slim"](), taps=taps, fusion=fusion).eval()
    images = torch.randn(2, 3, 64, 32)
    assert model.exit_names == names
    assert len(list(model.exits(images))) == len(names)
    assert (model(images).fused is None) != fusion
    assert len(count_macs(model, 64, 32).macs) == len(names)


def test_stages_behind_the_last_tap_are_dropped() -> None:
    assert len(DaRe(BACKBONES["slim"](), taps=[2], fusion=False).steps) == 2


@pytest.mark.parametrize("taps", [[], [0], [5], [1, 9]])
def test_taps_that_name_no_stage_are_refused(taps: list[int]) -> None:
    with pytest.raises(ValueError, match="taps must name stages from 1 to 4"):
        DaRe(BACKBONES["slim"](), taps=taps)


def test_heads_stay_in_float32_under_autocast() -> None:
    model = DaRe(BACKBONES["slim"]())
    with torch.autocast("cpu", torch.bfloat16):
        found = model(torch.randn(4, 3, 64, 32))
    assert found.stages.dtype == torch.float32


@pytest.mark.parametrize("height", [8, 10])
def test_stripes_are_adaptive_average_pooling(height: int) -> None:
    features = torch.randn(2, 5, height, 3)
    expected = torch.nn.functional.adaptive_avg_pool2d(features, (4, 1)).flatten(1)
    torch.testing.assert_close(StripePool(4)(features), expected)


def test_unknown_and_unsuitable_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown backbone 'resnet51'; choose resnet18"):
        build_backbone("resnet51")
    with pytest.raises(ValueError, match="timm has no network 'resnet51'"):
        build_backbone("timm/resnet51")
    with pytest.raises(ValueError, match="do not run one after the other"):
        build_backbone("timm/vit_tiny_patch16_224")


def test_averages_are_means_also_where_they_are_learnt_from() -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 6, 8, 5).to(memory_format=torch.channels_last)
    for pool in (GlobalAveragePool(), StripePool(4)):
        learnt = pool(features.clone().requires_grad_())
        assert learnt.requires_grad
        assert torch.equal(learnt, pool(features))


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16])
def test_a_taps_gradient_is_the_same_in_the_maps_own_order(low: torch.dtype) -> None:
    torch.manual_seed(0)
    step = Step(Stage(nn.Identity(), GlobalAveragePool(), 6), nn.Linear(6, 2))
    plain = torch.randn(4, 6, 8, 5).to(low).requires_grad_()
    last = plain.detach().clone(memory_format=torch.channels_last).requires_grad_()
    for features in (plain, last):
        step.embed(features).square().sum().backward()
    assert last.grad is not None
    assert last.grad.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.grad, plain.grad)
