"""A network as a classifier: a line, several copies of the network that correct it, and trust.

What networks practise on: the training patients in every regime, with honest starting logits.
"""

from __future__ import annotations

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
    below,
    together,
    training_patients,
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
    """Everyone of the training patients, prepared in every regime.

    Attributes:
        of: all training patients in each regime.
        train: rows of each split's training patients.
        validation: rows of each split's validation patients.
    """

    of: dict[MissingnessPattern, Prepared]
    train: tuple[Rows, ...]
    validation: tuple[Rows, ...]

    def training(self, split: int) -> list[Prepared]:
        """Return a split's training patients in each regime, whole first."""
        return [one.take(self.train[split]) for one in self.of.values()]

    def held(self, split: int) -> list[Prepared]:
        """Return a split's validation patients in each regime, whole first."""
        return [one.take(self.validation[split]) for one in self.of.values()]

    def all_held(self, pattern: MissingnessPattern) -> Prepared:
        """Return the validation patients of all splits in one regime, split after split."""
        return self.of[pattern].take(np.concatenate(self.validation))


def trained_patterns(
    uses: frozenset[Modality], recipe: TrainingRecipe
) -> tuple[MissingnessPattern, ...]:
    """Return the regimes in which a model of these modalities practises."""
    return patterns_of(uses) if recipe.training.corruption > 0 else (MissingnessPattern.WHOLE,)


def corrupt_training(
    splits: Sequence[Split],
    preparation: Preparation,
    starts: Sequence[RidgeBaseModel] | None,
    patterns: Sequence[MissingnessPattern],
    recipe: TrainingRecipe,
) -> CorruptedTraining:
    """Damage the training patients in every regime, and find where each starts.

    A patient's starting logits come from the line of the split that held him out. Damage depends
    on the seed and the patients alone, so that all models practise on the same.

    Args:
        splits: of the training patients.
        preparation: fitted on them.
        starts: each split's line; None: networks start from 0.
        patterns: those to practise in.
        recipe: seed, unit and settings.
    """
    everyone = together(*splits[0].everybody)
    place = {patient: row for row, patient in enumerate(everyone.ids)}
    held = [_rows(place, together(*split.held)) for split in splits]
    of = {}
    for number, pattern in enumerate(patterns):
        rng = np.random.default_rng([*recipe.seed, number])
        patients = corrupted(everyone, pattern, recipe.preparing.unit, rng)
        start = None
        if starts is not None:
            said = [
                line.logits(patients.take(rows), preparation)
                for line, rows in zip(starts, held, strict=True)
            ]
            start = np.zeros((len(everyone), said[0].shape[1]))
            start[np.concatenate(held)] = np.concatenate(said)
        of[pattern] = Prepared(
            patients, preparation, start, imputed=recipe.preparing.protocol.published_training
        )
    return CorruptedTraining(
        of,
        tuple(_rows(place, split.train) for split in splits),
        tuple(_rows(place, split.validation) for split in splits),
    )


def _rows(place: dict[str, int], patients: Patients) -> Rows:
    return np.array([place[one] for one in patients.ids], dtype=np.int64)


def trusted(
    start: Float[Tensor, "patients logits"],
    said: Float[Tensor, "patients logits"],
    residual_weight: Float[Tensor, "patients 1"] | float,
) -> Float[Tensor, "patients logits"]:
    """Return the starting logits plus the trusted share of the correction."""
    found: Tensor = start + residual_weight * (said - start)
    return found


MEMBERSHIP = "gene_sets.membership"


