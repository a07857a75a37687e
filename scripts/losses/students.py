# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""How terms compare the students of each sample with its teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..networks.outputs import FUSED, STUDENTS, MultiModalOutput
from .term import Term, given


class StudentTerm(Term):
    """A term that compares what the network says from single modalities with what it says from all that is shown."""

    paths = (FUSED, STUDENTS)


def compare_students(output: MultiModalOutput, compare: Callable[[slice, slice], Tensor]) -> Tensor:
    """Call ``compare(students, sample)`` for every sample that has students, and put what it gives in its place.

    Args:
        output: with students.
        compare: gets the rows of a sample's n students among all, and the sample's own as a slice of length one;
            returns ``(K, n)``.

    Returns:
        ``(K, B, M)``, 0 where a modality was not fused alone.
    """
    available = given(output.students).available
    counts = available.sum(dim=1).tolist()
    columns, before = [], 0
    for b, count in enumerate(counts):
        if count:
            columns.append(compare(slice(before, before + count), slice(b, b + 1)))
        before += count
    if not columns:
        return torch.zeros([1, *available.shape], device=available.device)
    found = torch.cat(columns, dim=1)
    rows = available.flatten().nonzero().squeeze(1)
    values = found.new_zeros([len(found), available.numel()]).index_copy(1, rows, found)
    return values.unflatten(1, available.shape)
