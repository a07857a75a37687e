# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from scripts.study.plan import ALL, Outcome, Run, Study, Variant, read_study

CONFIGS = Path(__file__).parents[2] / "configs"
STUDIES = sorted((CONFIGS / "studies").glob("*.yaml"))
PLAN = {
    "missing_rates": {"mild": {"t1": 0.2}, "hard": {"t1": 0.8}},
    "seeds": [3, 4],
    "files": ["base.yaml"],
    "options": {"max_epochs": 5, "batch_size": 1},
    "variants": {
        "without": None,
        "with": {"files": ["method.yaml"], "options": {"batch_size": 2}, "missing_rates": ["hard"]},
    },
}


def written(folder, **changes):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}, sort_keys=False), encoding="utf-8")
    return path


def test_every_variant_runs_under_its_rates_with_every_seed_and_the_first_seed_comes_first(tmp_path):
    names = [run.name for run in read_study(written(tmp_path)).runs()]
    of_each_seed = ["mild/without/seed{}", "hard/without/seed{}", "hard/with/seed{}"]
    assert names == [name.format(seed) for seed in (3, 4) for name in of_each_seed]


def test_a_variant_comes_behind_what_all_runs_share_and_a_run_has_its_seed(tmp_path):
    study = read_study(written(tmp_path))
    run = Run("hard", "with", 4)
    assert study.config_files(run) == ["base.yaml", "method.yaml"]
    assert study.overrides(run) == {"max_epochs": 5, "batch_size": 2, "seed": 4}
    assert study.overrides(Run("mild", "without", 3)) == {"max_epochs": 5, "batch_size": 1, "seed": 3}


def test_more_seeds_and_variants_do_not_change_what_a_run_is(tmp_path):
    more = {"seeds": [3, 4, 5], "variants": {**PLAN["variants"], "other": None}}
    assert read_study(written(tmp_path)).record() == read_study(written(tmp_path, **more)).record()
    assert read_study(written(tmp_path)).record() != read_study(written(tmp_path, options={})).record()


def test_unknown_missing_rates_of_a_variant_are_refused():
    with pytest.raises(ValueError, match=r"variant `a` asks for the missing rates \['mr'\]; expected some of \['x'\]"):
        Study({"x": {"t1": 0.1}}, [0], {"a": Variant(missing_rates=["mr"])})


def test_a_model_is_that_of_the_run_of_another_variant_with_the_same_rates_and_seed():
    study = Study({"x": {"t1": 0.1}}, [0, 1], {"first": Variant(), "second": Variant(models={"teacher_file": "first"})})
    assert study.needed(Run("x", "second", 1)) == {"teacher_file": Run("x", "first", 1)}
    assert study.needed(Run("x", "first", 1)) == {}


@pytest.mark.parametrize(("first", "other"), [({}, "third"), ({}, "second"), ({"missing_rates": ["x"]}, "first")])
def test_a_model_that_is_not_there_in_time_is_refused(first, other):
    variants = {"first": Variant(**first), "second": Variant(models={"file": other}), "third": Variant()}
    with pytest.raises(
        ValueError, match=rf"`second` takes `file` from `{other}`; expected one of \['first'\].*\['x', 'y'\]"
    ):
        Study({"x": {"t1": 0.1}, "y": {"t1": 0.2}}, [0], variants)


def test_a_variant_may_run_with_some_of_the_seeds(tmp_path):
    variants = {"without": None, "with": {"seeds": [4]}}
    study = read_study(written(tmp_path, variants=variants))
    names = [run.name for run in study.runs() if run.rates == "mild"]
    assert names == ["mild/without/seed3", "mild/without/seed4", "mild/with/seed4"]
    assert (study.seeds_of("without"), study.seeds_of("with")) == ([3, 4], [4])


def test_a_model_of_a_variant_with_fewer_seeds_is_refused():
    variants = {"first": Variant(seeds=[1]), "second": Variant(models={"file": "first"})}
    with pytest.raises(
        ValueError, match=r"`second` takes `file` from `first`, which does not run with the seeds \[0\]"
    ):
        Study({"x": {"t1": 0.1}}, [0, 1], variants)


