"""The ridge base model with missing genes: complete data unchanged; restored from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosstype.training.linear.base_model import RidgeBaseModel, base_model_inputs, fit_base_model
from crosstype.training.spec import TrainingSpec
from crosstype.types import Modality

BOTH = frozenset(Modality)


def test_whole_expression_is_the_plain_line(make_patients: Any, make_recipe: Any) -> None:
    patients = make_patients(24)
    preparation = make_recipe().preparing.fit(patients)
    line = fit_base_model(patients, preparation, BOTH, TrainingSpec())
    genes, images = base_model_inputs(patients, preparation, BOTH)
    plain = np.concatenate([genes, images], axis=1) @ line.weight.T + line.bias
    np.testing.assert_array_equal(line.logits(patients, preparation), plain)


def test_only_patients_with_missing_genes_change(make_patients: Any, make_recipe: Any) -> None:
    patients = make_patients(24)
    preparation = make_recipe().preparing.fit(patients)
    line = fit_base_model(patients, preparation, BOTH, TrainingSpec())
    genes = patients.genes.copy()
    genes[3, ::2] = np.nan
    genes[5] = np.nan
    whole = line.logits(patients, preparation)
    found = line.logits(patients.with_genes(genes), preparation)
    changed = (found != whole).any(axis=1)
    assert changed.nonzero()[0].tolist() == [3, 5]
    assert np.isfinite(found).all()


def test_without_genes_the_genes_say_nothing(make_patients: Any, make_recipe: Any) -> None:
    patients = make_patients(24)
    preparation = make_recipe().preparing.fit(patients)
    line = fit_base_model(patients, preparation, {Modality.GENES}, TrainingSpec())
    nothing = patients.with_genes(np.full_like(patients.genes, np.nan))
    found = line.logits(nothing, preparation)
    np.testing.assert_allclose(found, np.tile(found[0], (24, 1)))
    assert line.image_alone is None


def test_it_comes_back_from_arrays(make_patients: Any, make_recipe: Any) -> None:
    patients = make_patients(24)
    preparation = make_recipe().preparing.fit(patients)
    line = fit_base_model(patients, preparation, BOTH, TrainingSpec())
    genes = np.where(np.arange(patients.genes.shape[1]) % 3 == 0, patients.genes, np.nan)
    lossy = patients.with_genes(genes.astype(np.float32))
    again = RidgeBaseModel.from_arrays(BOTH, line.arrays())
    np.testing.assert_array_equal(again.logits(lossy, preparation), line.logits(lossy, preparation))
