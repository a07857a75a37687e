# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The comparison that the tool prints and writes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scripts.evaluation.tables import ScoreWriter
from scripts.tools.compare_evaluations import main, name_runs


@pytest.fixture
def runs(tmp_path):
    """Write two evaluations of seven cases; the second is better for WT, and lacks the first case."""
    for name, gain in (("plain", 0.0), ("better", 0.1)):
        folder = tmp_path / name / "evaluate"
        folder.mkdir(parents=True)
        with ScoreWriter(folder / "per_case.csv", "brats") as writer:
            for n in range(0 if name == "plain" else 1, 7):
                dice = {"t1": 0.3, "t2": 0.4, "t1+t2": 0.35}
                of_case = {
                    subset: {("wt", "dice"): value + gain * (1 + n / 10), ("wt", "hd95"): 5.0 - gain * n}
                    | {("et_min500", "dice"): 0.5}
                    for subset, value in dice.items()
                }
                writer.write_case(f"case{n}", of_case)
    return [str(tmp_path / name / "evaluate") for name in ("plain", "better")]


def test_the_comparison_says_what_is_compared_and_what_was_found(runs, capsys):
    main(*runs)
    text = capsys.readouterr().out
    assert "Baseline: `plain`. Compared with it: `better`." in text
    assert "Cases that all of them have: 6. Not common, left out: `plain` 1, `better` 0." in text
    assert "policy `brats`" in text and "fewer than 500 voxels" in text
    assert "## Dice: `better` minus `plain`" in text and "HD95 [mm]:" not in text
    # three subsets and two regions; averages of one and two modalities and overall, and two regions
    assert "Better: higher. Comparisons: 6 of subsets and regions are one family, 6 of averages" in text
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    # gains 0.11 to 0.16, all of one sign: p is 2 / 64; Holm: times 6, the number of comparisons
    t1 = next(row for row in rows if row[:3] == ["1", "●", "○"])
    assert t1[3:6] == ["6", "0.300", "0.435"] and t1[6].startswith("+0.135 [+0.1")
    assert t1[7:] == ["0.0312", "0.1875", "better", ""]
    unchanged = [row for row in rows if row[-1] == "all differences are zero"]
    assert len(unchanged) == 6 and {row[-2] for row in unchanged} == {"same"}
    # t1 added to t2 lowers Dice by 0.05 in all six cases, of each run
    assert ["WT", "t1", "better", "6", "100.0%", "-0.050", "0.050"] in rows


def test_the_comparison_is_written_as_markdown_and_as_a_table(runs, tmp_path, capsys):
    main(
        *(f"{name}={run}" for name, run in zip("ab", runs, strict=True)),
        metric="dice,hd95",
        output=str(tmp_path / "new" / "c.md"),
        table=str(tmp_path / "c.csv"),
        num_resamples=100,
        tolerance=0.05,
    )
    text = (tmp_path / "new" / "c.md").read_text()
    assert text in capsys.readouterr().out
    assert "## HD95 [mm]: `b` minus `a`" in text and "100 resamples" in text and "worse by more than 0.05" in text
    table = pd.read_csv(tmp_path / "c.csv")
    assert table.groupby("metric", sort=False).size().to_dict() == {"dice": 12, "hd95": 6}
    hd95 = table[(table["metric"] == "hd95") & (table["group"] == "overall")].iloc[0]
    assert hd95["difference"] == pytest.approx(-0.1 * (1 + 2 + 3 + 4 + 5 + 6) / 6) and hd95["reading"] == "better"


def test_what_cannot_be_compared_is_said_without_a_traceback(runs, tmp_path):
    with pytest.raises(SystemExit, match="Cannot compare: no per_case.csv at "):
        main(runs[0], str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match="Cannot compare: 1 evaluation to compare"):
        main(runs[0])
    with pytest.raises(SystemExit, match="Cannot compare: `plain` has no scores of `ece`"):
        main(*runs, metric="ece")


def test_runs_are_named_by_where_their_paths_differ(tmp_path):
    assert list(name_runs(["r/a/s0/evaluate", "r/b/s0/evaluate"])) == ["a", "b"]
    assert list(name_runs(["r/a/s0/evaluate", "r/b/s1/evaluate", "old=r"])) == ["a/s0", "b/s1", "old"]
    assert list(name_runs(["r", "r/b"])) == ["r", "b"]
    assert name_runs(["new=x=y"]) == {"new": Path("x=y")}
    folder = tmp_path / "rate=0.1"
    folder.mkdir()
    assert list(name_runs([str(folder), f"b={folder}"]).values()) == [folder, folder]
    with pytest.raises(ValueError, match="two runs are called `a`"):
        name_runs(["a=x", "a=y"])
