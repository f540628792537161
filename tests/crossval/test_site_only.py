"""The baseline that knows the site: by hand, and blind to the labels of whom it predicts."""

from __future__ import annotations

import numpy as np
import pytest

from crosstype.crossval.site_probe import site_only_probabilities

CLASSES = ("Luminal", "Basal")
TRAIN = ("a1", "a2", "a3", "b1")
LABELS = {"a1": "Luminal", "a2": "Luminal", "a3": "Basal", "b1": "Basal"}
SITES = {"a1": "A", "a2": "A", "a3": "A", "b1": "B", "ta": "A", "tb": "B", "tc": "C"}


def test_shares_by_hand() -> None:
    # All: 2 of 4 each. A: (2 + 0.5) / 4, (1 + 0.5) / 4. B: 0.5 / 2, 1.5 / 2. C: nobody.
    found = site_only_probabilities(TRAIN, ("ta", "tb", "tc"), LABELS, SITES, CLASSES)
    assert found == pytest.approx(np.array([[0.625, 0.375], [0.25, 0.75], [0.5, 0.5]]))


def test_labels_of_those_predicted_are_never_looked_at() -> None:
    test = ("ta", "tb", "tc")
    alone = site_only_probabilities(TRAIN, test, LABELS, SITES, CLASSES)  # they have no label
    for label in CLASSES:
        known = LABELS | dict.fromkeys(test, label)
        assert np.array_equal(site_only_probabilities(TRAIN, test, known, SITES, CLASSES), alone)