class NetworkClassifier(Classifier):
    """A line, and several copies of one network that correct it; their logits are averaged.

    Each copy learns from all inner folds but one and is validated on that one; they stop together.
    With several seeds there are as many copies for each inner fold.

    Attributes:
        preparation: fitted on all training patients.
        start: the line, fitted on all training patients; None if networks start from zero.
        networks: one per split and seed, split by split for one seed after the other.
        residual_weights: weight of the networks' mean residual logits, 0 to 1, for each missingness
            pattern that occurred in training.
        inner_logits: in each regime, the logits of every split's validation patients, none of
            which taught the line or the network that said them.
        imputed: whether the networks see unmeasured genes imputed, as the published ones do.
        set_names: names of the gene sets that are the network's first gene tokens, in their order.
        membership: gene sets x kept genes, what each of those tokens sees; None: learned programs.
    """

    preparation: Preparation

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        super().__init__(name)
        self.start: RidgeBaseModel | None = None
        self.networks: list[Network] = []
        self.residual_weights: dict[MissingnessPattern, float] = {}
        self.inner_logits: dict[MissingnessPattern, Tensor] = {}
        self.imputed = False
        self.set_names: tuple[str, ...] = ()
        self.membership: Bool[np.ndarray, "sets genes"] | None = None

    @property
    def sees_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return Modality.GENES in NETWORKS[self.name].uses

    def fit(self, splits: Sequence[Split], recipe: TrainingRecipe) -> None:
        """Fit line and networks, then decide how far the networks are trusted."""
        patients = training_patients(splits, recipe)
        self.preparation = recipe.preparing.fit(splits[0].everyone or patients)
        kind = NETWORKS[self.name]
        if kind.sees_gene_sets and recipe.gene_sets is not None:
            self._match(recipe.gene_sets, recipe.model)
        starts = None
        if recipe.training.start == "linear" and kind.has_base_model:
            how = (self.preparation, kind.uses, recipe.training)
            self.start = fit_base_model(patients, *how)
            starts = [fit_base_model(split.train, *how) for split in splits]
        patterns = trained_patterns(kind.uses, recipe)
        training_data = corrupt_training(splits, self.preparation, starts, patterns, recipe)
        self.imputed = recipe.preparing.protocol.published_training
        n_splits = len(splits)
        members = [
            self._member(
                number,
                training_data.training(number % n_splits),
                training_data.held(number % n_splits),
                recipe,
            )
            for number in range(n_splits * recipe.training.n_seeds)
        ]
        fit_members(members, recipe.training)
        self._keep(members)
        for place, pattern in enumerate(patterns):
            held = training_data.all_held(pattern)
            each = [predict_logits(one.network, one.validation[place]) for one in members]
            own = [torch.stack(each[split::n_splits]).mean(dim=0) for split in range(n_splits)]
            said = torch.cat(own)
            self.residual_weights[pattern] = self._residual_weight(held, said, recipe)
            self.inner_logits[pattern] = trusted(held.start, said, self.residual_weights[pattern])
        targets = training_data.all_held(MissingnessPattern.WHOLE).targets.numpy()
        self.calibration = calibrate(self.inner_logits, targets, recipe.training)

    @property
    def residual_weight(self) -> float:
        """Share of the networks' correction that is kept where data are whole, 0 to 1."""
        return self.residual_weights.get(MissingnessPattern.WHOLE, 1.0)

    def pattern_of(self, prepared: Prepared) -> np.ndarray:
        """Return the regime of each patient, among those that this model practised in."""
        return pattern_of(prepared.patients, prepared.measured(), tuple(self.residual_weights))

    def logits(self, patients: Patients) -> Float[Tensor, "patients logits"]:
        """Return the line's logits plus the trusted share of the networks' mean correction.

        The share is that of the patient's regime: whole, thinly measured, ...
        """
        line = self.start.logits(patients, self.preparation) if self.start else None
        prepared = Prepared(patients, self.preparation, line, imputed=self.imputed)
        share = np.array(
            [[self.residual_weights[one]] for one in self.pattern_of(prepared)], dtype=np.float32
        )
        if self.start and not share.any():
            return prepared.start
        each = torch.stack([predict_logits(network, prepared) for network in self.networks])
        return trusted(prepared.start, each.mean(dim=0), torch.from_numpy(share))

    def predict(self, patients: Patients) -> Probabilities:
        """Return calibrated probabilities."""
        logits = self.logits(patients)
        if not self.calibration.temperatures:
            return probabilities_of(logits)
        patterns = self.pattern_of(Prepared(patients, self.preparation, imputed=self.imputed))
        return probabilities_of(self.calibration.apply(logits, patterns.tolist()))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return preparation, line and every network's weights."""
        arrays, steps = self.preparation.state()
        if self.start:
            arrays |= {f"start.{key}": value for key, value in self.start.arrays().items()}
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
        """Become what `state` described."""
        self.preparation = Preparation.from_state(arrays, settings["preparation"])
        self.residual_weights = {
            MissingnessPattern(name): float(one)
            for name, one in settings["residual_weights"].items()
        }
        self.imputed = bool(settings["imputed"])
        self.calibration = Calibration.from_state(settings.get("calibration", {}))
        inner = below(arrays, "inner_logits.")
        self.inner_logits = {
            MissingnessPattern(name): torch.from_numpy(v) for name, v in inner.items()
        }
        uses = NETWORKS[self.name].uses
        if "start.weight" in arrays:
            self.start = RidgeBaseModel.from_arrays(uses, below(arrays, "start."))
        self.set_names = tuple(settings.get("gene_sets", ()))
        self.membership = arrays.get(MEMBERSHIP)
        sizes = Sizes(**settings["sizes"], membership=_tensor(self.membership))
        for number in range(int(settings["n_networks"])):
            network = make_network(self.name, sizes, model)
            weights = below(arrays, f"{number}.")
            network.load_state_dict({key: torch.from_numpy(v) for key, v in weights.items()})
            network.eval()
            self.networks.append(network)

    def _match(self, gene_sets: MatchedSets, model: ModelSpec) -> None:
        """Keep the gene sets that still have enough genes after this fold's choice of genes."""
        kept = self.preparation.kept
        names, membership = gene_sets.restricted(kept, model.least_genes)
        if len(names) < 2:
            raise TrainingError(
                f"{self.name}: {len(names)} of {len(gene_sets.names)} gene sets keep at least "
                f"{model.least_genes} of the {int(kept.sum())} genes that this fold chose; "
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
        """Return a freshly initialised network with its patients and its own chance."""
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
        """Keep the fitted networks and their curves; raise if a loss is no number."""
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
        self, held: Prepared, said: Float[Tensor, "patients logits"], recipe: TrainingRecipe
    ) -> float:
        """Return how far the networks are trusted, given what they say of held out patients."""
        if not self.start:
            return 1.0
        targets = held.targets
        loss = make_loss(targets, len(held.patients.classes), recipe.training)
        return choose_residual_weight(
            held.start, said - held.start, lambda one: loss.each(one, targets)
        )


def _sizes(network: Network) -> dict[str, int]:
    """Return the network's sizes as JSON holds them; membership is an array of its own."""
    names = [one.name for one in fields(network.sizes) if one.name != "membership"]
    sizes = {name: getattr(network.sizes, name) for name in names}
    # Files of models without covariates stay what they were before there were any.
    return {name: size for name, size in sizes.items() if size or name != "n_covariates"}


def _tensor(membership: Bool[np.ndarray, "sets genes"] | None) -> Bool[Tensor, "sets genes"] | None:
    return None if membership is None else torch.from_numpy(membership)
