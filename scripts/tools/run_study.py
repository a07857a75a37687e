# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Compare methods: train and evaluate every variant of a study over missing rates and seeds; tables and figures.

    python -m scripts.tools.run_study --file configs/studies/passion.yaml --folder runs/studies/passion \
        --workers 2 --threads 1

Tables and figures of what is finished, with a copy for the documents, nothing run:

    python -m scripts.tools.run_study --file configs/studies/passion.yaml --folder runs/studies/passion \
        --report_only --copy_to docs/studies/passion.md
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from ..bundle.configuration import find_files
from ..data.datalist import read_section, simulate_missing, write_datalist
from ..data.missing_rate import assign_availability
from ..phantom.dataset import PhantomSettings, write_phantoms
from ..records.claims import claim
from ..study.figures import draw_dice, draw_differences, draw_preference, draw_primary
from ..study.plan import Run, read_study
from ..study.results import (
    Findings,
    collect_curves,
    collect_gaps,
    collect_scores,
    compare,
    gap_ratios,
    mean_per_modality,
    mean_per_seed,
    primary_comparisons,
)
from ..study.tables import copy_tables, write_tables
from ..utils.files import replacing, write_json
from ..utils.flags import as_list
from .command_line import run_tool

TRAINING, TESTING = "training", "testing"
RECORD, RESULTS = "study.json", "results.md"


