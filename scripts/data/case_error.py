# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The one exception for a patient whose data cannot be used."""

from __future__ import annotations


class CaseError(ValueError):
    """Say which case cannot be used, why, and which file to look at.

    Evaluation and inference catch this error, report the case and go on with the others; training stops.

    Args:
        case: name of the case, as the datalist or the folder has it.
        reason: what was found and what was expected.
        file: path of the file at fault, where there is one.
    """

    def __init__(self, case: str, reason: str, file: str | None = None) -> None:
        self.case, self.reason, self.file = case, reason, file
        super().__init__(case, reason, file)

    def __str__(self) -> str:
        where = f" (file: {self.file})" if self.file else ""
        return f"case `{self.case}`: {self.reason}{where}"
