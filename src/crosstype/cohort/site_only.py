"""A baseline that knows nothing but the site: what a model could reach by recognising it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

SITE_ONLY = "site_only"
PRIOR_PATIENTS = 1.0
"""Weight of the training patients' shares beside those of the site: one patient's."""


def site_only_probabilities(
    train: Sequence[str],
    test: Sequence[str],
    label_of: Mapping[str, str],
    site_of: Mapping[str, str],
    classes: Sequence[str],
) -> Float[np.ndarray, "test classes"]:
    """Return each test patient's class shares among the training patients of the same site.

    A site without training patients has the shares of all training patients, and every site is
    drawn towards them as if one more patient were there.

    Args:
        train: training patients.
        test: patients to be predicted.
        label_of: class name of each training patient; of others it is not looked at.
        site_of: tissue source site of each patient.
        classes: class names in order.
    """
    place = {name: number for number, name in enumerate(classes)}
    everyone = np.zeros(len(classes))
    at_site: dict[str, np.ndarray] = {}
    for patient in train:
        number = place[label_of[patient]]
        everyone[number] += 1
        at_site.setdefault(site_of[patient], np.zeros(len(classes)))[number] += 1
    shares = everyone / everyone.sum()
    counts = np.stack([at_site.get(site_of[one], np.zeros(len(classes))) for one in test])
    pooled = counts + PRIOR_PATIENTS * shares
    found: np.ndarray = pooled / pooled.sum(axis=1, keepdims=True)
    return found
