# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What a score is worth where a mask is empty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EmptyPolicy:
    """The scores of a region that the prediction, the truth, or both of them do not have.

    Published code disagrees here, and averages move by several points with the choice (``docs/reference/metrics.md``);
    so it is a named setting, and the name travels with every number. A policy is for the metrics that it has values
    for. Volumes and lesion-wise scores are defined without one: the penalty of a missed lesion is part of their rules
    and the same under every policy (`Lesions`).

    Args:
        name: as in the configuration and in the tables.
        both_empty: metric to value where prediction and truth are both empty.
        one_empty: metric to value where exactly one of them is empty.
    """

    name: str
    both_empty: Mapping[str, float]
    one_empty: Mapping[str, float]

    def is_for(self, metric: str) -> bool:
        """Tell whether the policy decides about a metric."""
        return metric in self.one_empty

    def value(self, metric: str, prediction_empty: bool, truth_empty: bool) -> float:
        """Look up the score of a metric for a pair of masks of which at least one is empty.

        Raises:
            ValueError: if no mask is empty, or the policy says nothing about the metric.
        """
        if not (prediction_empty or truth_empty):
            raise ValueError(f"policy `{self.name}` was asked for `{metric}` of two masks with voxels; compute it.")
        values = self.both_empty if prediction_empty and truth_empty else self.one_empty
        if metric not in values:
            raise ValueError(f"policy `{self.name}` has no value for `{metric}`, only for {list(values)}.")
        return values[metric]


BRATS = EmptyPolicy("brats", {"dice": 1.0, "hd95": 0.0, "nsd": 1.0}, {"dice": 0.0, "hd95": 373.13, "nsd": 0.0})
"""BraTS challenges until 2022: a missed structure costs the diagonal of the 240 x 240 x 155 mm volume."""

PASSION = EmptyPolicy("passion", {"dice": 1.0, "hd95": 0.0, "nsd": 1.0}, {"dice": 0.0, "hd95": 1.0, "nsd": 0.0})
"""Published PASSION, mmFormer and RFNet numbers: a missed structure costs 1, less than most honest contours."""

NAN = EmptyPolicy("nan", dict.fromkeys(("dice", "hd95", "nsd"), math.nan), {"dice": 0.0, "hd95": math.nan, "nsd": 0.0})
"""Only what is mathematically defined: Dice and NSD are 0/0 if both are empty and 0 if one is; HD95 needs two surfaces.

Undefined values are NaN: counted, and left out of means.
"""

EMPTY_POLICIES: Mapping[str, EmptyPolicy] = {policy.name: policy for policy in (BRATS, PASSION, NAN)}


def empty_policy(name: str) -> EmptyPolicy:
    """Find a policy by its name.

    Raises:
        ValueError: if there is no such policy.
    """
    if name not in EMPTY_POLICIES:
        raise ValueError(f"empty-mask policy `{name}` is unknown; expected one of {list(EMPTY_POLICIES)}.")
    return EMPTY_POLICIES[name]
