"""Vectors and their maps: of test patients only, each modality by itself, always the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.decomposition import PCA

from crosstype.explain.figures.embeddings import LEAST_PATIENTS, flat_map, network_vectors
from crosstype.models.catalog import NETWORKS
from crosstype.types import Modality
from tests.models.networks import VARIANTS, make_batch, make_moved


def test_every_patient_is_mapped_once_by_the_fold_that_never_saw_him(
    finished: tuple[Any, Path],
) -> None:
    _, out = finished
    maps = pl.read_csv(out / "explanation" / "vector_maps.csv")
    assert set(maps["space"]) == {"image", "genes", "fused"}
    assert set(maps["model"]) == {"cross_attention"}
    tested = pl.read_csv(out / "folds.csv").filter(role="test", repeat=0)
    wanted = sorted(tested.select("patient_id", "fold").iter_rows())
    for (_,), own in maps.group_by("space"):
        assert sorted(own.select("patient_id", "fold").iter_rows()) == wanted
    assert set(maps["method"]) == {"principal components"}  # eight patients a fold


@pytest.mark.parametrize("name", [*NETWORKS, "gated, clinical"])
def test_a_modalitys_vector_does_not_depend_on_the_other(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    uses = NETWORKS[VARIANTS[name].kind].uses
    with torch.no_grad():
        found = network_vectors(network, uses, batch)
        other_genes = network_vectors(network, uses, replace(batch, genes=batch.genes + 1))
        other_tiles = network_vectors(network, uses, replace(batch, tiles=batch.tiles + 1))
    sees = {one: VARIANTS[name].can_see(one) for one in (Modality.IMAGE, Modality.GENES)}
    wanted = {str(one.value) for one, seen in sees.items() if seen}
    assert set(found) == wanted | ({"fused"} if len(wanted) > 1 else set())
    for space, changed in (("image", other_genes), ("genes", other_tiles)):
        if space in found:
            torch.testing.assert_close(found[space], changed[space], rtol=0, atol=0)
    for space, changed in (("image", other_tiles), ("genes", other_genes)):
        if space in found:
            assert not torch.equal(found[space], changed[space])
    if "fused" in found:
        assert not torch.equal(found["fused"], other_tiles["fused"])
        assert not torch.equal(found["fused"], other_genes["fused"])


def test_few_patients_lie_on_their_principal_components() -> None:
    vectors = np.random.default_rng(0).normal(size=(LEAST_PATIENTS - 1, 30))
    places, method = flat_map(vectors, 0)
    assert method == "principal components"
    expected = PCA(2).fit_transform(vectors)
    scale = places[0] / expected[0]  # sign and scale are free
    np.testing.assert_allclose(places, expected * scale, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.abs(scale[0]), np.abs(scale[1]))


def test_a_map_is_always_the_same_and_keeps_neighbours() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(24, 12))
    vectors[12:] += 30
    places, method = flat_map(vectors, 3)
    assert method == "t-SNE, perplexity 8"
    again, _ = flat_map(vectors.copy(), 3)
    np.testing.assert_array_equal(places, again)
    nearest = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag([np.inf] * 24)
    side = np.arange(24) < 12
    assert (side[nearest.argmin(axis=1)] == side).all()


def test_vectors_that_do_not_differ_still_have_a_map() -> None:
    places, method = flat_map(np.ones((20, 5)), 0)
    assert method == "principal components"
    np.testing.assert_array_equal(places, 0)
