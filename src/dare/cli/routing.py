"""What the options of `dare stream` mean: the budget, what a confidence is taken from, the policy."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dare.cli.calibration import exit_times
from dare.cli.options import parse_macs, parse_seconds

if TYPE_CHECKING:
    from dare.anytime.confidence import Allowed
    from dare.anytime.costs import ExitCosts, ExitTimes
    from dare.anytime.policies import ExitPolicy
    from dare.anytime.records import Confidence, PlanFile
    from dare.gallery.lance import LanceGallery
    from dare.runners.runner import Runner

LEAST_WINDOW = 50
Policy = Literal["quantile", "steered", "chance", "thresholds"]


def refuse_unused(
    policy: Policy | None,
    plan: Path | None,
    mean_macs: str | None,
    mean_time: str | None,
    times: Path | None,
    window: int | None,
    seed: int | None,
) -> None:
    """An option that would change nothing is a misunderstanding."""
    if mean_macs is not None and mean_time is not None:
        raise ValueError("give either --mean-macs or --mean-time")
    if plan is not None and (mean_macs is not None or mean_time is not None):
        raise ValueError("a plan has its own budget; give either --plan or a budget")
    if plan is not None and policy in ("steered", "chance"):
        raise ValueError(f"a plan belongs to --policy thresholds or quantile, not to {policy}")
    if times is not None and mean_time is None:
        raise ValueError("--times belongs to --mean-time")
    if window is not None and (policy in ("chance", "thresholds") or window < LEAST_WINDOW):
        raise ValueError(f"--window belongs to --policy steered or quantile, and is at least {LEAST_WINDOW}")
    if seed is not None and (policy != "chance" or seed < 0):
        raise ValueError("--seed belongs to --policy chance, and is at least 0")


def budget(
    mean_macs: str | None,
    mean_time: str | None,
    times: Path | None,
    runner: "Runner",
    store: "LanceGallery",
    settings: dict[str, Any],
    needed: bool,
) -> "tuple[ExitCosts | ExitTimes, float | None]":
    """What exits cost, and how much a query may cost in the mean, in one unit."""
    if mean_time is not None:
        measured = exit_times(times, runner, store, settings)
        first = math.ceil(measured.median[0] * 1e5) / 100
        return measured, _at_least(mean_time, parse_seconds, measured.median[0], f"{first}ms")
    first = math.ceil(runner.costs.macs[0] / 1e4) / 100
    if mean_macs is None and needed:
        least = f"the smallest possible budget is {first}M, the first exit alone"
        raise ValueError(f"give a budget, --mean-macs or --mean-time; {least}")
    if mean_macs is None:
        return runner.costs, None
    return runner.costs, _at_least(mean_macs, parse_macs, runner.costs.macs[0], f"{first}M")


def _at_least(text: str, read: Callable[[str], float], least: float, written: str) -> float:
    """A budget, not below the first exit's cost."""
    smallest = f"the smallest possible budget is {written}, the first exit alone"
    try:
        value = read(text)
    except ValueError as error:
        raise ValueError(f"{error}; {smallest}") from None
    if value < least:
        raise ValueError(f"a mean budget of {text} cannot be met; {smallest}")
    return value


def shipped_plan(
    networks: Sequence[Path], policy: Policy | None, mean_macs: str | None, mean_time: str | None
) -> Path | None:
    """The plan that the network brings, where nothing else was asked for."""
    from dare.shipped.card import PLAN
    from dare.shipped.network import shipped_at

    if mean_macs is not None or mean_time is not None or policy in ("steered", "chance") or len(networks) != 1:
        return None
    network = shipped_at(networks[0])
    return network.checked(PLAN) if network is not None and network.has(PLAN) else None


def learnt(policy: Policy, plan: Path | None, runner: "Runner") -> "PlanFile | None":
    from dare.anytime.records import load_plan
    from dare.gallery.store import MismatchError
    from dare.retrieval.distances import another_model
    from dare.shipped.card import PLAN
    from dare.shipped.network import shipped_at

    if plan is None and policy == "thresholds":
        raise ValueError("--policy thresholds needs --plan FILE, which dare choose-exits writes")
    if plan is None:
        return None
    shipped = shipped_at(plan)
    found = load_plan(shipped.checked(PLAN) if shipped else plan, len(runner.exit_names))
    if policy == "thresholds" and found.crops != 1:
        raise ValueError(f"the thresholds in {plan} are for {found.crops} crops, a stream takes one; choose again")
    if policy == "thresholds" and found.model != runner.digest:
        advice = "choose again, or take the plan's shares with --policy quantile"
        raise MismatchError(another_model(f"{plan} holds thresholds", found.model, runner.digest, advice))
    return found


def looking(
    confidence: "Confidence | None",
    allowed: "Allowed | None",
    learnt: "PlanFile | None",
    name: Policy,
    cameras_known: bool,
) -> "tuple[Confidence, Allowed]":
    """What confidence is computed from what: as asked for, as a plan was made, or as is usual.

    Shares of a plan that looks at cameras are good also where these are not known; its thresholds are not.
    """
    if learnt is None:
        return confidence or "margin", allowed or ("other-cameras" if cameras_known else "all")
    possible = learnt.allowed if cameras_known or name == "thresholds" else "all"
    if confidence not in (None, learnt.confidence) or allowed not in (None, possible):
        raise ValueError(
            f"the plan was made for {learnt.confidence} compared with {possible}; leave --confidence and --allowed out"
        )
    return learnt.confidence, possible


def policy(
    name: Policy,
    costs: "ExitCosts | ExitTimes",
    budget: float | None,
    learnt: "PlanFile | None",
    window: int | None,
    seed: int,
) -> "ExitPolicy":
    from dare.anytime.budgets import adjacent_shares, geometric_shares
    from dare.anytime.policies import STEERING_WINDOW, Chance, RunningQuantile, Steered, Thresholds

    if learnt is not None:
        return Thresholds(learnt.thresholds) if name == "thresholds" else RunningQuantile(learnt.shares, window)
    assert budget is not None
    if name == "steered":
        return Steered(costs, budget, window=window or STEERING_WINDOW)
    if name == "quantile":
        return RunningQuantile(geometric_shares(costs, budget), window)
    return Chance(adjacent_shares(costs, budget), seed)
