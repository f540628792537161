from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from crosstype.models.catalog import make_network
from crosstype.models.network import Sizes
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.fit import (
    Prepared,
    learning_rate_at,
    make_loss,
    predict_logits,
    probabilities_of,
)
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Patients, make_batch, part_by_size, shuffled_batches
from crosstype.training.spec import TrainingSpec, published


def test_balanced_weights_make_each_class_weigh_the_same() -> None:
    targets = torch.tensor([0, 0, 0, 1])
    for n_logits, n_classes in ((1, 2), (3, 3)):
        loss = make_loss(targets, n_classes, TrainingSpec(class_weights="balanced"))
        each = loss.each(torch.zeros(4, n_logits), targets)
        assert float(each[:3].sum()) == pytest.approx(float(each[3:].sum()))
        equal = make_loss(targets, n_classes, TrainingSpec(class_weights="none"))
        assert float(equal(torch.zeros(4, n_logits), targets)) == pytest.approx(math.log(n_classes))


def test_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    targets = np.array([0, 0, 1, 2, 2, 2, 2])
    spec = TrainingSpec(class_weights="balanced")
    weights = make_loss(torch.from_numpy(targets), 3, spec).class_weights
    reference = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    np.testing.assert_allclose(weights.numpy(), reference, rtol=1e-6)


def test_one_logit_is_the_second_class() -> None:
    np.testing.assert_allclose(
        probabilities_of(torch.tensor([[0.0], [800.0], [-800.0]])), [[0.5, 0.5], [0, 1], [1, 0]]
    )
    three = probabilities_of(torch.tensor([[0.0, 0.0, 900.0]]))
    np.testing.assert_allclose(three, [[0, 0, 1]], atol=1e-12)


def test_learning_rates() -> None:
    spec = TrainingSpec(learning_rate=1.0, max_epochs=20)
    rates = [learning_rate_at(epoch, spec) for epoch in range(20)]
    assert max(rates) == 1.0
    assert rates[:3] == sorted(rates[:3])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert 0 < rates[-1] < 0.1
    keras = published(TrainingSpec())
    found = [learning_rate_at(epoch, keras) / keras.learning_rate for epoch in (0, 9, 10, 12)]
    np.testing.assert_allclose(found, [1, 1, math.exp(-0.1), math.exp(-0.3)])


def test_every_patient_is_in_one_batch_and_none_alone() -> None:
    for n in range(2, 70):
        hands = list(shuffled_batches(n, 16, np.random.default_rng(n)))
        assert sorted(np.concatenate(hands).tolist()) == list(range(n))
        assert min(map(len, hands)) >= 2


def test_a_batch_masks_padding_and_missing_genes() -> None:
    genes = np.array([[1.0, np.nan], [3.0, 4.0]], dtype=np.float32)
    bags = [np.ones((3, 2), dtype=np.float32), np.ones((1, 2), dtype=np.float32)]
    batch = make_batch(bags, genes)
    assert batch.tile_mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.gene_mask.tolist() == [[True, False], [True, True]]
    assert batch.genes.tolist() == [[1, 0], [3, 4]]
    assert batch.tiles[1, 1:].abs().sum() == 0


def test_bags_are_drawn_without_replacement_and_alike_whether_kept_or_not(
    make_patients: Callable[..., Patients],
) -> None:
    patients = make_patients(4)
    for patient in patients.ids:
        drawn = patients.bags.sample(patient, 2, np.random.default_rng(5))
        whole = patients.bags.read(patient)
        kept = patients.bags.sample(patient, 2, np.random.default_rng(5))
        np.testing.assert_array_equal(drawn, kept)
        assert len(drawn) == min(2, len(whole))
        assert len({tuple(row) for row in drawn.tolist()} & {tuple(r) for r in whole.tolist()}) == (
            len(drawn)
        )
        everything = patients.bags.sample(patient, 100, np.random.default_rng(5))
        np.testing.assert_array_equal(everything, whole)


