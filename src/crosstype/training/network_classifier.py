"""Classifier of a ridge base model plus the residual logits of an ensemble of networks.

The networks are trained on every missingness pattern, with cross-fitted logits of the base model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crosstype.errors import TrainingError
from crosstype.expression.genes.sets import MatchedSets
from crosstype.models.catalog import NETWORKS, make_network
from crosstype.models.network import Network, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.training.calibration import Calibration, calibrate
from crosstype.training.classifier import (
    Arrays,
    Classifier,
    Probabilities,
    Split,
    TrainingRecipe,
    concatenate,
    training_patients,
    with_prefix,
)
from crosstype.training.fit import (
    Member,
    Prepared,
    fit_members,
    make_loss,
    predict_logits,
    probabilities_of,
)
from crosstype.training.linear.base_model import (
    RidgeBaseModel,
    choose_residual_weight,
    fit_base_model,
)
from crosstype.training.missingness import MissingnessPattern, corrupted, pattern_of, patterns_of
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparation
from crosstype.types import Modality

Rows = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class CorruptedTraining:
    """Network inputs of all training patients in every missingness pattern.

    Attributes:
        of: all training patients in each pattern.
        train: rows of each split's training patients.
        validation: rows of each split's validation patients.
    """

    of: dict[MissingnessPattern, Prepared]
    train: tuple[Rows, ...]
    validation: tuple[Rows, ...]

    def training(self, split: int) -> list[Prepared]:
        """Return a split's training patients in each pattern, complete data first."""
        return [one.take(self.train[split]) for one in self.of.values()]

    def held_out(self, split: int) -> list[Prepared]:
        """Return a split's validation patients in each pattern, complete data first."""
        return [one.take(self.validation[split]) for one in self.of.values()]

    def all_held_out(self, pattern: MissingnessPattern) -> Prepared:
        """Return the validation patients of all splits in one pattern, split after split."""
        return self.of[pattern].take(np.concatenate(self.validation))


def trained_patterns(
    uses: frozenset[Modality], recipe: TrainingRecipe
) -> tuple[MissingnessPattern, ...]:
    """Return the missingness patterns that a model of these modalities is trained on."""
    return patterns_of(uses) if recipe.training.corruption > 0 else (MissingnessPattern.WHOLE,)


def corrupt_training(
    splits: Sequence[Split],
    preparation: Preparation,
    base_models: Sequence[RidgeBaseModel] | None,
    patterns: Sequence[MissingnessPattern],
    recipe: TrainingRecipe,
) -> CorruptedTraining:
    """Corrupt the training patients in every pattern, with cross-fitted base logits.

    A patient's base logits come from the base model of the split that held them out. Corruption
    depends on the seed and the patients alone, so that it is the same for all models.

    Args:
        splits: of the training patients.
        preparation: fitted on them.
        base_models: each split's base model; None: base logits of 0.
        patterns: missingness patterns to train on.
        recipe: seed, unit and settings.
    """
    everyone = concatenate(*splits[0].patients)
    position = {patient: row for row, patient in enumerate(everyone.ids)}
    held = [_rows(position, concatenate(*split.held_out)) for split in splits]
    of = {}
    for number, pattern in enumerate(patterns):
        rng = np.random.default_rng([*recipe.seed, number])
        patients = corrupted(everyone, pattern, recipe.preparing.unit, rng)
        base_logits = None
        if base_models is not None:
            logits = [
                base.logits(patients.take(rows), preparation)
                for base, rows in zip(base_models, held, strict=True)
            ]
            base_logits = np.zeros((len(everyone), logits[0].shape[1]))
            base_logits[np.concatenate(held)] = np.concatenate(logits)
        of[pattern] = Prepared(
            patients, preparation, base_logits, imputed=recipe.preparing.protocol.published_training
        )
    return CorruptedTraining(
        of,
        tuple(_rows(position, split.train) for split in splits),
        tuple(_rows(position, split.validation) for split in splits),
    )


def _rows(position: dict[str, int], patients: Patients) -> Rows:
    return np.array([position[one] for one in patients.ids], dtype=np.int64)


def add_residual(
    base_logits: Float[Tensor, "patients logits"],
    logits: Float[Tensor, "patients logits"],
    residual_weight: Float[Tensor, "patients 1"] | float,
) -> Float[Tensor, "patients logits"]:
    """Return the base logits plus the weighted residual."""
    total: Tensor = base_logits + residual_weight * (logits - base_logits)
    return total


MEMBERSHIP = "gene_sets.membership"


