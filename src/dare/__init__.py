"""Budget-aware person re-identification: one network, an embedding after every stage.

Names are imported on first use, so `import dare` is quick and needs neither torch nor a GPU.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Answer": "dare.identification.answer",
    "BACKBONES": "dare.models.backbones",
    "BASELINES": "dare.models.baselines",
    "BENCHMARKS": "dare.datasets",
    "Benchmark": "dare.datasets",
    "Chance": "dare.anytime.policies",
    "DaRe": "dare.models.dare",
    "Deadline": "dare.anytime.policies",
    "Embeddings": "dare.retrieval.embeddings",
    "Entry": "dare.gallery.entry",
    "ExitCosts": "dare.anytime.costs",
    "ExitPolicy": "dare.anytime.policies",
    "ExitTimes": "dare.anytime.costs",
    "Gallery": "dare.gallery.store",
    "Hits": "dare.gallery.store",
    "Labels": "dare.retrieval.labels",
    "MemoryGallery": "dare.gallery.memory",
    "NETSCOPE_2018": "dare.anytime.costs",
    "PRESETS": "dare.training.presets",
    "Preparation": "dare.images.preparation",
    "Prepared": "dare.images.preparation",
    "Runner": "dare.runners.runner",
    "RunningQuantile": "dare.anytime.policies",
    "Sample": "dare.datasets",
    "RefusedError": "dare.scheduling.scheduler",
    "Scheduler": "dare.scheduling.scheduler",
    "Scores": "dare.retrieval.scoring",
    "Stage": "dare.models.stage",
    "StageEmbeddings": "dare.models.dare",
    "Steered": "dare.anytime.policies",
    "Thresholds": "dare.anytime.policies",
    "TrainConfig": "dare.training.config",
    "Where": "dare.gallery.entry",
    "adjacent_shares": "dare.anytime.budgets",
    "answers": "dare.identification.answer",
    "compare": "dare.verification.verify",
    "conditional": "dare.anytime.budgets",
    "count_macs": "dare.models.dare",
    "create_gallery": "dare.gallery.opening",
    "embed": "dare.evaluation.embedding",
    "agreement": "dare.anytime.confidence",
    "evaluate": "dare.evaluation.evaluate",
    "export": "dare.exporting.writing",
    "fit_verifier": "dare.verification.verify",
    "folder": "dare.datasets",
    "geometric_shares": "dare.anytime.budgets",
    "identify": "dare.identification.answer",
    "identify_stream": "dare.identification.stream",
    "k_reciprocal": "dare.retrieval.reranking",
    "load_checkpoint": "dare.models.checkpoints",
    "load_released": "dare.models.released",
    "load_verifier": "dare.verification.verifier",
    "margin": "dare.anytime.confidence",
    "market1501": "dare.datasets",
    "measure": "dare.runners.timing",
    "nearness": "dare.anytime.confidence",
    "open_benchmark": "dare.datasets",
    "open_gallery": "dare.gallery.opening",
    "open_runner": "dare.runners.opening",
    "prepare": "dare.images.preparation",
    "replay": "dare.anytime.policies",
    "save_verifier": "dare.verification.verifier",
    "score": "dare.retrieval.scoring",
    "score_vectors": "dare.retrieval.scoring",
    "train": "dare.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dare' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if extra := missing_extra(error):
            raise ImportError(f"dare.{name} needs {error.name}; {extra}") from error
        raise
    globals()[name] = value
    return value


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """How to install a package that an extra provides; None for any other package."""
    package = (error.name or "").partition(".")[0]
    if package in {"torch", "torchvision", "timm"}:
        return "install it with: pip install 'dare-reid[torch]'"
    if package in {"onnxruntime", "openvino"}:
        return f"install it with: pip install 'dare-reid[{package.removesuffix('runtime')}]'"
    if package in {"onnx", "onnxscript", "nncf"}:
        return "install it with: pip install 'dare-reid[export]'"
    if package in {"matplotlib", "sklearn"}:
        return "install it with: pip install 'dare-reid[plots]'"
    return None


def __dir__() -> list[str]:
    return ["__version__", *sorted(_HOME)]
