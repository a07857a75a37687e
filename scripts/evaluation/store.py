# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, kept case by case, so that a killed one goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_json
from ..flags import as_flag

SETTINGS_FILE = "evaluation.json"
CASES_FOLDER = "cases"
SCORES = "scores.json"  # the part whose presence says that a case is done


class CaseStore:
    """Keep the results of each case in files of their own under ``<output_dir>/cases``.

    Handlers write parts, ``cases/<case>.<part>``; a case is done when its ``scores.json`` is there, which is written
    last. What every number depends on stands in ``evaluation.json``; results of other settings are never mixed. So
    memory does not grow with the number of cases, and a killed evaluation goes on with those that are not done.

    Args:
        output_dir: folder of the evaluation.
        settings: what the numbers depend on, ready for JSON, e.g. the empty-mask policy.
        resume: keep the cases that are done; otherwise they are removed when the evaluation begins. Also a word.
    """

    def __init__(self, output_dir: str, settings: Mapping[str, Any], resume: bool | str = False) -> None:
        self.output_dir = Path(output_dir)
        self.settings = json.loads(json.dumps(settings))  # tuples as lists, as they are read back
        self.resume = as_flag(resume, "resume")
        self.folder = self.output_dir / CASES_FOLDER

    def begin(self) -> None:
        """Remove what is there, or with ``resume`` check that it was made with the same settings.

        Raises:
            ValueError: if it was not.
        """
        file = self.output_dir / SETTINGS_FILE
        if not self.resume:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            names = [name for name in {**found, **self.settings} if found.get(name) != self.settings.get(name)]
            if names:
                raise ValueError(
                    f"{self.output_dir} holds an evaluation with {_listed(found, names)}; asked for is "
                    f"{_listed(self.settings, names)}. Resume with the same settings, or name another `output_dir`."
                )
        write_json(file, self.settings)

    def path(self, case: str, part: str) -> Path:
        """Name the file of a part, e.g. ``slices.npz``, of a case."""
        return self.folder / f"{case}.{part}"

    def is_done(self, case: str) -> bool:
        """Tell whether the case was scored."""
        return self.path(case, SCORES).is_file()

    def write(self, case: str, part: str, content: Any) -> None:
        """Write a part as JSON, whole or not at all."""
        write_json(self.path(case, part), content)

    def read(self, case: str, part: str) -> Any:
        """Read a part that was written as JSON."""
        return json.loads(self.path(case, part).read_text(encoding="utf-8"))


def _listed(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {settings.get(name)}" for name in names)