@dataclass
class RunStudy:
    """Run a study, from the bundle's root folder; an interrupted one goes on with the same command.

    Finished runs are kept, an interrupted training continues from its last epoch. Tables and figures are of what is
    finished so far.

    Args:
        file: the plan, see configs/studies.
        folder: where everything goes: data, runs, tables, figures.
        dataset_dir: folder with a datalist of own data, sections `training` and `testing`; phantoms by default.
        datalist_file: inside dataset_dir.
        workers: runs at the same time.
        threads: of each run on the CPU.
        variants: names joined by commas; run only these now, report all that is finished.
        report_only: run nothing; tables and figures of what is there.
        copy_to: a Markdown file, e.g. docs/studies/passion.md, that becomes a copy of results.md with its figures.
    """

    file: str
    folder: str
    dataset_dir: str | None = None
    datalist_file: str = "datalist.json"
    workers: int = 1
    threads: int | None = None
    variants: str | Sequence[str] | None = None
    report_only: bool = False
    copy_to: str | None = None

    def __call__(self) -> None:
        """Run what is missing, then report; end with status 1 if a run failed."""
        try:
            self.study = read_study(self.file)
            self.root = Path(self.folder).resolve()
            self._claim()
            failed = [] if self.report_only else self._run_all()
            self._report(failed)
        except ValueError as error:
            raise SystemExit(f"Study stopped: {error}") from error

    def _claim(self) -> None:
        """Note in the folder what determines the numbers, or compare it with what is there."""
        data = str(Path(self.dataset_dir).resolve() / self.datalist_file) if self.dataset_dir else "phantoms"
        claim(
            self.root / RECORD,
            {**self.study.record(), "data": data},
            holds="runs of another plan",
            advice=f"The plan is {self.file}. Use another folder, or delete this one.",
        )

    def _run_all(self) -> list[str]:
        runs = self._chosen()
        datalist = self._datalist()
        for run in runs:
            self._write_datalist(datalist, run)
        with ThreadPoolExecutor(self.workers) as pool, tqdm(total=len(runs), unit="run", desc=self.root.name) as bar:
            running: dict[Run, Future] = {}
            for run in runs:  # those whose models others take come first, so that nobody waits for a run not begun
                before = [running[each] for each in self.study.needed(run).values() if each in running]
                running[run] = pool.submit(self._run_one, run, before)
            for _ in as_completed(running.values()):
                bar.update()
            failed = [str(self._place(run)) for run, future in running.items() if not future.result()]
        return sorted(failed)

    def _chosen(self) -> list[Run]:
        """Runs of the variants asked for."""
        if self.variants is None:
            return self.study.runs()
        names = as_list(self.variants)
        unknown = sorted(set(names) - set(self.study.variants))
        if unknown:
            raise ValueError(
                f"variants {unknown} are not in {self.file}; expected some of {list(self.study.variants)}."
            )
        return [run for run in self.study.runs() if run.variant in names]

    def _datalist(self) -> Path:
        """Where complete data are listed; phantoms are made if need be."""
        if self.dataset_dir:
            return Path(self.dataset_dir) / self.datalist_file
        wanted: dict[str, Any] = dict(self.study.phantoms)
        counts = {name: int(wanted.pop(name, 0)) for name in (TRAINING, TESTING)}
        return write_phantoms(self.root / "phantoms", counts, PhantomSettings(**wanted))

    def _write_datalist(self, complete: Path, run: Run) -> None:
        """List the training cases without what the missing rates take away; the test cases as they are."""
        rates = self.study.missing_rates[run.rates]
        training, testing = (read_section(complete, section) for section in (TRAINING, TESTING))
        available = assign_availability(len(training), list(rates.values()), run.seed)
        training, _ = simulate_missing(training, available, list(rates))
        modalities = json.loads(complete.read_text(encoding="utf-8"))["modalities"]
        sections = {TRAINING: training, "validation": [], TESTING: testing}
        write_datalist(
            self._place(run) / "datalist.json", sections, modalities, missing_rates=rates, rates_seed=run.seed
        )

    def _place(self, run: Run) -> Path:
        return self.root / "runs" / run.name

    def _ended(self, run: Run, step: str) -> Path:
        """Name the file that is written when a step has ended; `training.json` is the record of the weights."""
        return self._place(run) / f"ended_{step}.json"

    def _run_one(self, run: Run, before: Sequence[Future] = ()) -> bool:
        """Train and evaluate, behind the runs ``before``; tell whether all ended well."""
        if not all(future.result() for future in before):
            return False
        place = self._place(run)
        models = {id: str(self._place(other) / "model.pt") for id, other in self.study.needed(run).items()}
        steps: tuple[tuple[str, list[str], Mapping[str, Any]], ...]
        steps = ((TRAINING, [], {}), ("evaluating", ["configs/evaluate.yaml"], self.study.evaluation))
        for step, files, options in steps:
            done = self._ended(run, step)
            if done.exists():
                continue
            places = {"dataset_dir": place, "model_file": place / "model.pt", "output_dir": place / step}
            paths = {**models, **{name: str(path) for name, path in places.items()}}
            options = {**self.study.overrides(run), **options, **paths}
            if step == TRAINING and list((place / step / "checkpoints").glob("checkpoint_epoch=*.pt")):
                options["resume"] = True
            start = time.time()
            if not self._bundle(step, [*self.study.config_files(run), *files], options, place):
                return False
            write_json(done, {"minutes": round((time.time() - start) / 60, 2)})
        shutil.rmtree(place / TRAINING / "checkpoints", ignore_errors=True)  # not needed any more, and large
        return True

    def _bundle(self, step: str, files: list[str], options: dict, place: Path) -> bool:
        """Run a workflow as a user would; its output goes to a log file."""
        overlay = place / f"{step}.yaml"
        with replacing(overlay) as temporary:
            temporary.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
        config_file = str([*find_files(files), str(overlay)])
        command = [sys.executable, "-m", "monai.bundle", "run", step, "--config_file", config_file]
        threads = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        with open(place / f"{step}.log", "a", encoding="utf-8") as log:
            ended = subprocess.run(command, stdout=log, stderr=log, check=False, env={**os.environ, **threads})
        return ended.returncode == 0

    def _report(self, failed: list[str]) -> None:
        """Write tables and figures of the finished runs; name those that failed."""
        finished = [run for run in self.study.runs() if self._ended(run, "evaluating").exists()]
        if finished:
            self._write(finished)
        print(f"{len(finished)} of {len(self.study.runs())} runs are finished; results: {self.root / RESULTS}")
        if failed:
            raise ValueError("\n  ".join([f"{len(failed)} runs failed, the logs in their folders say why:", *failed]))

    def _write(self, finished: list[Run]) -> None:
        evaluations = {run: self._place(run) / "evaluating" for run in finished}
        scores = collect_scores(evaluations)
        curves = collect_curves({run: self._place(run) / TRAINING / "tensorboard" for run in finished})
        baseline, gaps, per_seed = self.study.baseline, collect_gaps(evaluations), mean_per_seed(scores)
        summaries = {
            "num_modalities": compare(per_seed, baseline),
            "subset": compare(mean_per_modality(scores), baseline, "subset"),
            "measure": compare(gaps, baseline, "measure"),
        }
        primary, ratios = primary_comparisons(per_seed, self.study), gap_ratios(gaps, baseline)
        tables = {"scores": scores, "curves": curves, "primary": primary, "gap_ratios": ratios}
        self._save({**tables, **{f"by_{name}": each for name, each in summaries.items()}})
        minutes = {run: self._minutes(run) for run in finished}
        records = {run: self._read(self._place(run) / TRAINING / "run.json") for run in finished}
        draw_primary(primary, self.study, self.root / "primary.png")
        draw_dice(summaries["num_modalities"], baseline, self.root / "dice.png")
        draw_differences(summaries["num_modalities"], baseline, self.root / "differences.png")
        draw_preference(curves, self.root / "preference.png")
        findings = Findings(summaries, primary, ratios, minutes, records)
        plan = Path(self.file).name if Path(self.file).is_absolute() else str(self.file)
        results = write_tables(self.root / RESULTS, self.study, findings, plan)
        if self.copy_to is not None:
            copy_tables(results, Path(self.copy_to))

    def _save(self, tables: dict) -> None:
        for name, table in tables.items():
            with replacing(self.root / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False, float_format="%.6g")

    def _minutes(self, run: Run) -> float:
        return sum(self._read(self._ended(run, step))["minutes"] for step in (TRAINING, "evaluating"))

    @staticmethod
    def _read(file: Path) -> dict:
        return json.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_tool(RunStudy)
