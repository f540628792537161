"""Programs of genes: inference from what was measured, against numpy's own conditioning."""

from __future__ import annotations

import numpy as np
import pytest

from crosstype.training.linear.gene_factors import GeneFactors, _regress, fit_gene_factors


def made(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients whose 30 genes follow 3 programs, which images show with noise."""
    rng = np.random.default_rng(seed)
    programs = rng.normal(size=(n, 3))
    genes = programs @ rng.normal(size=(3, 30)) + 0.3 * rng.normal(size=(n, 30))
    images = programs @ rng.normal(size=(3, 8)) + rng.normal(size=(n, 8))
    return genes - genes.mean(axis=0), images, programs


def test_missing_genes_are_the_gaussian_conditional_mean() -> None:
    genes, _, _ = made()
    learned = fit_gene_factors(genes, np.zeros((200, 0)))
    covariance = learned.weight @ learned.weight.T + np.diag(learned.noise)
    lost = np.random.default_rng(1).random(30) < 0.6
    shown = genes[:5].copy()
    shown[:, lost] = np.nan
    programs, _ = learned.infer(shown, np.zeros((5, 0)))
    by_conditioning = (
        covariance[np.ix_(lost, ~lost)]
        @ np.linalg.inv(covariance[np.ix_(~lost, ~lost)])
        @ genes[:5, ~lost].T
    ).T
    np.testing.assert_allclose(programs @ learned.weight[lost].T, by_conditioning, atol=1e-8)


def test_the_variance_of_the_line_is_that_of_the_conditional() -> None:
    genes, _, _ = made()
    learned = fit_gene_factors(genes, np.zeros((200, 0)))
    covariance = learned.weight @ learned.weight.T + np.diag(learned.noise)
    lost = np.arange(30) % 3 > 0
    line = np.random.default_rng(2).normal(size=(2, 30))
    shown = genes[:4].copy()
    shown[:, lost] = np.nan
    expected, variance = learned.logits(line, shown, np.zeros((4, 0)))
    left = (
        covariance[np.ix_(lost, lost)]
        - covariance[np.ix_(lost, ~lost)]
        @ np.linalg.inv(covariance[np.ix_(~lost, ~lost)])
        @ covariance[np.ix_(~lost, lost)]
    )
    exact = np.einsum("li,ij,lj->l", line[:, lost], left, line[:, lost])
    np.testing.assert_allclose(variance, np.tile(exact, (4, 1)), rtol=1e-6)
    assert expected.shape == (4, 2)


def test_with_every_gene_the_base_logits_are_unchanged() -> None:
    genes, images, _ = made()
    learned = fit_gene_factors(genes, images)
    line = np.ones((1, 30))
    expected, variance = learned.logits(line, genes, images)
    np.testing.assert_allclose(expected, genes @ line.T)
    np.testing.assert_allclose(variance, 0, atol=1e-12)


def test_without_any_gene_the_image_speaks() -> None:
    genes, images, programs = made(400)
    learned = fit_gene_factors(genes[:300], images[:300])
    nothing = np.full((100, 30), np.nan)
    found, covariance = learned.infer(nothing, images[300:])
    blind, _ = learned.infer(nothing, np.zeros((100, 8)) + images[:300].mean(axis=0))
    np.testing.assert_allclose(blind, np.tile(blind[0], (100, 1)))
    truth = genes[300:]
    with_image = np.mean((found @ learned.weight.T - truth) ** 2)
    without = np.mean((blind @ learned.weight.T - truth) ** 2)
    assert with_image < 0.7 * without
    some = truth.copy()
    some[:, 5:] = np.nan
    _, narrower = learned.infer(some, images[300:])
    assert (np.trace(narrower, axis1=1, axis2=2) < np.trace(covariance, axis1=1, axis2=2)).all()
    assert programs.shape == (400, 3)


@pytest.mark.parametrize("n_patients", [6, 12])
def test_few_patients_make_few_programs(n_patients: int) -> None:
    genes, images, _ = made(n_patients)
    learned = fit_gene_factors(genes, images)
    assert 1 <= learned.weight.shape[1] <= n_patients
    again = GeneFactors.from_arrays(learned.arrays())
    shown = np.where(np.arange(30) < 4, genes, np.nan)
    np.testing.assert_array_equal(again.infer(shown, images)[0], learned.infer(shown, images)[0])


@pytest.mark.parametrize("n_columns", [8, 90])
def test_the_regression_on_images_is_scikit_learns_ridge(n_columns: int) -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(3)
    images, programs = rng.normal(size=(40, n_columns)) + 2, rng.normal(size=(40, 3)) - 1
    slopes, offset = _regress(images, programs, 3.0)
    theirs = Ridge(alpha=3.0).fit(images, programs)
    np.testing.assert_allclose(slopes, theirs.coef_.T, atol=1e-10)
    np.testing.assert_allclose(offset, theirs.intercept_, atol=1e-10)
