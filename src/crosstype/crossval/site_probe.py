"""Prediction of the tissue source site from features and expression, and the site-only baseline.

Sites differ in stain, scanner and patients. If a probe predicts the site, a model could
use it in place of biology; protocol `site` prevents that (Howard et al. 2021, Nature
Communications 12:4423).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from crosstype.crossval.plan import Job, Plan
from crosstype.crossval.prediction_table import prediction_rows
from crosstype.crossval.worker import WorkerData
from crosstype.folds.folds import Fold, folds_of
from crosstype.io import schema
from crosstype.models.catalog import SITE_ONLY
from crosstype.protocol import protocol_named
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparing

LEAST_PATIENTS = 10
"""Sites with fewer patients are left out of the probe."""
N_PARTS = 5
N_COMPONENTS = 100
STRENGTH = 0.01
N_RESAMPLES = 500

Matrix = Float[np.ndarray, "patients columns"]
Sites = Int[np.ndarray, " patients"]


def site_probe(
    patients: Patients, sites: Sequence[str], preparing: Preparing, seed: int
) -> pl.DataFrame:
    """Return how well the site is predicted from mean tile features, and from expression.

    A logistic regression on (up to 100 principal components of) each input, cross-validated by
    patient. `balanced_accuracy` is the mean recall over sites; `auroc` the mean
    over sites of that site against the rest. Intervals (95%) resample patients.

    Args:
        patients: the cohort.
        sites: tissue source site of each, empty where unknown.
        preparing: how expression is prepared.
        seed: of the folds and resamples.

    Returns:
        Two rows per input; none with fewer than two sites of 10 patients.
    """
    counts = Counter(site for site in sites if site)
    kept = sorted(site for site, n in counts.items() if n >= LEAST_PATIENTS)
    rows = np.array([i for i, site in enumerate(sites) if site in kept], dtype=np.int64)
    if len(kept) < 2:
        return schema.SITE_PROBE.frame()
    chosen = patients.take(rows)
    target = np.array([kept.index(sites[i]) for i in rows])
    preparation = preparing.fit(chosen)  # without sites; columns are standardised in each fold
    summary = preparation.bag_summary(chosen)
    inputs = {
        "image": summary[:, : summary.shape[1] // 2],
        "genes": np.nan_to_num(preparation.genes(chosen.genes)),
    }
    found = []
    for name, matrix in inputs.items():
        probability = _site_probability(matrix.astype(np.float64), target, seed)
        for metric, values in _resampled(probability, target, seed).items():
            low, high = np.quantile(values[1:], [0.025, 0.975])
            guessing = 1 / len(kept) if metric == "balanced_accuracy" else 0.5
            row = (name, metric, values[0], low, high, guessing, len(kept), len(rows))
            found.append(row)
    return schema.SITE_PROBE.frame(found)


def _site_probability(
    matrix: Matrix, target: Sites, seed: int
) -> Float[np.ndarray, "patients sites"]:
    """Return each patient's cross-validated probability of every site."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    smallest = len(target) - -(-len(target) // N_PARTS) - 1
    steps = [StandardScaler()]
    if matrix.shape[1] > N_COMPONENTS:
        steps.append(PCA(min(N_COMPONENTS, smallest), svd_solver="full"))
    probe = make_pipeline(*steps, LogisticRegression(C=STRENGTH, max_iter=2000))
    parts = StratifiedKFold(N_PARTS, shuffle=True, random_state=seed)
    found: np.ndarray = cross_val_predict(probe, matrix, target, cv=parts, method="predict_proba")
    return found


def _resampled(
    probability: Float[np.ndarray, "patients sites"], target: Sites, seed: int
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Return the metrics of the patients as they are, then of resamples of them."""
    rng = np.random.default_rng(seed)
    n = len(target)
    draws = [np.arange(n), *(rng.integers(n, size=n) for _ in range(N_RESAMPLES))]
    metrics = [_metrics(probability[rows], target[rows]) for rows in draws]
    found, ranked = np.array(metrics).T
    return {"balanced_accuracy": found, "auroc": ranked}


def _metrics(probability: Float[np.ndarray, "n sites"], target: Sites) -> tuple[float, float]:
    from scipy.stats import rankdata

    predicted, found, ranked = probability.argmax(axis=1), [], []
    ranks = rankdata(probability, axis=0)
    for site in np.unique(target):
        inside: Bool[np.ndarray, " patients"] = target == site
        n, n_other = int(inside.sum()), int((~inside).sum())
        found.append(float((predicted[inside] == site).mean()))
        wins = ranks[inside, site].sum() - n * (n + 1) / 2
        ranked.append(float(wins / (n * n_other)))
    return float(np.mean(found)), float(np.mean(ranked))


PRIOR_PATIENTS = 1.0
"""Weight of the shares of all training patients, in patients of the site."""


def site_only_probabilities(
    train: Sequence[str],
    test: Sequence[str],
    label_of: Mapping[str, str],
    site_of: Mapping[str, str],
    classes: Sequence[str],
) -> Float[np.ndarray, "test classes"]:
    """Return each test patient's class shares among the training patients of the same site.

    A site without training patients has the shares of all training patients, and every site is
    shrunk towards them by one pseudo-patient.

    Args:
        train: training patients.
        test: patients to be predicted.
        label_of: class name of each training patient; others are ignored.
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


def site_only_rows(plan: Plan) -> list[pl.DataFrame]:
    """Return `site_only`'s predictions of every fold; none with fewer than two sites."""
    table = schema.COHORT.read(plan.out)
    site_of = dict(table.select("patient_id", "site").iter_rows())
    if len(set(site_of.values())) < 2:
        return []
    label_of = dict(table.select("patient_id", "label").iter_rows())
    folds = folds_of(schema.FOLDS.read(plan.out), plan.protocol)
    return [_rows(plan, fold, label_of, site_of) for fold in folds]


def probe_sites(plan: Plan) -> pl.DataFrame:
    """Return how well the cohort's sites are predicted from features and expression."""
    worker_data = WorkerData(plan)
    sites = schema.COHORT.read(plan.out)["site"].to_list()
    preparing = Preparing(plan.expression, protocol_named("strict"), worker_data.unit)
    return site_probe(worker_data.patients, sites, preparing, plan.seed)


def _rows(
    plan: Plan, fold: Fold, label_of: dict[str, str], site_of: dict[str, str]
) -> pl.DataFrame:
    leaks = plan.protocol.validation_is_test
    train = fold.train if leaks else (*fold.train, *fold.validation)
    test = sorted(fold.test)
    probability = site_only_probabilities(train, test, label_of, site_of, plan.classes)
    job = Job(fold.repeat, fold.fold, SITE_ONLY)
    known = (test, [label_of[patient] for patient in test])
    predicted = (probability.argmax(axis=1), probability)
    return prediction_rows(job, known, predicted, plan.classes)
