"""What a training minimises, beside the triplet losses: classes of people, pictures of nobody, phases."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import save_picture

from dare.datasets import UNKNOWN, Benchmark, Sample, market1501
from dare.images.preparation import Preparation, prepare
from dare.images.reading import read_resized
from dare.models.checkpoints import Architecture, load_checkpoint, read_tensors
from dare.training.batches import Batch
from dare.training.config import TrainConfig
from dare.training.losses import build_objective, identity_loss
from dare.training.pictures import Augmentation
from dare.training.presets import PRESETS, configure
from dare.training.state import STATE_FILE
from dare.training.train import train

CLASSIFYING = TrainConfig(
    architecture=Architecture("tiny", network="ide", embedding_dim=0),
    weights=None,
    preparation=Preparation(32, 16),
    people=6,
    images=2,
    iterations=6,
    learning_rate=1e-3,
    log_every=1,
)


@pytest.fixture(scope="module")
def benchmark(crowd: Path) -> Benchmark:
    return market1501(crowd)


def test_labels_become_classes_in_their_order_and_nobody_none() -> None:
    torch.manual_seed(0)
    model = CLASSIFYING.architecture.build()
    shown = torch.tensor([90, 4, UNKNOWN, 17, 4])
    objective = build_objective(CLASSIFYING, model, np.array([17, 90, 4, 4, UNKNOWN]))
    images = torch.randn(5, 3, 32, 16)
    losses = objective(model.eval(), Batch(images, shown), 0)
    scores = objective.classifiers[0](model(images).stages[-1])  # type: ignore[union-attr]
    torch.testing.assert_close(losses.total, identity_loss(scores, torch.tensor([2, 0, -1, 1, 0])))
    assert objective.names == ("identity",)


def test_generated_pictures_train_as_nobody_and_are_counted_apart(benchmark: Benchmark, tmp_path: Path) -> None:
    generated = [save_picture(tmp_path / "generated" / f"{n}.jpg", n) for n in range(9)]
    config = replace(CLASSIFYING, generated_images=4)
    made = train(benchmark.train, tmp_path / "run", config, generated=generated)
    figures = [made.training[name] for name in ("people", "pictures", "generated")]
    assert figures == [12, 72, 9]
    without = train(benchmark.train, tmp_path / "without", CLASSIFYING)
    assert without.training["generated"] == 0
    weight = "steps.0.body.0.weight"
    assert not torch.equal(made.model.state_dict()[weight], without.model.state_dict()[weight])
    assert load_checkpoint(tmp_path / "run").costs == without.costs


def test_a_classifier_learns_that_generated_pictures_look_like_anybody(benchmark: Benchmark, tmp_path: Path) -> None:
    generated = [save_picture(tmp_path / "generated" / f"{n}.jpg", n) for n in range(40)]
    config = replace(CLASSIFYING, people=12, iterations=30, learning_rate=3e-3, augmentation=Augmentation(erasing=0.0))
    surest = []
    for name, own, others in (("lsro", replace(config, generated_images=12), generated), ("ide", config, [])):
        made = train(benchmark.train, tmp_path / name, own, generated=others)
        tensors, _, _ = read_tensors(tmp_path / name / STATE_FILE, "training state")
        with torch.no_grad():
            images = torch.stack([prepared(path) for path in generated])
            scores = F.linear(
                made.model(images).stages[-1],
                tensors["objective.classifiers.0.weight"],
                tensors["objective.classifiers.0.bias"],
            )
        surest.append(scores.softmax(1).amax(1).mean().item())
        with (tmp_path / name / "metrics.csv").open() as file:
            losses = [float(row["loss identity"]) for row in csv.DictReader(file)]
        assert losses[-1] < 0.7 * losses[0]
    assert surest[0] < 0.6 * surest[1]


def prepared(path: Path) -> torch.Tensor:
    size = CLASSIFYING.preparation
    return torch.from_numpy(prepare(read_resized(path, size.height, size.width)[None], size)[0])


def test_generated_pictures_and_their_number_go_together(benchmark: Benchmark, tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "generated.jpg")
    for config, generated in ((CLASSIFYING, [picture]), (replace(CLASSIFYING, generated_images=2), [])):
        with pytest.raises(ValueError, match="or neither"):
            train(benchmark.train, tmp_path / "run", config, generated=generated)
    with pytest.raises(ValueError, match="training pictures need a person"):
        train([Sample((picture,), UNKNOWN, 1)], tmp_path / "run", CLASSIFYING)
    assert not (tmp_path / "run").exists()


def test_metrics_name_the_losses_of_the_objective_and_the_scales_of_the_vectors(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    train(benchmark.train, tmp_path, CLASSIFYING)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[3:] == ["loss identity", "scale stage 4"]
    assert float(rows[0]["loss identity"]) == pytest.approx(np.log(12), rel=0.3)


def test_dropout_is_drawn_by_the_seed_and_leaves_the_programs_own_chance_alone(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    config = replace(CLASSIFYING, dropout=0.5, precision="fp32")  # else it is measured
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = train(benchmark.train, tmp_path / "a", config)
    assert torch.equal(torch.rand(3), expected)
    second = train(benchmark.train, tmp_path / "b", config)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_settings_of_other_networks_are_refused() -> None:
    for bad in ({"dropout": 1.0}, {"dropout": -0.1}, {"generated_images": -1}, {"rounds": -1}):
        with pytest.raises(ValueError, match=r"expected (at least|at most|less than|greater than)"):
            configure(PRESETS["ide"], bad)
    for preset, bad in (("slim", {"dropout": 0.5}), ("trinet", {"generated_images": 5})):
        with pytest.raises(ValueError, match="networks with a classifier"):
            configure(PRESETS[preset], bad)
    for preset, bad in (("ide", {"rounds": 2}), ("svdnet", {"average": 0.9}), ("svdnet", {"iterations": 16})):
        with pytest.raises(ValueError, match="rounds are for svdnet"):
            configure(PRESETS[preset], bad)
    with pytest.raises(ValueError, match="ide has one exit"):
        configure(PRESETS["ide"], {"taps": [1, 4]})


def test_a_setting_that_a_network_has_no_use_for_is_refused_but_a_preset_may_have_it() -> None:
    triplets = {"hidden_dim": 16, "margin": 0.5, "ease_in": 0.3}
    for preset in ("ide", "lsro", "svdnet", "pan", "mscan"):
        for name, value in (triplets | {"fusion": False, "fusion_rate": 0.1}).items():
            with pytest.raises(ValueError, match=f"has no use for {name}; leave that out"):
                configure(PRESETS[preset], {name: value})
    for preset in ("trinet", "st-rnn"):
        config = configure(PRESETS[preset], triplets | {"backbone": "tiny"})
        assert (config.margin, config.ease_in) == (0.5, 0.3)
        model = config.architecture.build(frames=config.preparation.frames)
        assert model.steps[-1].head[0].out_features == 16  # type: ignore[index]
        with pytest.raises(ValueError, match=f"{preset} has no use for fusion, deep_supervision"):
            configure(PRESETS[preset], {"deep_supervision": False, "fusion": False})
    assert configure(PRESETS["slim"], {"network": "ide"}).ease_in == PRESETS["slim"].ease_in
    slim = configure(PRESETS["slim"], {"network": "trinet"}).architecture
    assert slim.build().steps[-1].head[0].out_features == 256  # type: ignore[index]


def test_svdnet_on_another_preset_must_say_how_many_rounds() -> None:
    for preset in ("slim", "demo", "ide"):
        with pytest.raises(ValueError, match=r"svdnet needs rounds of restraint and relaxation.*average to 0"):
            configure(PRESETS[preset], {"network": "svdnet"})
    with pytest.raises(ValueError, match="set average to 0"):
        configure(PRESETS["slim"], {"network": "svdnet", "rounds": 2})
    assert configure(PRESETS["slim"], {"network": "svdnet", "rounds": 2, "average": 0.0}).rounds == 2
    assert configure(PRESETS["slim"], {"network": "svdnet", "rounds": 0}).rounds == 0
    assert configure(PRESETS["svdnet"], {"iterations": 100}).rounds == 7


def test_a_batch_of_lsro_is_a_third_people_and_two_thirds_nobody() -> None:
    """Of 12,936 pictures of people and the paper's 24,000 generated ones, 64 are 22 and 42 on average."""
    assert (PRESETS["lsro"].people * PRESETS["lsro"].images, PRESETS["lsro"].generated_images) == (22, 42)
    assert pytest.approx(24_000 / (24_000 + 12_936), abs=0.01) == 42 / (22 + 42)


