"""Single settings of a training, as the command line gives them; None keeps the preset's value."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter


def _help(text: str) -> Parameter:
    return Parameter(help=text)


@dataclass(frozen=True, slots=True)
class Settings:
    """Replacements for settings of a preset; `dare.training.config.TrainConfig` says what each of them does."""

    network: Annotated[
        str | None, _help("dare, or a baseline: trinet, ide, svdnet, pan, mscan, st-rnn. Each has a preset of its own.")
    ] = None
    backbone: Annotated[
        str | None,
        _help(
            "resnet18, resnet34, resnet50, densenet121, densenet161, densenet169, densenet201, lite0, lite1, lite2, "
            "mobilenetv2, alexnet, mscan, slim, tiny, omni, omni75, omni50, omni25, or timm/NAME (a convolutional one)."
        ),
    ] = None
    weights: Annotated[str | None, _help("What the trunk starts from: imagenet, none (random), or a file.")] = None
    taps: Annotated[
        list[int] | None,
        Parameter(
            help="Stages that get a head, from 1, as in --taps 2 4; TriNet: --taps 4 --no-fusion.",
            consume_multiple=True,
            negative="",
        ),
    ] = None
    fusion: Annotated[bool | None, _help("A learnt weighted sum of all stages as the last exit, or not.")] = None
    embedding_dim: Annotated[int | None, _help("Size of every embedding.")] = None
    hidden_dim: Annotated[int | None, _help("Units of the first layer of a head.")] = None
    height: Annotated[int | None, _help("Of the network's input, in pixels.")] = None
    width: Annotated[int | None, _help("Of the network's input, in pixels.")] = None
    frames: Annotated[int | None, _help("Pictures of a tracklet that become one vector together, in st-rnn.")] = None
    people: Annotated[int | None, _help("People in a batch.")] = None
    images: Annotated[int | None, _help("Pictures of each of them.")] = None
    generated_images: Annotated[int | None, _help("Pictures in a batch that show nobody, with --generated.")] = None
    iterations: Annotated[int | None, _help("Batches to train on; the schedule stretches or shrinks with it.")] = None
    sizes: Annotated[
        str | None,
        _help(
            "Pictures that grow, as in --sizes 128x64:2500,256x128:700: height x width : iterations. The last is the "
            "network's size, and the iterations add up to all; none trains on pictures of one size."
        ),
    ] = None
    decay_start: Annotated[int | None, _help("Iteration at which the learning rate starts to fall.")] = None
    learning_rate: Annotated[float | None, _help("Of Adam.")] = None
    final_rate: Annotated[float | None, _help("What the rate has fallen to at the end, as a share.")] = None
    warm_up: Annotated[int | None, _help("Iterations over which the rate rises from zero.")] = None
    beta1: Annotated[float | None, _help("Of Adam, until the rate starts to fall.")] = None
    beta1_late: Annotated[float | None, _help("Of Adam, from then on.")] = None
    beta2: Annotated[float | None, _help("Of Adam.")] = None
    weight_decay: Annotated[float | None, _help("Of Adam.")] = None
    fusion_rate: Annotated[float | None, _help("Learning rate of the fusion weights, as a share.")] = None
    trunk_rate: Annotated[float | None, _help("Learning rate of the stages' bodies, as a share.")] = None
    terms: Annotated[
        str | None,
        _help(
            "What is trained for, with weights, as in --terms triplet=1,teacher=6: triplet, identity, teacher (with "
            "--teacher), space (every exit's vectors pulled to the last one's)."
        ),
    ] = None
    space: Annotated[
        Literal["own", "shared"] | None,
        _help("shared: a gallery holds vectors of the last exit alone, and every exit searches them."),
    ] = None
    unit: Annotated[bool | None, _help("Vectors of length 1, compared by cosine, or of any length.")] = None
    enlarge: Annotated[
        bool | None, _help("Crop from pictures enlarged by 1.125, or shift pictures of the input's size by as much.")
    ] = None
    erasing: Annotated[float | None, _help("Chance that a rectangle of a picture is replaced by noise.")] = None
    jitter: Annotated[float | None, _help("Strength of random colour changes; 0 is none, 0.15 mild.")] = None
    rounds: Annotated[int | None, _help("Of restraint and relaxation, in svdnet.")] = None
    dropout: Annotated[
        float | None, _help("Share of a vector's values that the classifier of a baseline does not see.")
    ] = None
    margin: Annotated[float | None, _help("Added before the softplus of the triplet loss.")] = None
    deep_supervision: Annotated[bool | None, _help("A loss on every stage, or on the fused vector only.")] = None
    ease_in: Annotated[
        float | None,
        _help(
            "Share of the iterations over which mining goes from the mean friend and stranger to the hardest. "
            "Plain batch-hard can collapse from random weights; 0.3 makes that less likely."
        ),
    ] = None
    average: Annotated[float | None, _help("Momentum of a running average of the weights; 0 is none.")] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None, _help("Of the trunk; auto: what is faster here, measured on CPUs.")
    ] = None
    seed: Annotated[int | None, _help("Same seed, same run, on one machine and number of threads.")] = None
    workers: Annotated[int | None, _help("Threads that prepare batches ahead.")] = None
    save_every: Annotated[int | None, _help("Iterations between checkpoints.")] = None
    log_every: Annotated[int | None, _help("Iterations between lines of metrics.csv.")] = None
