"""How the queries of a stream leave: a budget or a plan, and what was asked for, become a policy."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from dare.anytime.budgets import adjacent_shares, geometric_shares
from dare.anytime.confidence import Allowed
from dare.anytime.costs import ExitCosts, ExitTimes
from dare.anytime.policies import Chance, ExitPolicy, RunningQuantile, Steered, Thresholds
from dare.anytime.records import Confidence, PlanFile, load_plan
from dare.gallery.store import MismatchError
from dare.retrieval.distances import another_model
from dare.runners.runner import Runner
from dare.shipped.card import PLAN
from dare.shipped.network import shipped_at

PolicyName = Literal["steered", "quantile", "chance", "thresholds"]
Costs = ExitCosts | ExitTimes


def plan_for(runner: Runner, networks: Sequence[Path], given: Path | None, name: PolicyName | None) -> PlanFile | None:
    """The plan that is given, by its file or a shipped network's name, or else the one that a shipped network brings.

    Args:
        networks: where the runner's network is.
        name: of the policy; None follows the plan's shares.

    Raises:
        MeasurementError: no plan, a damaged one, or one for another number of exits.
        MismatchError: thresholds for another network.
        ValueError: thresholds for several crops.
    """
    if given is None and (len(networks) != 1 or name in ("steered", "chance")):
        return None
    file, network = given, shipped_at(given or networks[0])
    if network is not None:
        file = network.checked(PLAN) if given or network.has(PLAN) else None
    if file is None:
        return None
    plan = load_plan(file, len(runner.exit_names))
    if name == "thresholds" and plan.crops != 1:
        raise ValueError(f"the thresholds in {file} are for {plan.crops} crops, a stream takes one; choose again")
    if name == "thresholds" and plan.model != runner.digest:
        advice = "choose again, or take the plan's shares with --policy quantile"
        raise MismatchError(another_model(f"{file} holds thresholds", plan.model, runner.digest, advice))
    return plan


def compared(
    plan: PlanFile | None,
    name: PolicyName | None,
    confidence: Confidence | None,
    allowed: Allowed | None,
    cameras_known: bool,
) -> tuple[Confidence, Allowed]:
    """How confidence is computed, and from which entries: as asked for, as a plan was made, or the default.

    Shares of a plan that looks at cameras are good also where these are not known; its thresholds are not.

    Raises:
        ValueError: a plan was made for something else than is asked for.
    """
    if plan is None:
        return confidence or "margin", allowed or ("other-cameras" if cameras_known else "all")
    possible = plan.allowed if cameras_known or name == "thresholds" else "all"
    if confidence not in (None, plan.confidence) or allowed not in (None, possible):
        raise ValueError(
            f"the network's plan, or the one given, was made for {plan.confidence} compared with {possible}; leave "
            "--confidence and --allowed out, or give a budget instead: --mean-macs or --mean-time"
        )
    return plan.confidence, possible


def make_policy(name: PolicyName, plan: PlanFile | None, costs: Costs, budget: float | None) -> ExitPolicy:
    """The policy of this name, by a plan or for a budget.

    Raises:
        ValueError: neither, or a budget below the first exit's cost.
    """
    if plan is not None:
        return Thresholds(plan.thresholds) if name == "thresholds" else RunningQuantile(plan.shares)
    if name == "thresholds":
        raise ValueError("--policy thresholds needs a plan; give --plan FILE, which dare choose-exits writes")
    least, scale, unit = (costs.macs[0], 1e-6, "M") if isinstance(costs, ExitCosts) else (costs.median[0], 1e3, "ms")
    smallest = f"the smallest possible budget is {math.ceil(100 * scale * least) / 100}{unit}, the first exit alone"
    if budget is None:
        raise ValueError(f"give a budget, --mean-macs or --mean-time; {smallest}")
    makers: dict[str, Callable[[float], ExitPolicy]] = {
        "steered": lambda mean: Steered(costs, mean),
        "quantile": lambda mean: RunningQuantile(geometric_shares(costs, mean)),
        "chance": lambda mean: Chance(adjacent_shares(costs, mean), 0),
    }
    if budget < least:
        raise ValueError(f"a mean budget of {scale * budget:g}{unit} cannot be met; {smallest}")
    return makers[name](budget)