class NetworkClassifier(Classifier):
    """Ridge base model plus the mean residual logits of an ensemble of one network.

    Each network is trained on all inner folds but one and validated on that one; they stop
    together. With several seeds there are as many networks for each inner fold.

    Attributes:
        preparation: fitted on all training patients.
        base_model: ridge base model, fitted on all training patients; None if there is none.
        networks: one per split and seed, split by split for one seed after the other.
        residual_weights: weight of the networks' mean residual logits, 0 to 1, for each missingness
            pattern that occurred in training.
        inner_logits: for each pattern, cross-fitted logits of every split's validation patients.
        imputed: whether unmeasured genes are imputed for the networks, as for the published ones.
        set_names: names of the gene sets of the network's first gene tokens, in their order.
        membership: gene sets x kept genes, the genes of each token; None: learned gene tokens.
    """

    preparation: Preparation

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        super().__init__(name)
        self.base_model: RidgeBaseModel | None = None
        self.networks: list[Network] = []
        self.residual_weights: dict[MissingnessPattern, float] = {}
        self.inner_logits: dict[MissingnessPattern, Tensor] = {}
        self.imputed = False
        self.set_names: tuple[str, ...] = ()
        self.membership: Bool[np.ndarray, "sets genes"] | None = None

    @property
    def uses_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return Modality.GENES in NETWORKS[self.name].uses

    def fit(self, splits: Sequence[Split], recipe: TrainingRecipe) -> None:
        """Fit base model and networks, then choose the residual weights and calibrate."""
        patients = training_patients(splits, recipe)
        self.preparation = recipe.preparing.fit(splits[0].everyone or patients)
        kind = NETWORKS[self.name]
        if kind.sees_gene_sets and recipe.gene_sets is not None:
            self._match(recipe.gene_sets, recipe.model)
        base_models = None
        if recipe.training.start == "linear" and kind.has_base_model:
            settings = (self.preparation, kind.uses, recipe.training)
            self.base_model = fit_base_model(patients, *settings)
            base_models = [fit_base_model(split.train, *settings) for split in splits]
        patterns = trained_patterns(kind.uses, recipe)
        training_data = corrupt_training(splits, self.preparation, base_models, patterns, recipe)
        self.imputed = recipe.preparing.protocol.published_training
        n_splits = len(splits)
        members = [
            self._member(
                number,
                training_data.training(number % n_splits),
                training_data.held_out(number % n_splits),
                recipe,
            )
            for number in range(n_splits * recipe.training.n_seeds)
        ]
        fit_members(members, recipe.training)
        self._keep(members)
        for position, pattern in enumerate(patterns):
            held = training_data.all_held_out(pattern)
            each = [predict_logits(one.network, one.validation[position]) for one in members]
            own = [torch.stack(each[split::n_splits]).mean(dim=0) for split in range(n_splits)]
            logits = torch.cat(own)
            weight = self._residual_weight(held, logits, recipe)
            self.residual_weights[pattern] = weight
            self.inner_logits[pattern] = add_residual(held.base_logits, logits, weight)
        targets = training_data.all_held_out(MissingnessPattern.WHOLE).targets.numpy()
        self.calibration = calibrate(self.inner_logits, targets, recipe.training)

    @property
    def residual_weight(self) -> float:
        """Weight of the networks' residual logits where nothing is missing, 0 to 1."""
        return self.residual_weights.get(MissingnessPattern.WHOLE, 1.0)

    def pattern_of(self, prepared: Prepared) -> np.ndarray:
        """Return each patient's missingness pattern, one of those that occurred in training."""
        return pattern_of(prepared.patients, prepared.measured(), tuple(self.residual_weights))

    def logits(self, patients: Patients) -> Float[Tensor, "patients logits"]:
        """Return the base logits plus the networks' mean residual logits times their weight.

        The residual weight is that of the patient's missingness pattern.
        """
        base = self.base_model.logits(patients, self.preparation) if self.base_model else None
        prepared = Prepared(patients, self.preparation, base, imputed=self.imputed)
        weights = np.array(
            [[self.residual_weights[one]] for one in self.pattern_of(prepared)], dtype=np.float32
        )
        if self.base_model and not weights.any():
            return prepared.base_logits
        each = torch.stack([predict_logits(network, prepared) for network in self.networks])
        return add_residual(prepared.base_logits, each.mean(dim=0), torch.from_numpy(weights))

    def predict(self, patients: Patients) -> Probabilities:
        """Return calibrated probabilities."""
        logits = self.logits(patients)
        if not self.calibration.temperatures:
            return probabilities_of(logits)
        patterns = self.pattern_of(Prepared(patients, self.preparation, imputed=self.imputed))
        return probabilities_of(self.calibration.apply(logits, patterns.tolist()))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return preparation, base model and every network's weights."""
        arrays, steps = self.preparation.state()
        if self.base_model:
            arrays |= {f"start.{key}": value for key, value in self.base_model.arrays().items()}
        for number, network in enumerate(self.networks):
            weights = {f"{number}.{k}": v.numpy() for k, v in network.state_dict().items()}
            arrays |= weights
        for pattern, logits in self.inner_logits.items():
            arrays[f"inner_logits.{pattern}"] = logits.numpy()
        settings: dict[str, Any] = {
            "preparation": steps,
            "sizes": _sizes(self.networks[0]),
            "residual_weights": dict(self.residual_weights),
            "imputed": self.imputed,
            "calibration": self.calibration.state(),
        }
        if self.membership is not None:
            arrays[MEMBERSHIP] = self.membership
            settings["gene_sets"] = list(self.set_names)
        return arrays, settings | {"n_networks": len(self.networks)}

    def restore(self, arrays: Arrays, settings: dict[str, Any], model: ModelSpec) -> None:
        """Set the fitted attributes from `state`."""
        self.preparation = Preparation.from_state(arrays, settings["preparation"])
        self.residual_weights = {
            MissingnessPattern(name): float(one)
            for name, one in settings["residual_weights"].items()
        }
        self.imputed = bool(settings["imputed"])
        self.calibration = Calibration.from_state(settings.get("calibration", {}))
        inner = with_prefix(arrays, "inner_logits.")
        self.inner_logits = {
            MissingnessPattern(name): torch.from_numpy(v) for name, v in inner.items()
        }
        uses = NETWORKS[self.name].uses
        if "start.weight" in arrays:
            self.base_model = RidgeBaseModel.from_arrays(uses, with_prefix(arrays, "start."))
        self.set_names = tuple(settings.get("gene_sets", ()))
        self.membership = arrays.get(MEMBERSHIP)
        sizes = Sizes(**settings["sizes"], membership=_tensor(self.membership))
        for number in range(int(settings["n_networks"])):
            network = make_network(self.name, sizes, model)
            weights = with_prefix(arrays, f"{number}.")
            network.load_state_dict({key: torch.from_numpy(v) for key, v in weights.items()})
            network.eval()
            self.networks.append(network)

    def _match(self, gene_sets: MatchedSets, model: ModelSpec) -> None:
        """Keep the gene sets with enough genes among those that this fold selected."""
        kept = self.preparation.kept
        names, membership = gene_sets.restricted(kept, model.least_genes)
        if len(names) < 2:
            raise TrainingError(
                f"{self.name}: {len(names)} of {len(gene_sets.names)} gene sets keep at least "
                f"{model.least_genes} of the {int(kept.sum())} genes that this fold selected; "
                "expected two or more. Lower [models] least_genes, or raise [expression] n_genes."
            )
        self.set_names, self.membership = names, membership

    def _member(
        self,
        number: int,
        train: Sequence[Prepared],
        validation: Sequence[Prepared],
        recipe: TrainingRecipe,
    ) -> Member:
        """Return a freshly initialised network with its patients and random generator."""
        seeds = recipe.seeds(self.name, number)
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        n_features, n_genes = len(self.preparation.feature_mean), train[0].genes.shape[1]
        membership = _tensor(self.membership)
        n_covariates = 0 if train[0].covariates is None else train[0].covariates.shape[1]
        n_classes = len(train[0].patients.classes)
        sizes = Sizes(n_features, n_genes, n_classes, membership, n_covariates)
        network = make_network(self.name, sizes, recipe.model)
        return Member(network, train, validation, np.random.default_rng(seeds))

    def _keep(self, members: Sequence[Member]) -> None:
        """Store the fitted networks and their curves; raise if a loss is not finite."""
        for member in members:
            last = member.curve[-1]
            if not math.isfinite(last.train_loss):
                raise TrainingError(
                    f"{self.name}: the loss became {last.train_loss} in epoch {last.epoch}. Lower "
                    "[training] learning_rate, or look for extreme values in the expression table."
                )
            self.networks.append(member.network)
            self.curves.append(member.curve)

    def _residual_weight(
        self, held: Prepared, logits: Float[Tensor, "patients logits"], recipe: TrainingRecipe
    ) -> float:
        """Return the residual weight, chosen on logits of held-out patients."""
        if not self.base_model:
            return 1.0
        targets = held.targets
        loss = make_loss(targets, len(held.patients.classes), recipe.training)
        return choose_residual_weight(
            held.base_logits, logits - held.base_logits, lambda one: loss.each(one, targets)
        )


def _sizes(network: Network) -> dict[str, int]:
    """Return the network's sizes for JSON; membership is stored as an array."""
    names = [one.name for one in fields(network.sizes) if one.name != "membership"]
    sizes = {name: getattr(network.sizes, name) for name in names}
    # Checkpoints of models without covariates keep their bytes from before covariates existed.
    return {name: size for name, size in sizes.items() if size or name != "n_covariates"}


def _tensor(membership: Bool[np.ndarray, "sets genes"] | None) -> Bool[Tensor, "sets genes"] | None:
    return None if membership is None else torch.from_numpy(membership)
