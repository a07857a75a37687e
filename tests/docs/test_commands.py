# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Every command in the documents is run by a test, or stands here with the reason why not.

``KNOWN`` says of each command which it is; a command that it does not know fails. Whatever it says, the options of each
command are checked here: that the tool has them, that files of a configuration are there, that each id exists.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import yaml
from monai.bundle import ConfigParser

from incomplete_segmentation.command import COMMANDS, HELP, overview
from scripts.tools.command_line import run_tool
from tests.docs.documents import PAGES, ROOT, commands, text_of
from tests.test_adding import BLOCKS

PROGRAM = "incomplete-seg"
TOOLS = {name: command for group in COMMANDS.values() for name, command in group.items()}
FOUND = [command for page in PAGES for command in commands(page)]


class Tested(NamedTuple):
    """Run by these tests, as it stands or smaller: other data, fewer cases, a narrower network."""

    tests: tuple[str, ...]


class NotRun(NamedTuple):
    """Run by no test, because of this."""

    reason: str


def by(*tests: str) -> Tested:
    return Tested(tests)


HERE = "run by a test of this file, as it stands"
DOCUMENT = "tests/data/test_data_document.py::"
PHANTOMS, DATALIST = "tests/phantom/test_phantom_dataset.py::", "tests/tools/test_make_datalist.py::"
WORKFLOWS, CONFIGS = "tests/test_workflows.py::", "tests/test_configs.py::"
TRAINED = f"{CONFIGS}test_every_network_trains_in_every_setting_and_by_every_method"
EVALUATED = f"{WORKFLOWS}test_every_case_is_scored_for_exactly_the_subsets_it_has"
SEGMENTED = f"{WORKFLOWS}test_a_label_map_lies_on_the_grid_of_its_images"
SERVER, SITES = "tests_label/test_server.py::", "tests_federated/test_simulator.py::"
LABEL = NotRun("a part of the set-up of MONAI Label, which `make label-test` does in its own way")
HEARTS = "tests/test_dataset_myops2020.py::"

