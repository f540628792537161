"""What the expression steps that keep every gene share."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class ExpressionStep(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """What all steps share: patients x genes in and out, NaN allowed for missing, float kept."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, values: Any, *, reset: bool) -> np.ndarray:
        """Return the values as a float array; inf and another number of genes are refused."""
        if not reset:
            check_is_fitted(self)
        checked: np.ndarray = validate_data(
            self,
            values,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )
        return checked