def test_patients_are_selected_by_name(make_patients: Callable[..., Patients]) -> None:
    patients = make_patients(6)
    chosen = patients.select(["P004", "P001"])
    assert chosen.ids == ("P004", "P001")
    np.testing.assert_array_equal(chosen.genes, patients.genes[[4, 1]])
    with pytest.raises(KeyError):
        patients.select(["P009"])


def test_training_stops_early_and_the_best_weights_are_restored(
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    make_recipe: Callable[..., TrainingRecipe],
) -> None:
    patients = make_patients(16, signal=0.0)
    recipe = make_recipe(max_epochs=200, patience=4, learning_rate=0.05, start="zero")
    classifier = NetworkClassifier("gene_only")
    classifier.fit(make_splits(patients), recipe)
    joint = np.mean([[e.validation_loss for e in curve] for curve in classifier.curves], axis=0)
    assert len(joint) < 200
    assert len(joint) - 1 - int(np.argmin(joint)) <= 4
    # No signal: what memorises the training patients is worse than what began, so it came back.
    assert joint[-1] > joint.min()


def test_validation_at_the_best_epoch_is_what_the_kept_networks_say(
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    make_recipe: Callable[..., TrainingRecipe],
) -> None:
    splits = make_splits(make_patients(16, signal=3.0))
    recipe = make_recipe(max_epochs=15, learning_rate=0.02, start="zero", patience=15)
    classifier = NetworkClassifier("gene_only")
    classifier.fit(splits, recipe)
    joint = np.mean([[e.validation_loss for e in curve] for curve in classifier.curves], axis=0)
    ends = np.cumsum([len(split.validation) for split in splits])
    losses = []
    for split, end in zip(splits, ends, strict=True):
        loss = make_loss(torch.from_numpy(split.train.targets), 2, recipe.training)
        targets = torch.from_numpy(split.validation.targets)
        for said in classifier.inner_logits.values():  # whole expression, and damaged
            losses.append(float(loss(said[end - len(targets) : end], targets)))
    assert float(np.mean(losses)) == pytest.approx(float(joint.min()), rel=1e-5)


def test_batches_are_cut_by_padded_size() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        rows = rng.permutation(20)[: rng.integers(1, 20)]
        n_tiles = rng.integers(0, 30, len(rows))
        most = int(rng.integers(1, 120))
        length = dict(zip(rows.tolist(), n_tiles.tolist(), strict=True))
        batches = part_by_size(rows, n_tiles, most)
        np.testing.assert_array_equal(np.concatenate(batches), rows)
        for batch in batches:
            padded = len(batch) * max(length[row] for row in batch.tolist())
            assert len(batch) == 1 or padded <= most


@pytest.mark.parametrize("name", ["cross_attention", "paper_cross_attention"])
def test_logits_do_not_depend_on_how_many_are_predicted_at_once(
    make_patients: Callable[..., Patients],
    make_recipe: Callable[..., TrainingRecipe],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patients, recipe = make_patients(12), make_recipe()
    preparation = recipe.preparing.fit(patients)
    sizes = Sizes(len(preparation.feature_mean), int(preparation.kept.sum()), 2)
    torch.manual_seed(1)
    network = make_network(name, sizes, recipe.model)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    prepared = Prepared(patients, preparation)
    together = predict_logits(network, prepared)
    assert together.std() > 1e-4
    for n_bytes in (1, 200, 1000, 1 << 40):
        monkeypatch.setattr("crosstype.training.fit.PREDICTED_BYTES", n_bytes)
        found = predict_logits(network, prepared)
        # Matrix products round differently for other numbers of rows, and in nothing else.
        torch.testing.assert_close(found, together, rtol=2e-6, atol=2e-6)


def test_the_length_of_a_bag_is_known_unread_and_read(
    make_patients: Callable[..., Patients],
) -> None:
    bags = make_patients(3).bags
    for patient in make_patients(3).ids:
        unread = bags.length(patient)
        assert len(bags.read(patient)) == unread == bags.length(patient)