# The first pattern that fits the whole command counts
KNOWN: list[tuple[str, Tested | NotRun | str]] = [
    # make, and what is around it
    (r"make setup-prepare", NotRun("installs packages")),
    (r"make (demo|test|long-test|setup|lint)", NotRun("CI runs it on a clean clone; tests would run themselves")),
    (r"make (label|federated|export|install)-\w+( PYTHON=\S+)?", NotRun("minutes, in an environment of its own")),
    (r"source \.venv\S*/bin/activate|cd \S+|mkdir -p \S+( \S+)?|git clone <.*", NotRun("changes the shell or copies")),
    (r"pip install (\.|-e \.|\"\.\[mlflow\]\")", NotRun("a fresh environment is needed, as `make install-test` makes")),
    (r"pre-commit install", NotRun("changes the hooks of the checkout")),
    (r"tensorboard --logdir \S+|mlflow ui .*", NotRun("opens a server that a person looks at")),
    (
        r"python -m pytest tests/test_configs\.py -k .*",
        by("tests/test_adding.py::test_everything_stays_green_with_what_the_page_adds"),
    ),
    (r"for file in model\.pt training\.json; do git show .*", NotRun("needs the history, which a package has not")),
    # workflows of MONAI: training
    (
        r"(OMP_NUM_THREADS=1 )?python -m monai\.bundle run training .*train_phantom\.yaml.*",
        NotRun("more than an hour; tests/test_weights_that_ship.py trains with these files for a few steps"),
    ),
    (r"python -m monai\.bundle run training .*--resume true", by("tests/test_resume.py")),
    (
        r"python -m monai\.bundle run training .*--tracking mlflow",
        by("tests/test_tracking.py::test_the_run_is_finished_and_has_its_configuration"),
    ),
    (
        r"python -m monai\.bundle run training .*dataset_myops2020\.yaml.*",
        by(f"{HEARTS}test_training_on_slices_learns_with_finite_weights"),
    ),
    (r"python -m monai\.bundle run training .*finetune\.yaml.*", by("tests/test_weights_that_ship.py")),
    (
        r"python -m monai\.bundle run training .*(max_fusion|prostate).*",
        by("tests/test_adding.py::test_everything_stays_green_with_what_the_page_adds"),
    ),
    (
        r"(GOMP_SPINCOUNT=\d+ )?python -m monai\.bundle run training .*",
        by(TRAINED, f"{WORKFLOWS}test_a_run_leaves_checkpoints_a_model_a_record_and_curves"),
    ),
    (r"torchrun --standalone .*", by("tests/test_multi_gpu.py")),
    (r"torchrun --nnodes=2 .*", NotRun("needs two machines, see docs/reference/never_run.md")),
    # evaluation and inference
    (
        r"python -m monai\.bundle run evaluating .*calibrate\.yaml.*",
        by("tests/test_calibration_workflow.py::test_fitting_leaves_temperatures_beside_the_weights"),
    ),
    (
        r"python -m monai\.bundle run evaluating .*--temperature_scaling true",
        by(
            "tests/test_calibration_workflow.py::test_an_evaluation_has_the_error_of_each_case_with_and_without_scaling",
            "tests/test_calibration_workflow.py::test_maps_of_a_patient_lie_on_its_grid_and_agree_with_the_label_map",
        ),
    ),
    (
        r"python -m monai\.bundle run evaluating .*inference\.yaml.*dataset_myops2020\.yaml.*",
        by(f"{HEARTS}test_patients_are_segmented_from_what_they_have_on_their_own_grid"),
    ),
    (
        r"python -m monai\.bundle run evaluating .*dataset_myops2020\.yaml.*",
        by(f"{HEARTS}test_every_region_and_every_subset_is_scored"),
    ),
    (
        r"python -m monai\.bundle run evaluating .*FL_global_model\.pt.*",
        by(f"{SITES}test_the_global_network_segments_a_patient"),
    ),
    (r"python -m monai\.bundle run evaluating .*inference\.yaml.*", by(SEGMENTED)),
    (r"python -m monai\.bundle run evaluating .*evaluate\.yaml.*", by(EVALUATED)),
    # exports, packages
    (
        r"python -m monai\.bundle ckpt_export .*",
        by("tests/test_model_zoo.py::test_torchscript_says_what_the_network_says_of_every_subset"),
    ),
    (
        r"python -m monai\.bundle onnx_export .*",
        by("tests/test_model_zoo.py::test_onnx_says_what_the_network_says_of_every_subset"),
    ),
    (
        r"python -m monai\.bundle download .*",
        by("tests/tools/test_verify_bundle.py::test_the_downloaded_copy_segments_as_the_original_does"),
    ),
    (
        r"incomplete-seg package .*",
        by("tests/tools/test_verify_bundle.py::test_what_is_packed_is_printed_with_its_hashes"),
    ),
    (
        r"incomplete-seg verify",
        by("tests/tools/test_verify_bundle.py::test_the_downloaded_copy_passes_the_checks_of_the_zoo"),
    ),
    # the commands of the package
    (r"incomplete-seg --help|incomplete-seg show-config .*", HERE),
    (r"incomplete-seg (phantoms|segment) .*data/first.*", HERE),
    (
        r"incomplete-seg (phantoms|datalist|trace-case) .*data/phantoms( .*|/idt.*)--(training 20|missing_\w+|case) .*",
        by(f"{DOCUMENT}test_the_case_that_is_traced_is_one_of_the_phantoms_that_the_commands_before_made"),
    ),
    (
        r"incomplete-seg phantoms .*",
        by(
            f"{PHANTOMS}test_the_tool_makes_phantoms_and_says_where",
            f"{PHANTOMS}test_the_tool_makes_phantoms_of_the_variety_asked_for",
        ),
    ),
    (r"incomplete-seg draw-phantoms .*", by(f"{PHANTOMS}test_the_figure_shows_the_variety_asked_for")),
    (r"incomplete-seg datalist .*--folds .*", by(f"{DATALIST}test_folds_are_written_to_a_file_each")),
    (
        r"incomplete-seg datalist .*bssfp.*",
        by(f"{DATALIST}test_hearts_have_the_published_order_of_modalities_and_rates_without_further_options"),
    ),
    (
        r"incomplete-seg datalist .*data/brats2021,data/own.*",
        by(f"{DATALIST}test_command_line_makes_one_datalist_of_all_real_cases"),
    ),
    (
        r"incomplete-seg datalist .*",
        by(f"{DATALIST}test_split_datalist_records_how_it_was_made_and_prints_the_audit", "tests/data/test_layouts.py"),
    ),
    (
        r"incomplete-seg segment .*--(output_grid|brain_mask|bias_field|prepare) .*",
        by(
            "tests/test_segment.py::test_raw_series_are_prepared_and_the_result_lies_on_each_grid",
            "tests/preparation/test_prepare.py::test_a_mask_that_is_given_wins_and_no_brain_is_looked_for",
            "tests/preparation/test_prepare.py::test_a_bias_field_is_taken_out_where_asked_for",
        ),
    ),
    (
        r"incomplete-seg segment .*",
        by(
            "tests/tools/test_segment.py::test_a_patient_is_segmented_from_any_folder_with_a_progress_bar",
            "tests/test_segment.py::test_every_form_gives_the_same_label_map_and_nothing_is_written_unasked",
        ),
    ),
    (
        r"incomplete-seg series .*",
        by(
            "tests/preparation/test_dicom.py::test_the_tool_lists_every_series_with_decision_and_reason",
            "tests/preparation/test_dicom.py::test_the_tool_ends_in_one_line_where_it_is_not_clear_which_to_take",
        ),
    ),
    (r"incomplete-seg report .*", by("tests/report/test_report.py")),
    (
        r"incomplete-seg compare .*",
        by("tests/tools/test_compare_evaluations.py::test_the_comparison_is_written_as_markdown_and_as_a_table"),
    ),
    (
        r"incomplete-seg study .*",
        by(
            "tests/tools/test_run_study.py::test_a_study_trains_evaluates_tabulates_and_names_what_failed",
            "tests/study/test_plan.py::test_every_id_of_the_studies_that_come_with_the_bundle_exists",
        ),
    ),
    (
        r"incomplete-seg draw-features .*",
        by("tests/tools/test_draw_features.py::test_the_tool_writes_a_png_of_several_evaluations"),
    ),
    (
        r"incomplete-seg draw-subsets .*",
        by("tests/tools/test_draw_subsets.py::test_the_tool_writes_one_png_and_nothing_else"),
    ),
    (
        r"incomplete-seg trace-case .*",
        by("tests/tools/test_trace_case.py::test_output_names_absent_modalities_and_says_which_encoder_learns_nothing"),
    ),
    (
        r"incomplete-seg convert-checkpoint .*",
        by("tests/tools/test_convert_checkpoint.py::test_command_line_takes_names_joined_by_commas"),
    ),
    (r"incomplete-seg run training .*", by(TRAINED)),
    (
        r"python -m scripts\.tools\.(measure_plausibility|train_modality_recognition) .*",
        by("tests/tools/test_measure_plausibility.py"),
    ),
    (r"incomplete-seg benchmark(-evaluation)? .*", NotRun("minutes of measuring, on a machine that does nothing else")),
    # MONAI Label: by `make label-test`
    (r"S=http://127\.0\.0\.1:8000; N=\S+|export MONAI_LABEL\S+=.*|monailabel .*", LABEL),
    (r"python -m scripts\.tools\.copy_bundle .*", by("tests/bundle/test_serving.py")),
    (r"python -c \"import nibabel as nib; .*", HERE),
    (r"curl \$S/info/", by(f"{SERVER}test_a_client_is_shown_what_it_may_change")),
    (r"curl .*params=\{\"subset\".*", by(f"{SERVER}test_a_request_may_name_the_modalities_to_use")),
    (r"curl .*-F file=@.*params=\{\"channels\".*", by(f"{SERVER}test_a_request_may_name_the_channels_of_its_file")),
    (r"curl .*(\$S/session/|session_id=).*", by(f"{SERVER}test_a_session_holds_the_files_of_one_patient")),
    (r"curl .*params=\{\"(image|flair)\".*", by(f"{SERVER}test_paths_on_the_server_are_recognised_by_name_or_named")),
    (r"curl .*\$S/infer/.*", by(f"{SERVER}test_a_folder_is_one_patient_of_whatever_files_it_has")),
    (r"curl .*\$S/batch/infer.*", by(f"{SERVER}test_a_batch_segments_every_patient_into_the_data_store")),
    (r"curl .*\$S/datastore/label.*", by(f"{SERVER}test_a_label_is_kept_as_final")),
    (r"curl .*-X DELETE \$S/train/", by(f"{SERVER}test_a_training_can_be_stopped_and_leaves_nothing_behind")),
    (r"curl .*\$S/train/.*", by(f"{SERVER}test_training_leaves_weights_that_inference_takes_up")),
    # NVIDIA FLARE: by `make federated-test`
    (
        r"FEDERATED_DATA=\S+ python -m nvflare\.cli simulator .*",
        by(f"{SITES}test_the_global_network_moves_in_every_round_and_stays_finite"),
    ),
]