def test_primary_comparisons_are_all_variants_but_the_first_by_outcomes_and_rates(tmp_path):
    outcomes = [{"num_modalities": 1, "region": "wt"}, {"num_modalities": "all"}]
    study = read_study(written(tmp_path, missing_rates={"mild": {"t1": 0.2}, "hard": {"t1": 0.8}}, outcomes=outcomes))
    assert study.comparisons() == [("hard", "with", Outcome(1, "wt")), ("hard", "with", Outcome(ALL, "mean"))]
    by_default = read_study(written(tmp_path))
    assert (by_default.outcomes, by_default.test, by_default.alpha) == ((Outcome(1), Outcome(ALL)), "paired_t", 0.05)


def test_what_is_asked_of_the_runs_does_not_change_what_a_run_is(tmp_path):
    asked = {"question": "Which?", "outcomes": [{"region": "et"}], "test": "wilcoxon", "alpha": 0.01}
    told = {"variants": {"without": {"about": "no method"}, "with": {**PLAN["variants"]["with"], "seeds": [4]}}}
    assert read_study(written(tmp_path)).record() == read_study(written(tmp_path, **asked, **told)).record()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": "anova"}, r"the `test` of the study is 'anova'; expected one of \['paired_t', 'wilcoxon'\]"),
        ({"alpha": 5}, r"the `alpha` of the study is 5; expected a number between 0 and 1, as 0.05"),
        ({"alpha": 1.0}, r"the `alpha` of the study is 1.0; expected a number between 0 and 1"),
        ({"question": ["a"]}, r"the `question` of the study is \['a'\]; expected text"),
        ({"outcomes": []}, r"the study has no `outcomes`; expected at least one"),
        ({"outcomes": None}, r"the study has no `outcomes`; expected at least one"),
        ({"outcomes": [{"num_modalities": 2}]}, r"subsets of 2 modalities; expected one of \[1, 'all'\]"),
        ({"outcomes": [{"num_modalities": True}]}, r"subsets of True modalities; expected one of \[1, 'all'\]"),
        ({"outcomes": [{"region": "wt"}] * 2}, r"region='wt'\) is twice among the `outcomes`"),
        ({"outcomes": [{"dice": "wt"}]}, r"is not understood: .*unexpected keyword argument 'dice'"),
        ({"outcomes": ["wt"]}, r"is not understood: "),
        ({"variants": {"a": {"seeds": [9]}}}, r"variant `a` asks for the seeds \[9\]; expected some of \[3, 4\]"),
        ({"variants": {"a": {"seeds": []}}}, r"variant `a` asks for the seeds \[\]; expected some of \[3, 4\]"),
        ({"variants": {"a": {"about": "x\ny"}}}, r"`about` of variant `a` is 'x\\ny'; expected one line of text"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused_in_words(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        read_study(written(tmp_path, **changes))


@pytest.mark.parametrize("name", ["missing_rates", "seeds", "variants"])
def test_a_study_without_anything_to_run_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"the study has no `{name}`"):
        read_study(written(tmp_path, **{name: type(PLAN[name])()}))


@pytest.mark.parametrize("changes", [{"epochs": 5}, {"variants": {"a": {"overlay": "x"}}}, {"variants": ["a"]}])
def test_what_a_study_does_not_know_is_refused(tmp_path, changes):
    with pytest.raises(ValueError, match=r"study .* is not understood: .* See configs/studies"):
        read_study(written(tmp_path, **changes))


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_id_of_the_studies_that_come_with_the_bundle_exists(file):
    study = read_study(file)
    assert len(study.seeds) >= 3
    for run in study.runs():
        files = [str(CONFIGS.parent / name) for name in (*study.config_files(run), "configs/evaluate.yaml")]
        config = ConfigParser(ConfigParser.load_config_files(files))
        ids = [*study.overrides(run), *study.evaluation, *study.needed(run)]
        assert [id_ for id_ in ids if id_ not in config] == [], run.name
        assert set(study.missing_rates[run.rates]) == set(config["modalities"])
