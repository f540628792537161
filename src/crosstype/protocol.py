"""Protocols: which patients may teach what. `strict` and `site` are honest, `paper` is not."""

from __future__ import annotations

from dataclasses import dataclass

from crosstype.errors import ConfigError


@dataclass(frozen=True)
class Protocol:
    """One way to run a cross-validation; each field is one rule that the paper broke or kept."""

    name: str
    """Name as the user writes it."""

    stratified: bool = True
    """Folds hold the classes in the cohort's shares."""

    grouped_by_site: bool = False
    """No tissue source site stands in two folds."""

    preprocessing_on_everyone: bool = False
    """Expression preprocessing is fitted on all patients, test patients included: a leak."""

    validation_is_test: bool = False
    """Early stopping looks at the fold that is then reported: a leak."""

    remove_outliers: bool = False
    """Values outside the interquartile fences are set to missing."""

    log_again: bool = False
    """The logarithm is taken even of values that are logarithms or z-scores already."""

    published_training: bool = False
    """Optimiser, schedule, batches and weights as in the published notebook."""

    @property
    def leaks(self) -> tuple[str, ...]:
        """Return in words how test patients leak into training; empty for an honest protocol."""
        found = []
        if self.preprocessing_on_everyone:
            found.append("preprocessing is fitted on all patients, test patients included")
        if self.validation_is_test:
            found.append("early stopping looks at the fold that is then reported")
            found.append("late fusion is stacked on that fold")
        return tuple(found)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("strict"),
        Protocol("site", grouped_by_site=True),
        Protocol(
            "paper",
            stratified=False,
            preprocessing_on_everyone=True,
            validation_is_test=True,
            remove_outliers=True,
            log_again=True,
            published_training=True,
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """Return the preset of that name; raises ConfigError for an unknown one."""
    if name not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise ConfigError(f"[folds] protocol: found {name!r}, expected one of {known}.")
    return PROTOCOLS[name]
