"""Measure how predictions carry over to another assay, for each representation of expression.

    CROSSTYPE_DATA=DATA python benchmarks/transfer.py artificial|counts|lost [--line]

Training patients are those of `expression_rsem_909.tsv.gz` with a label and a slide whom
`counts_20124.tsv.gz` does not measure. `artificial` deals them into folds and measures each test
fold also by an assay that is made up: a factor per gene and patient's depth. `counts` tests on the
other 80 patients, measured by either assay. `lost` takes genes away from test folds. `--line`
fits the line alone, which takes seconds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from crosstype.cohort.chosen import chosen_samples
from crosstype.cohort.expression import read_expression
from crosstype.cohort.genes import align_genes
from crosstype.cohort.labels import read_labels
from crosstype.cohort.linear_scale import linear_scale_of
from crosstype.cohort.protocol import protocol_named
from crosstype.cohort.spec import ClassSpec, CohortSpec, ExpressionSpec
from crosstype.features.layouts import read_features  # noqa: F401
from crosstype.models.catalog import NETWORKS
from crosstype.models.spec import ModelSpec
from crosstype.tables import read_table  # noqa: F401
from crosstype.training.bags import Bags, Patients
from crosstype.training.classifiers import Recipe, Split
from crosstype.training.fit import probabilities_of
from crosstype.training.linear_start import fit_line
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.preparation import Preparing
from crosstype.training.spec import TrainingSpec
