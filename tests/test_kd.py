# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Knowledge distillation as a whole: a teacher, its student, the student evaluated and at work."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.engines.case_evaluator import root_cause
from scripts.evaluation.tables import read_scores
from scripts.networks.base import acquired_modalities
from scripts.tools.make_datalist import MakeDatalist

TEACHER, STUDENT, MEDMAP = "method_kd_teacher.yaml", "method_kd_student.yaml", "method_medmap.yaml"
TRAIN = ("train.yaml", "network_unet.yaml")
QUICK = {"patch_size": [20, 20, 20], "max_epochs": 1, "val_interval": 1, "validation_subsets": ["all"]}
TERMS = ["loss_soft_distillation", "loss_latent_distillation"]


def learn(workflow, folder, *files, **overrides):
    """Train; give the parsed parts of the run, the network as it was before, and how often each modality was shown."""
    places = {"output_dir": str(folder / "runs"), "model_file": str(folder / "model.pt")}
    run = workflow(*files, run_id="training", **places, **{**QUICK, **overrides})
    trainer = run.parser.get_parsed_content("train::trainer")
    before, shown = state(trainer.network), []
    hook = trainer.network.register_forward_pre_hook(
        lambda module, inputs: shown.append(acquired_modalities(inputs[0]))
    )
    run.run()
    hook.remove()
    return SimpleNamespace(get=run.parser.get_parsed_content, trainer=trainer, before=before, shown=torch.cat(shown))


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module", params=[(), (MEDMAP,)], ids=["plain", "aligned"])
def lesson(request, workflow, tmp_path_factory):
    """A teacher and a student that it has taught, without and with alignment, and where their files are."""
    folder, more = tmp_path_factory.mktemp("lesson"), request.param
    teacher = learn(workflow, folder / "teacher", *TRAIN, *more, TEACHER)
    file = str(folder / "teacher" / "model.pt")
    student = learn(workflow, folder / "student", *TRAIN, *more, STUDENT, teacher_file=file, max_epochs=2)
    return SimpleNamespace(folder=folder, more=more, teacher=teacher, student=student, file=file)


def test_the_teacher_learns_from_the_complete_cases_and_sees_all_of_them(lesson, modalities):
    cases = lesson.teacher.get("train::cases")
    assert [list(case["images"]) for case in cases] == [modalities]
    assert lesson.teacher.shown.all() and len(lesson.teacher.shown) == 1
    weights = torch.load(lesson.file, weights_only=True)
    assert all(value.isfinite().all() for value in weights.values())
    assert not any(torch.equal(weights[name], value) for name, value in lesson.teacher.before.items() if value.ndim > 1)


def test_the_teacher_stays_as_it_is_bit_by_bit(lesson):
    assert same(lesson.student.get("teacher").network.state_dict(), torch.load(lesson.file, weights_only=True))


def test_the_student_learns_and_both_terms_are_logged(lesson):
    after = lesson.student.get("network").state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert not same(after, lesson.student.before)
    metrics = lesson.student.trainer.state.metrics
    assert all(0 < metrics[name] < float("inf") for name in TERMS)
    assert ("loss_alignment" in metrics) == bool(lesson.more)


def test_the_student_is_shown_random_subsets_of_what_a_case_has(lesson):
    shown = {tuple(row.tolist()) for row in lesson.student.shown}
    assert lesson.student.shown.any(dim=1).all() and len(shown) > 2


def test_the_teacher_is_in_no_checkpoint_and_in_no_optimizer(lesson):
    file = lesson.folder / "student" / "runs" / "checkpoints" / "checkpoint_epoch=2.pt"
    checkpoint = torch.load(file, weights_only=True)
    assert checkpoint["model"].keys() == lesson.student.before.keys()
    assert checkpoint["loss"].keys() == {"_extra_state"}
    held = {id(each) for group in lesson.student.trainer.optimizer.param_groups for each in group["params"]}
    assert held == {id(each) for each in lesson.student.get("network").parameters()}


def test_a_student_begins_as_it_would_without_a_teacher(lesson, workflow):
    assert same(lesson.student.before, state(workflow(*TRAIN, *lesson.more).parser.get_parsed_content("network")))


def test_evaluating_a_student_needs_no_teacher_whether_the_overlay_is_given_or_not(lesson, workflow, tmp_path):
    scores = {}
    for name, overlay in (("without", ()), ("with", (STUDENT,))):
        files = (*TRAIN, *lesson.more, *overlay, "evaluate.yaml")
        places = {"output_dir": str(tmp_path / name), "model_file": str(lesson.folder / "student" / "model.pt")}
        nowhere = {"teacher_file": str(tmp_path / "nowhere.pt")} if overlay else {}
        knobs = {"validation_subsets": ["all", "t1+t2"], "patch_size": [24, 24, 24]}
        run = workflow(*files, run_id="evaluating", **places, **nowhere, **knobs)
        run.run()
        run.finalize()
        scores[name] = read_scores(tmp_path / name / "per_case.csv")
    assert set(scores["with"]["subset"]) == {"flair+t1ce+t1+t2", "t1+t2"}
    assert scores["with"].equals(scores["without"])