def known(text):
    return next((how for pattern, how in KNOWN if re.fullmatch(pattern, text)), None)


def test_every_command_is_run_by_a_test_or_listed_as_not():
    assert len(FOUND) > 120
    unknown = [f"{command.page}: {command.text}" for command in FOUND if known(command.text) is None]
    assert unknown == [], "say in KNOWN which test runs it, or why none does"


def test_no_entry_stands_for_a_command_that_is_gone():
    used = {next(p for p, _ in KNOWN if re.fullmatch(p, command.text)) for command in FOUND if known(command.text)}
    assert [pattern for pattern, _ in KNOWN if pattern not in used] == []


def test_tests_that_are_named_exist():
    named = sorted({test for _, how in KNOWN if isinstance(how, Tested) for test in how.tests})
    assert len(named) > 30
    for test in named:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert not name or re.search(rf"^def {name}\(", text_of(ROOT / file), flags=re.MULTILINE), test


# --- options: every tool has them, every id exists ----------------------------------------------------


def arguments_of(text):
    """Split a command: words that are no options, and options with their values."""
    words, options, name = [], {}, None
    for word in shlex.split(text):
        if re.match(r"--?[a-zA-Z+]", word):
            name, equals, value = word.lstrip("-").partition("=")
            options[name] = value if equals else True
            name = None if equals else name
        elif name is not None:
            options[name], name = word, None
        else:
            words.append(word)
    return words, options


