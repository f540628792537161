"""Whether the site can be told from a patient's features: if it can, so can a model.

Sites differ in stain, scanner and patients. A probe that names the site says that a model could
use it in place of biology; protocol `site` then is the honest one (Howard et al. 2021, Nature
Communications 12:4423).

A baseline that knows nothing but the site: what a model could reach by recognising it.

What the site alone would say, fold by fold, and whether it can be told from the inputs.
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
    """Return how well the site is told from mean tile features, and from expression.

    A logistic regression on (up to 100 principal components of) each input, cross-validated by
    patient. `balanced_accuracy` is the mean over sites of the share that is found; `auroc` the mean
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
    preparation = preparing.fit(chosen)  # knows no site; columns are standardised in each fold
    summary = preparation.bag_summary(chosen)
    inputs = {
        "image": summary[:, : summary.shape[1] // 2],
        "genes": np.nan_to_num(preparation.genes(chosen.genes)),
    }
    found = []
    for name, matrix in inputs.items():
        said = _said(matrix.astype(np.float64), target, seed)
        for metric, values in _resampled(said, target, seed).items():
            low, high = np.quantile(values[1:], [0.025, 0.975])
            guessing = 1 / len(kept) if metric == "balanced_accuracy" else 0.5
            row = (name, metric, values[0], low, high, guessing, len(kept), len(rows))
            found.append(row)
    return schema.SITE_PROBE.frame(found)


def _said(matrix: Matrix, target: Sites, seed: int) -> Float[np.ndarray, "patients sites"]:
    """Return each patient's probability of every site, by a probe fitted on others."""
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
    said: np.ndarray = cross_val_predict(probe, matrix, target, cv=parts, method="predict_proba")
    return said


def _resampled(
    said: Float[np.ndarray, "patients sites"], target: Sites, seed: int
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Return the metrics of the patients as they are, then of resamples of them."""
    rng = np.random.default_rng(seed)
    n = len(target)
    draws = [np.arange(n), *(rng.integers(n, size=n) for _ in range(N_RESAMPLES))]
    metrics = [_metrics(said[rows], target[rows]) for rows in draws]
    found, ranked = np.array(metrics).T
    return {"balanced_accuracy": found, "auroc": ranked}


def _metrics(said: Float[np.ndarray, "patients sites"], target: Sites) -> tuple[float, float]:
    from scipy.stats import rankdata

    called, found, ranked = said.argmax(axis=1), [], []
    ranks = rankdata(said, axis=0)
    for site in np.unique(target):
        inside: Bool[np.ndarray, " patients"] = target == site
        n, n_other = int(inside.sum()), int((~inside).sum())
        found.append(float((called[inside] == site).mean()))
        wins = ranks[inside, site].sum() - n * (n + 1) / 2
        ranked.append(float(wins / (n * n_other)))
    return float(np.mean(found)), float(np.mean(ranked))


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


def site_only_rows(plan: Plan) -> list[pl.DataFrame]:
    """Return `site_only`'s predictions of every fold; nothing where there is one site or none."""
    table = schema.COHORT.read(plan.out)
    site_of = dict(table.select("patient_id", "site").iter_rows())
    if len(set(site_of.values())) < 2:
        return []
    label_of = dict(table.select("patient_id", "label").iter_rows())
    folds = folds_of(schema.FOLDS.read(plan.out), plan.protocol)
    return [_rows(plan, fold, label_of, site_of) for fold in folds]


def probe_sites(plan: Plan) -> pl.DataFrame:
    """Return how well the cohort's sites are told from features and expression."""
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
    said = site_only_probabilities(train, test, label_of, site_of, plan.classes)
    job = Job(fold.repeat, fold.fold, SITE_ONLY)
    known = (test, [label_of[patient] for patient in test])
    return prediction_rows(job, known, (said.argmax(axis=1), said), plan.classes)
