"""Metrics of predictions, their intervals and tests."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "evaluate": ["evaluate_models"],
        "inference.bootstrap": ["blocks", "draw_weights", "fold_summaries", "fold_values"],
        "inference.compare": ["compare_models"],
        "inference.paired_tests": ["draw_swaps", "holm", "pair_tests"],
        "metrics.metrics": ["headline_key"],
        "predictions": ["read_predictions"],
        "spec": ["EvaluationSpec"],
    },
)
