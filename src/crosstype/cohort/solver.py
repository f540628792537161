"""HiGHS through scipy: kept silent, and asked twice where it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import milp

from crosstype.errors import CohortError


def solve(cost: np.ndarray, program: Mapping[str, Any], limits: Mapping[str, float]) -> Any:
    """Return scipy's answer, with the cheapest solution found and the bound of any.

    Args:
        cost: what each column costs.
        program: `integrality`, `bounds` and `constraints` of `scipy.optimize.milp`.
        limits: its `options`.

    Raises:
        CohortError: no solution was found; sites can always be dealt, so only limits cause that.
    """
    said = ""
    # HiGHS now and then fails on a program that it solves the other way: both ways are tried.
    for presolve in (False, True):
        try:
            with _silent():
                answer = milp(cost, **program, options={**limits, "presolve": presolve})
        except (ValueError, RuntimeError) as error:
            said = str(error)
            continue
        if answer.x is not None:
            return answer
        said = answer.message
    raise CohortError(
        f"folds: the solver found no dealing of the sites within its limits ({said}). Lower "
        "[folds] n_folds, or choose protocol strict."
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Keep HiGHS, which prints from C whatever it is told, off standard output."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # there is no standard output
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
