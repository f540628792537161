"""Contributions to logits: complete, exact for the base model, and equal to a Riemann sum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crosstype.crossval.plan import Job
from crosstype.explain.attention import Attention, tile_contributions
from crosstype.explain.attribution import Attributions
from crosstype.explain.contributions import (
    base_model_contributions,
    contributions_of,
    integrated_gradients,
)
from crosstype.explain.out_of_fold import HeldOut
from crosstype.models.network import Batch, Network, Output, Sizes
from crosstype.training.fit import Prepared
from crosstype.training.linear.base_model import fit_base_model
from crosstype.training.missingness import MissingnessPattern
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.spec import TrainingSpec
from crosstype.types import Modality

BOTH = frozenset({Modality.IMAGE, Modality.GENES})


def fitted(
    name: str, patients: Any, splits: Any, recipe: Any, residual_weight: float
) -> NetworkClassifier:
    """Return a classifier whose networks weigh so much, whatever they earned."""
    classifier = NetworkClassifier(name)
    classifier.fit(splits, recipe)
    classifier.residual_weights = dict.fromkeys(classifier.residual_weights, residual_weight)
    return classifier


def lossy(patients: Any) -> Any:
    """Return patients of whom some lack some genes, one all, and one an image."""
    genes = patients.genes.copy()
    genes[3, ::2] = np.nan
    genes[5] = np.nan
    genes[6, 4] = np.nan
    bag_of = tuple(None if row == 1 else one for row, one in enumerate(patients.bag_of))
    return replace(patients.with_genes(genes), bag_of=bag_of)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "uses", [BOTH, {Modality.GENES}, {Modality.IMAGE}], ids=["both", "genes", "image"]
)
def test_the_terms_of_a_line_add_up_to_the_line(
    make_patients: Any, make_recipe: Any, uses: Any, n_classes: int
) -> None:
    patients = make_patients(24, n_classes)
    preparation = make_recipe().preparing.fit(patients)
    line = fit_base_model(patients, preparation, uses, TrainingSpec())
    for one in (patients, lossy(patients)):
        terms = base_model_contributions(line, one, preparation)
        said = line.logits(one, preparation)
        if uses == {Modality.IMAGE}:  # nobody knows what an image line says without an image
            terms = replace(terms, bias=terms.bias[2:], image=terms.image[2:], rest=terms.rest[2:],
                            genes=terms.genes[2:])  # fmt: skip
            said = said[2:]
        np.testing.assert_allclose(terms.logits, said, atol=1e-9)


def test_a_gene_of_a_line_is_weight_times_input(make_patients: Any, make_recipe: Any) -> None:
    patients = make_patients(24)
    preparation = make_recipe().preparing.fit(patients)
    line = fit_base_model(patients, preparation, BOTH, TrainingSpec())
    terms = base_model_contributions(line, patients, preparation)
    # By differences: a gene set back to its training mean takes away what it added.
    plain = line.logits(patients, preparation)
    steps = preparation.expression
    mean = steps.transform(patients.genes)
    for gene in (0, 7):
        low, high = np.nanmin(patients.genes[:, gene]), np.nanmax(patients.genes[:, gene])
        changed = patients.genes.copy()
        for _ in range(60):  # bisection for the raw value whose prepared one is the mean, 0
            middle = (low + high) / 2
            changed[:, gene] = middle
            is_above = steps.transform(changed)[0, gene] > 0
            low, high = (low, middle) if is_above else (middle, high)
        found = plain - line.logits(patients.with_genes(changed), preparation)
        np.testing.assert_allclose(terms.genes[:, :, gene], found, atol=1e-4)
    assert mean.shape == patients.genes.shape


@pytest.mark.parametrize("name", ["image_only", "gene_only", "concat", "cross_attention"])
@pytest.mark.parametrize("residual_weight", [0.0, 0.5, 1.0])
def test_the_parts_of_a_classifier_are_complete(
    make_patients: Any, make_recipe: Any, make_splits: Any, name: str, residual_weight: float
) -> None:
    patients = make_patients(20)
    classifier = fitted(name, patients, make_splits(patients), make_recipe(), residual_weight)
    for one in (patients, lossy(patients)):
        shown = one if name != "image_only" else one.take(np.arange(2, 20))
        parts = contributions_of(classifier, shown)
        assert parts.gap.max() < 1e-4
        np.testing.assert_allclose(
            parts.predicted.logits, classifier.logits(shown).numpy(), atol=1e-5
        )
        if name == "image_only":
            assert not parts.genes.any()
        if name == "gene_only":
            assert np.abs(parts.image).max() < 1e-6


def test_unmeasured_genes_add_nothing(
    make_patients: Any, make_recipe: Any, make_splits: Any
) -> None:
    patients = make_patients(20)
    classifier = fitted("concat", patients, make_splits(patients), make_recipe(), 1.0)
    one = lossy(patients)
    parts = contributions_of(classifier, one)
    missing = np.isnan(one.genes)[:, None, :]
    assert not np.where(missing, parts.genes, 0).any()


def test_integrated_gradients_are_a_riemann_sum(
    make_patients: Any, make_recipe: Any, make_splits: Any
) -> None:
    patients = make_patients(12)
    classifier = fitted("cross_attention", patients, make_splits(patients), make_recipe(), 1.0)
    network = classifier.networks[0]
    torch.manual_seed(0)
    for weights in network.parameters():  # a network that learned little would say little
        weights.data += 0.3 * torch.randn_like(weights)
    batch = Prepared(patients, classifier.preparation).batch(np.arange(12))
    found = integrated_gradients(network, batch)
    total = np.zeros((12, patients.genes.shape[1]))
    n = 400
    for step in range(n):
        genes = (batch.genes * ((step + 0.5) / n)).requires_grad_()
        network(replace(batch, genes=genes)).logits.sum().backward()
        assert genes.grad is not None
        total += (genes.grad * batch.genes).numpy() / n
    np.testing.assert_allclose(found[:, 0], total, atol=2e-4)
    assert np.abs(total).max() > 0.01


class Straight(Network):
    """A linear network, whose integrated gradients are weight times input."""

    uses = frozenset({Modality.GENES})
    weight = torch.tensor([[2.0], [-1.0], [0.5]])

    def forward(self, batch: Batch) -> Output:
        return Output(batch.genes @ self.weight + 3)


def test_integrated_gradients_of_a_straight_network_are_exact() -> None:
    genes = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 4.0]])
    mask = torch.ones(2, 1, dtype=torch.bool)
    batch = Batch(torch.zeros(2, 1, 4), mask, genes, torch.ones(2, 3, dtype=torch.bool))
    found = integrated_gradients(Straight(Sizes(4, 3, 2)), batch)
    expected = [[[2.0, -2.0, 1.5]], [[-2.0, 0.0, 2.0]]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_tiles_of_a_bag_add_up_to_its_image(make_patients: Any, make_recipe: Any) -> None:
    patients = make_patients(24)
    preparation = make_recipe().preparing.fit(patients)
    line = fit_base_model(patients, preparation, BOTH, TrainingSpec())
    terms = base_model_contributions(line, patients, preparation)
    for row, patient in enumerate(patients.ids):
        bag = patients.bags.read(patient)
        heard = tile_contributions(bag, terms.image_weight[row, 0], preparation)
        assert heard.shape == (len(bag),)
        np.testing.assert_allclose(heard.sum(), terms.image[row, 0], atol=1e-5)


def test_regimes_have_trusts_of_their_own(
    make_patients: Any, make_recipe: Any, make_splits: Any
) -> None:
    patients = make_patients(20)
    classifier = fitted("cross_attention", patients, make_splits(patients), make_recipe(), 0.0)
    classifier.residual_weights[MissingnessPattern.BARE] = 1.0
    parts = contributions_of(classifier, lossy(patients))
    assert parts.predicted.residual_weight.nonzero()[0].tolist() == [5]
    assert parts.gap.max() < 1e-4


def test_clinical_covariates_are_the_rest(
    make_patients: Any, make_recipe: Any, make_splits: Any
) -> None:
    patients = make_patients(20)
    words = np.array([[str(40 + row % 7), "pos" if row % 3 else "neg"] for row in range(20)])
    patients = replace(patients, covariates=words)
    recipe = make_recipe()
    columns: Any = (("age", "number"), ("er", "category"))
    recipe = replace(recipe, preparing=replace(recipe.preparing, covariates=columns))
    for residual_weight in (0.0, 1.0):
        classifier = fitted(
            "cross_attention", patients, make_splits(patients), recipe, residual_weight
        )
        parts = contributions_of(classifier, patients)
        assert np.abs(parts.rest).max() > 0
        assert parts.gap.max() < 1e-4
        # Nobody's covariates change what genes of a line add.
        if not residual_weight:
            others = replace(patients, covariates=words[::-1].copy())
            np.testing.assert_array_equal(contributions_of(classifier, others).genes, parts.genes)


def test_of_three_classes_a_patient_is_explained_towards_the_own(
    make_patients: Any, make_recipe: Any, make_splits: Any
) -> None:
    patients = make_patients(30, 3)
    classifier = fitted("cross_attention", patients, make_splits(patients), make_recipe(), 0.5)
    held = HeldOut(Job(0, 0, "cross_attention"), classifier, patients)
    parts = contributions_of(classifier, patients)
    names = [f"G{number}" for number in range(20)]
    sums = Attributions("cross_attention", names, patients)
    attention = Attention("cross_attention")
    sums.add(held, parts)
    attention.add(held, parts.predicted)
    rows = sums.patient_table()
    assert rows["towards"].to_list() == rows["label"].to_list()
    logits = classifier.logits(patients).double().numpy()
    own = (logits - logits.mean(axis=1, keepdims=True))[np.arange(30), patients.targets]
    np.testing.assert_allclose(rows["logit"], own, atol=1e-5)
    total = rows["baseline"] + rows["genes"] + rows["image"] + rows["rest"]
    np.testing.assert_allclose(rows["logit"], total, atol=1e-4)
    assert {"slope_Luminal", "slope_Normal", "mean_signed_Basal/Her2"} <= set(
        sums.gene_table(None).columns
    )
    assert parts.predicted.base_model is not None
    image = parts.predicted.base_model.image - parts.predicted.base_model.image.mean(
        axis=1, keepdims=True
    )
    for row, (_, looked) in enumerate(attention.patients()):
        expected = image[row, patients.targets[row]]
        assert looked.contribution is not None
        np.testing.assert_allclose(looked.contribution.sum(), expected, atol=1e-5)