def listed(text):
    return [name.strip(" '\"") for name in str(text).strip("[]").split(",")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Find a configuration file, those that docs/how_to/adding.md adds among them."""
    folder = tmp_path_factory.mktemp("configs")

    def _files(names):
        for name in names:
            if name in BLOCKS and not (folder / Path(name).name).exists():
                (folder / Path(name).name).write_text(BLOCKS[name], encoding="utf-8")
        found = [folder / Path(name).name if name in BLOCKS else ROOT / name for name in names]
        assert [str(path) for path in found if not path.is_file()] == []
        return [str(path) for path in found]

    return _files


def unknown_ids(names, files, options, known_already=()):
    """Options that are no ids of the merged configuration; of a method that is added below another, the term is new."""
    config = ConfigParser(ConfigParser.load_config_files(files(names)))
    of_monai = {"config_file", "tracking"}
    return [id_ for id_ in options if id_ not in config and id_ not in of_monai and id_ not in known_already]


RUNS = [command for command in FOUND if "monai.bundle run " in command.text]


@pytest.mark.parametrize("text", sorted({command.text for command in RUNS}))
def test_a_workflow_has_its_files_and_every_option_is_an_id(text, files):
    words, options = arguments_of(text[text.index("monai.bundle run ") :])
    names = listed(options["config_file"])
    assert words[2] in ("training", "evaluating")
    assert words[2] in yaml.safe_load(text_of(ROOT / names[0])) or "configs/evaluate.yaml" in names
    assert unknown_ids(names, files, options) == []


OURS = [command for command in FOUND if command.text.startswith(f"{PROGRAM} ")]


@pytest.mark.parametrize("text", sorted({command.text for command in OURS}))
def test_a_command_has_its_options(text, files):
    words, options = arguments_of(text.removeprefix(f"{PROGRAM} "))
    if not words:
        assert f"--{next(iter(options))}" in HELP
        return
    tool = TOOLS[words[0]]
    component = getattr(
        import_module(f"scripts.tools.{tool.tool}"), "main" if tool.component == "run" else tool.component
    )
    parameters = inspect.signature(component).parameters
    own = [name for name, each in parameters.items() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    others = {name: value for name, value in options.items() if name not in own}
    needed = {name for name, each in parameters.items() if each.default is each.empty and each.kind < 2}
    given = set(options) | set(own[: len(words) - 1])
    assert needed <= given, "what must be given is given"
    if len(own) < len(parameters):
        named = [word for word in words[1:] if word.endswith(".yaml")]
        named = named or listed(options.get("config_file", "configs/inference.yaml"))
        modalities = yaml.safe_load(text_of(ROOT / "configs/inference.yaml"))["modalities"]
        assert unknown_ids(named, files, others, modalities) == []
    else:
        assert others == {}
    for name in ("file", "config"):
        if name in options:
            files(listed(options[name]))


def test_targets_of_make_are_there():
    targets = re.findall(r"^([a-z][\w-]*):", text_of(ROOT / "Makefile"), flags=re.MULTILINE)
    named = {command.text.split()[1] for command in FOUND if command.text.startswith("make ")}
    assert named and named <= set(targets)


def test_every_command_of_the_package_is_in_the_reference():
    text = text_of(ROOT / "docs" / "reference" / "command_line.md")
    assert re.findall(r"^\| `([a-z-]+)` \|", text, flags=re.MULTILINE) == list(TOOLS)


WRITING = ("output", "output_dir", "folder", "o", "filepath", "table", "bundle_dir", "w")


def test_what_commands_write_is_ignored_by_git_so_that_its_status_stays_clean():
    ignored = text_of(ROOT / ".gitignore").split()
    assert {"/data/", "/runs/", "/dist/", "/demo/", "/models/*"} <= set(ignored)
    places = ("data/", "runs/", "dist", "demo/", "models/model.ts", "../")
    written = {value for each in FOUND for name, value in arguments_of(each.text)[1].items() if name in WRITING}
    assert len(written) > 20
    assert sorted(path for path in written if not str(path).startswith(places)) == []


# --- commands that are run right here -----------------------------------------------------------------


def here(word):
    """The commands with a word in them that are to be run here, in the order of the pages."""
    return [command.text for command in FOUND if word in command.text and known(command.text) == HERE]


def run(text):
    name, *options = shlex.split(text)[1:]
    tool = TOOLS[name]
    if tool.component == "run":
        import_module(f"scripts.tools.{tool.tool}").run(options, f"{PROGRAM} {name}")
    else:
        run_tool(getattr(import_module(f"scripts.tools.{tool.tool}"), tool.component), options, f"{PROGRAM} {name}")


def test_help_names_every_command():
    (text,) = set(here("--help"))
    assert text == f"{PROGRAM} --help" and all(f"  {name} " in overview() for name in TOOLS)


@pytest.mark.parametrize("text", sorted(set(here("show-config"))))
def test_values_are_shown_with_the_file_that_set_them(text, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    run(text)
    lines = capsys.readouterr().out.splitlines()
    wanted = arguments_of(text)[1]["grep"]
    assert lines and all(wanted in line for line in lines)
    assert any(line.endswith(("setting_pdt.yaml", "command line")) for line in lines)


@pytest.mark.long
def test_the_first_segmentation_is_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = here("data/first")
    assert [shlex.split(step)[1] for step in steps] == ["phantoms", "segment", "segment"]
    for step in steps:
        run(step)
    page = text_of(ROOT / "docs" / "getting_started" / "first_segmentation.md")
    shown = json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
    report = json.loads(Path("runs/first/seg.json").read_text(encoding="utf-8"))
    assert report["subset"] == shown["subset"]
    for region, volume in shown["volumes"].items():
        assert report["volumes"][region]["ml"] == pytest.approx(volume["ml"], rel=0.02), region
    for line in report["expected_performance"]["in_words"]:
        assert line in page
    assert all(warning in page for warning in report["warnings"])
    assert sorted(path.name for path in Path("runs/first").iterdir()) == [
        "seg.json",
        "seg.nii.gz",
        "t1ce.json",
        "t1ce.nii.gz",
    ]


def test_files_of_a_patient_are_stacked_as_the_page_says(tmp_path, monkeypatch):
    (text,) = here("import nibabel")
    (tmp_path / "work" / "case3").mkdir(parents=True)
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for number, name in enumerate(("flair", "t1ce", "t1", "t2")):
        image = nib.Nifti1Image(np.full((2, 2, 2), number, dtype=np.int16), np.eye(4))
        nib.save(image, f"case3/case3_{name}.nii.gz")
    exec(shlex.split(text)[2])
    stacked = nib.load(tmp_path / "studies" / "case3.nii.gz")
    assert stacked.shape == (2, 2, 2, 4) and np.rint(stacked.dataobj[0, 0, 0]).tolist() == [0, 1, 2, 3]
