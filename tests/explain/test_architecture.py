"""Networks as built: every parameter counted, and connections equal to those of gradients."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from crosstype.explain.figures.architecture import GIVEN, LOGITS, parts_of
from crosstype.models.network import Network
from crosstype.types import Modality
from tests.models.networks import VARIANTS, make_batch, make_moved, patient_of

SEEN = {Modality.IMAGE: "tile features", Modality.GENES: "expression"}


def reached(parts: pl.DataFrame) -> set[str]:
    """Return everything from which arrows lead to the logits."""
    rows = parts.filter(pl.col("box") == pl.col("module")).select("module", "inputs")
    feeds = {name: [one for one in text.split("; ") if one] for name, text in rows.iter_rows()}
    found, waiting = set(), [LOGITS]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += feeds[name]
    return found


def taught(network: Network) -> set[str]:
    """Return the names of the parameters on which the logits depend, by torch's gradients."""
    named = dict(network.named_parameters())
    logits = network(make_batch()).logits.sum()
    slopes = torch.autograd.grad(logits, list(named.values()), allow_unused=True)
    return {name for name, slope in zip(named, slopes, strict=True) if slope is not None}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_add_up_and_arrows_say_what_gradients_say(name: str) -> None:
    network = make_moved(name)
    parts = parts_of(network, patient_of(make_batch(), 0))
    assert parts["n_parameters"].sum() == sum(one.numel() for one in network.parameters())
    assert parts["module"].is_unique().all()
    feeds = dict(parts.select("module", "inputs").iter_rows())
    assert not any(box in text.split("; ") for box, text in feeds.items())
    there = reached(parts)
    used = taught(network)
    for box in parts["box"].unique():
        own = {one for one, _ in network.named_parameters() if f"{one}.".startswith(f"{box}.")}
        assert bool(own & used) == bool(own and box in there), box
    for modality, given in SEEN.items():
        if VARIANTS[name].can_see(modality):
            assert given in there
    assert parts.filter(module=LOGITS)["shape"].item() == "patients x 1"
    assert set(GIVEN.values()) == set(parts.filter(kind="Input")["module"])


def test_the_published_concatenation_is_seen_to_drop_the_image() -> None:
    batch = patient_of(make_batch(), 0)
    assert "tiles" not in reached(parts_of(make_moved("paper_concat"), batch))
    assert "tiles" in reached(parts_of(make_moved("mended_concat"), batch))


def test_shapes_name_what_grows() -> None:
    parts = parts_of(make_moved("cross_attention"), patient_of(make_batch(), 0))
    shapes = dict(parts.select("module", "shape").iter_rows())
    assert shapes["tile features"] == "patients x tiles x 4"
    assert shapes["image.encoder"] == "patients x tiles x 8"
    assert shapes["blocks.0.genes_from_tiles"] == "patients x 3 x 8"
    assert shapes["program_names"] == "3 x 8"
    assert shapes["genes.encoder"] == "patients x 8"
