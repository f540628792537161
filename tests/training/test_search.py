"""Nested search: inner folds only, budgeted, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crosstype.training import search
from crosstype.training.missingness import MissingnessPattern
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.search import inner_loss, own_values, searched


def test_it_takes_the_trial_of_least_inner_loss_and_goes_on_where_it_stopped(
    make_patients: Any,
    make_recipe: Any,
    make_splits: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = make_splits(make_patients(24))
    journal = tmp_path / "a" / "gene_only.search"
    tried: list[tuple[dict[str, Any], float]] = []
    plain = inner_loss

    def watched(name: str, given: Any, recipe: Any) -> float:
        assert given is splits  # nothing else is ever seen
        tried.append((own_values(recipe), plain(name, given, recipe)))
        return tried[-1][1]

    monkeypatch.setattr(search, "inner_loss", watched)
    few = make_recipe(start="zero", search_minutes=10.0, search_trials=3)
    searched("gene_only", splits, few, journal)
    assert len(tried) == 3
    assert tried[0][0] == own_values(few)
    more = make_recipe(start="zero", search_minutes=10.0, search_trials=5)
    found = searched("gene_only", splits, more, journal)
    assert len(tried) == 5
    best, loss = min(tried, key=lambda one: one[1])
    assert own_values(found) == best
    assert searched("gene_only", splits, more, journal) == found
    assert len(tried) == 5
    # What was kept is what a fit with these settings gives.
    assert inner_loss("gene_only", splits, found) == pytest.approx(loss, rel=1e-6)


def test_the_same_seed_gives_the_same_trials(
    make_patients: Any, make_recipe: Any, make_splits: Any, tmp_path: Path
) -> None:
    splits = make_splits(make_patients(24))
    recipe = make_recipe(start="zero", search_minutes=10.0, search_trials=4)
    one, other = (searched("concat", splits, recipe, tmp_path / name) for name in ("a", "b"))
    assert one == other


def test_a_search_of_a_whole_run_is_written_down(tiny: Any, tmp_path: Path) -> None:
    text = tiny.config.read_text().replace(
        "[training]\n", "[training]\nsearch_minutes = 5.0\nsearch_trials = 2\n", 1
    )
    tiny.config.write_text(text)
    tiny.run(tmp_path / "out", last="train")
    lines = (tmp_path / "out" / "search.csv").read_text().splitlines()
    assert lines[0] == "model,repeat,fold,setting,value"
    assert any(line.startswith("cross_attention,0,1,width,") for line in lines)


def test_several_seeds_are_averaged(make_patients: Any, make_recipe: Any, make_splits: Any) -> None:
    patients = make_patients(24)
    splits = make_splits(patients)
    both = NetworkClassifier("concat")
    both.fit(splits, make_recipe(start="zero", n_seeds=2, corruption=0.0))
    assert len(both.networks) == 4
    weights = [net.state_dict()["image.pool.content.weight"] for net in both.networks]
    assert not any(torch.equal(weights[0], other) for other in weights[1:])
    assert len(both.inner_logits[MissingnessPattern.WHOLE]) == len(patients)
    assert np.isfinite(both.predict(patients)).all()