def test_inference_with_a_student_is_as_ever(lesson, workflow, phantoms, tmp_path):
    places = {"output_dir": str(tmp_path), "model_file": str(lesson.folder / "student" / "model.pt")}
    files = ("inference.yaml", "network_unet.yaml", *lesson.more)
    case = str(phantoms / "phantom_0004")
    run = workflow(*files, run_id="evaluating", workflow_type="infer", dataset_dir=case, subset="t1", **places)
    run.run()
    run.finalize()
    assert (tmp_path / "phantom_0004.nii.gz").is_file()


def test_a_fixed_subset_is_all_that_a_student_learns_from(lesson, workflow, tmp_path):
    settings = {"teacher_file": lesson.file, "student_modalities": "flair+t2"}
    student = learn(workflow, tmp_path, *TRAIN, *lesson.more, STUDENT, **settings)
    assert student.shown.any(dim=0).tolist() == [True, False, False, True]
    after = student.get("network").state_dict()
    encoders = {m: [name for name in after if name.startswith(f"encoders.{m}.")] for m in range(4)}
    for m, seen in enumerate((True, False, False, True)):
        moved = [name for name in encoders[m] if not torch.equal(after[name], student.before[name])]
        assert bool(moved) == seen
    assert all(student.trainer.state.metrics[name] > 0 for name in TERMS)


def test_passion_lies_over_it(lesson, workflow, tmp_path):
    files = (*TRAIN, STUDENT, *lesson.more, "method_passion.yaml")
    student = learn(workflow, tmp_path, *files, teacher_file=lesson.file, precision="bfloat16", batch_size=2)
    metrics = student.trainer.state.metrics
    for name in (*TERMS, "loss_pixel_distillation", "loss_semantic_distillation", "loss_total"):
        assert 0 < metrics[name] < float("inf"), name
    assert same(student.get("teacher").network.state_dict(), torch.load(lesson.file, weights_only=True))


def test_hearts_are_taught_slice_by_slice(workflow, write_hearts, hearts, tmp_path):
    folder = write_hearts(tmp_path / "hearts", 3, missing={0: ["C0"]})
    MakeDatalist(folder, folder / "datalist.json", split=(2, 1, 0)).write()
    data = {**hearts, "dataset_dir": str(folder), "val_interval": 9}
    files = (*TRAIN, "dataset_myops2020.yaml", MEDMAP)
    learn(workflow, tmp_path / "teacher", *files, TEACHER, **data)
    file = str(tmp_path / "teacher" / "model.pt")
    student = learn(workflow, tmp_path / "student", *files, STUDENT, **data, teacher_file=file, batch_size=2)
    metrics = student.trainer.state.metrics
    assert all(0 < metrics[name] < float("inf") for name in (*TERMS, "loss_alignment"))


def test_overlays_mean_the_same_in_any_order(workflow):
    overlays = ("network_mmformer.yaml", STUDENT, MEDMAP, "method_passion.yaml")
    configs = []
    for order in permutations(overlays):
        parser = ConfigParser(workflow("train.yaml", *order).parser.get())
        parser.resolve_macro_and_relative_ids()
        configs.append({id_: parser[id_] for id_ in ("teacher", "network_def", "alignment", "loss", "train")})
    assert configs == configs[:1] * len(configs)
    teacher = configs[0]["teacher"]["network"]
    assert (teacher["network"], teacher["alignment"]) == (configs[0]["network_def"], configs[0]["alignment"])
    assert teacher["network"]["width"] == 4, "what the command line says of the network is said of the teacher too"


# --- what goes wrong -------------------------------------------------------------------------------


def test_a_missing_teacher_is_named_when_training_starts(workflow, tmp_path):
    missing = tmp_path / "nowhere" / "teacher.pt"
    with pytest.raises(RuntimeError) as caught:  # MONAI wraps whatever a component raises
        learn(workflow, tmp_path, *TRAIN, STUDENT, teacher_file=str(missing))
    error = root_cause(caught.value)
    assert isinstance(error, FileNotFoundError)
    assert f"no teacher at {missing}" in str(error) and "configs/method_kd_teacher.yaml" in str(error)


def test_a_teacher_of_another_alignment_is_refused(lesson, workflow, tmp_path):
    other = () if lesson.more else (MEDMAP,)
    with pytest.raises(RuntimeError) as caught:
        learn(workflow, tmp_path, *TRAIN, *other, STUDENT, teacher_file=lesson.file)
    assert "are of another network or alignment: 1 " in str(root_cause(caught.value))


def test_a_student_without_a_teacher_is_refused(workflow, tmp_path):
    with pytest.raises(RuntimeError) as caught:
        learn(workflow, tmp_path, *TRAIN, STUDENT, teacher=None)
    assert "the objective has terms that read what a `teacher` says" in str(root_cause(caught.value))
