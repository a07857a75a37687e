# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What is missing from a datalist: counted per modality and per pattern."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..modalities import subset_name
from .case import Case, as_case
from .datalist import availability


def audit_section(cases: Sequence[Case | Mapping], modalities: Sequence[str]) -> dict:
    """Count what the cases of one section list; no file is opened.

    Returns:
        Content for JSON: ``cases``; ``labels`` (number per label convention, ``none`` without a label);
        ``modalities`` (for each its ``cases`` and ``missing_rate``, the share of cases without it); ``patterns``
        (``subset``, ``cases``, ``share``; most frequent first); ``single_modality_share``, the share of cases with
        one modality only. Shares are from 0 to 1, and ``None`` where there is no case.
    """
    available = availability(cases, modalities)  # (N, M)
    total = len(cases)
    counts = Counter(subset_name(row, modalities) for row in available.tolist())
    labels = Counter(str(case.label_convention) if case.label else "none" for case in map(as_case, cases))
    return {
        "cases": total,
        "labels": dict(sorted(labels.items())),
        "modalities": {
            name: {"cases": number, "missing_rate": _share(total - number, total)}
            for name, number in zip(modalities, available.sum(axis=0).tolist(), strict=True)
        },
        "patterns": [
            {"subset": subset, "cases": number, "share": _share(number, total)}
            for subset, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ],
        "single_modality_share": _share(int((available.sum(axis=1) == 1).sum()), total),
    }


def audit_datalist(sections: Mapping[str, Sequence[Case | Mapping]], modalities: Sequence[str]) -> dict[str, dict]:
    """Count what is missing in each section (see :func:`audit_section`)."""
    return {name: audit_section(cases, modalities) for name, cases in sections.items()}


def format_audit(audit: Mapping[str, dict]) -> str:
    """Lay out the audit of each section as text with columns of fixed width."""
    return "\n\n".join(_format_section(name, section) for name, section in audit.items())


def _share(part: int, total: int) -> float | None:
    return part / total if total else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _format_section(name: str, section: dict) -> str:
    labels = ", ".join(f"{number} {convention}" for convention, number in section["labels"].items())
    lines = [f"{name}: {section['cases']} cases" + (f" (labels: {labels})" if labels else "")]
    if not section["cases"]:
        return lines[0]
    rows: list[tuple[str, ...]] = [("modality", "cases", "missing")]
    rows += [(m, str(row["cases"]), _percent(row["missing_rate"])) for m, row in section["modalities"].items()]
    rows += [(), ("pattern", "cases", "share")]
    rows += [(row["subset"], str(row["cases"]), _percent(row["share"])) for row in section["patterns"]]
    width = max(len(row[0]) for row in rows if row)
    lines += [f"  {row[0]:<{width}} {row[1]:>7} {row[2]:>9}" if row else "" for row in rows]
    return "\n".join([*lines, f"  one modality only: {_percent(section['single_modality_share'])} of cases"])