def test_pan_classifies_what_its_branches_pool_and_not_the_vector() -> None:
    """A softmax over unit vectors would stay nearly even; both losses by hand."""
    torch.manual_seed(0)
    people = np.repeat(np.arange(3), 2)
    config = replace(CLASSIFYING, architecture=Architecture("tiny", network="pan", embedding_dim=0))
    model = config.architecture.build()
    objective = build_objective(config, model, people)
    assert objective.names == ("base", "aligned")
    images, shown = torch.randn(6, 3, 32, 16), torch.from_numpy(people)
    ((features, _),) = model.tapped(images)
    pooled = features.flatten(1)
    assert pooled.norm(dim=1).min() > 1.5  # two halves of length 1 would have the root of 2
    losses = objective(model, Batch(images, shown), 0)
    expected = [
        F.cross_entropy(classify(half), shown)
        for classify, half in zip(objective.classifiers, pooled.split(128, 1), strict=True)  # type: ignore[union-attr]
    ]
    torch.testing.assert_close(losses.each, torch.stack(expected))
    torch.testing.assert_close(losses.total, sum(expected))


def test_mscan_is_trained_with_the_loss_of_its_boxes() -> None:
    torch.manual_seed(0)
    people = np.repeat(np.arange(3), 2)
    config = replace(CLASSIFYING, architecture=Architecture("tiny", network="mscan", embedding_dim=16))
    model = config.architecture.build().eval()
    objective = build_objective(config, model, people)
    assert objective.names == ("body", "parts", "boxes")
    with torch.no_grad():
        model.steps[-1].tap.locate[-1].bias[3] += 3.0  # the head's box, far below the picture
    losses = objective(model, Batch(torch.randn(6, 3, 32, 16), torch.from_numpy(people)), 0)
    assert losses.each[2].item() > 0.1
    torch.testing.assert_close(losses.total, losses.each.sum())
    losses.total.backward()
    assert model.steps[-1].tap.locate[-1].bias.grad[3] > 0  # back up
