# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration files: what they may contain, what overlays may change, and that every combination trains."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from pydoc import locate

import ignite.distributed as idist
import pytest
import torch
import yaml
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser
from monai.transforms import Randomizable

from scripts.engines.case_evaluator import root_cause

CONFIGS = Path(__file__).parents[1] / "configs"
BASES = ("train.yaml", "inference.yaml")
FILES = sorted(file.name for file in CONFIGS.glob("*.yaml"))
OVERLAYS = [name for name in FILES if name not in BASES]
NETWORKS = [name for name in OVERLAYS if name.startswith("network_")]
SETTINGS = [name for name in OVERLAYS if name.startswith("setting_")]
METHODS = [name for name in OVERLAYS if name.startswith("method_")]
DATASETS = [name for name in OVERLAYS if name.startswith("dataset_")]
ALIGNMENT = "method_medmap.yaml"  # part of the network, so an overlay of inference too
UNDER = {name: ["train.yaml"] for name in OVERLAYS}
UNDER |= {name: ["train.yaml", "evaluate.yaml"] for name in ("calibrate.yaml", "multi_gpu_evaluate.yaml")}
SERVED = [[*UNDER[name], name] for name in OVERLAYS]
SERVED += [["inference.yaml", name] for name in [*NETWORKS, *DATASETS, ALIGNMENT]]
TEACHER, STUDENT = "method_kd_teacher.yaml", "method_kd_student.yaml"  # of complete cases; of a teacher and by chance
PERFECT = "setting_pdt.yaml"  # its uni-modal heads see every modality, whatever is drawn
RUN_IDS = ("training", "evaluating")  # named on the command line alone
FORBIDDEN = r"\b(lambda|for|while|setattr|getattr|eval|exec|open|glob|path|Path|os|import|__\w+|download\w*|load\w*)\b"


def read(name):
    return yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))


def merged(*names):
    return ConfigParser(ConfigParser.load_config_files([str(CONFIGS / name) for name in names]))


def ids(name):
    """Each id that an overlay writes, with ``+`` apart: ``(id, is appended, content)``."""
    return [(key.removeprefix("+").replace("#", "::"), key.startswith("+"), value) for key, value in read(name).items()]


def items(config, prefix=""):
    """Every ``(id, key, content)`` below a configuration, at any depth."""
    pairs = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in pairs:
        yield f"{prefix}{key}", key, value
        yield from items(value, f"{prefix}{key}::")


def texts(config):
    return [(id_, value) for id_, _, value in items(config) if isinstance(value, str)]


LOCATOR = ComponentLocator()


def parameters(component):
    """Names of the arguments that a component takes; those of its bases too where it passes any on."""
    target = locate(ConfigComponent(component, locator=LOCATOR).resolve_module_name())
    taken = set()
    for each in target.__mro__ if inspect.isclass(target) else [target]:
        signature = inspect.signature(each).parameters.values()
        taken |= {parameter.name for parameter in signature}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature):
            break
    return taken


@pytest.mark.parametrize("name", FILES)
def test_no_key_is_written_twice(name):
    class Strict(yaml.SafeLoader):
        """Refuses what YAML readers pass over: the first of two equal keys is lost."""

    def mapping(loader, node):
        keys = Counter(key.value for key, _ in node.value)
        assert [key for key, count in keys.items() if count > 1] == [], f"line {node.start_mark.line}"
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    assert yaml.load((CONFIGS / name).read_text(encoding="utf-8"), Strict)


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name not in DATASETS])
def test_every_id_of_an_overlay_exists_in_the_base(name):
    base, both = merged(*UNDER[name]), merged(*UNDER[name], name)
    references = {id_.removeprefix("@") for _, text in texts(both.config) for id_ in re.findall(r"@[\w:]+", text)}
    for id_, appended, _ in ids(name):
        new = "::" not in id_ and not appended and id_ not in base
        assert id_ in base or (new and (id_ in references or id_ in RUN_IDS)), f"{name}: `{id_}` changes nothing"


@pytest.mark.parametrize("name", DATASETS)
def test_every_id_of_a_data_set_overlay_is_a_knob_of_training_or_of_inference(name):
    # it lies over both files, so it may only set what stands at their root
    known = {id_ for base in BASES for id_ in read(base)}
    assert [id_ for id_, appended, _ in ids(name) if appended or id_ not in known] == []


@pytest.mark.parametrize("name", [*NETWORKS, ALIGNMENT])
def test_an_overlay_of_the_network_changes_that_of_inference_too(name):
    assert [id_ for id_, _, _ in ids(name) if id_ not in merged("inference.yaml")] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_overlay_wipes_what_the_base_has_beside_its_own_keys(name):
    base = merged(*UNDER[name])
    for id_, appended, value in ids(name):
        if appended:
            assert type(base[id_]) is type(value), f"{name}: `+{id_}` cannot be merged"
            nested = value.items() if isinstance(value, dict) else ()
            pairs = [(base[f"{id_}::{key}"], inner) for key, inner in nested if f"{id_}::{key}" in base]
        else:
            pairs = [(base[id_], value)] if id_ in base else []
        for old, new in pairs:
            component = isinstance(new, dict) and "_target_" in new
            section = isinstance(old, dict) and ("_target_" in old or any(isinstance(v, dict) for v in old.values()))
            assert component or not section, f"{name}: `{id_}` replaces a whole section; write `{id_}::key: value`"


@pytest.mark.parametrize("names", [[base] for base in BASES] + SERVED)
def test_every_reference_has_something_to_refer_to(names):
    parser = merged(*names)
    references = [(id_, found) for id_, text in texts(parser.config) for found in re.findall(r"@([\w:#-]+)", text)]
    assert references
    assert [pair for pair in references if pair[1] not in parser] == []


@pytest.mark.parametrize("names", [[base] for base in BASES] + SERVED)
def test_every_argument_is_one_that_its_target_takes(names):
    config = merged(*names).config
    components = [(id_, value) for id_, _, value in items(config) if isinstance(value, dict) and "_target_" in value]
    assert components
    for id_, component in components:
        arguments = {key for key in component if not key.startswith("_")}
        assert arguments <= parameters(component), f"{id_}: {component['_target_']}"


@pytest.mark.parametrize("name", FILES)
def test_expressions_are_short_and_declarative(name):
    expressions = [(id_, text) for id_, text in texts(read(name)) if text.startswith("$")]
    assert [pair for pair in expressions if len(pair[1]) > 80] == []
    assert [pair for pair in expressions if re.search(FORBIDDEN, pair[1])] == []


@pytest.mark.parametrize("name", FILES)
def test_ids_are_words_in_snake_case(name):
    keys = {part for _, key, _ in items(read(name)) if isinstance(key, str) for part in key.lstrip("+").split("::")}
    assert [key for key in keys if not re.fullmatch(r"[a-z][a-z0-9_]*|\d+|_target_|_mode_|_disabled_", key)] == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is_and_stays_short(name):
    lines = (CONFIGS / name).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# Overlay: " if name in OVERLAYS else "# ")
    workflow = name in (*BASES, "evaluate.yaml")
    assert len(lines) <= (280 if workflow else 40)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("names", [["train.yaml"], ["inference.yaml"], ["train.yaml", "evaluate.yaml"]])
def test_the_named_run_is_a_reference_never_a_copy(names):
    # MONAI Label may resolve the whole configuration: a copy of `run` would run everything twice
    config = merged(*names).config
    named = {name: config[name] for name in RUN_IDS if name in config}
    assert named
    assert set(named.values()) == {"@run"}
    first, *rest = config["run"]
    assert first == {"_target_": "scripts.bundle.command.begin"}
    assert rest in (["$@train::trainer.run()"], ["$@validate::evaluator.run()"], ["$@evaluator.run()"])


WORKFLOWS = [[base] for base in BASES] + SERVED
WORKFLOWS += [["train.yaml", "evaluate.yaml", name] for name in [*NETWORKS, *DATASETS, ALIGNMENT]]


@pytest.mark.parametrize("names", WORKFLOWS, ids="+".join)
def test_the_properties_that_monai_asks_for_are_there(workflow, data_of, tmp_path, names):
    knobs = next((data_of(name) for name in names if name in DATASETS), {})
    if STUDENT in names:
        network = workflow("train.yaml").parser.get_parsed_content("network")
        torch.save(network.state_dict(), tmp_path / "teacher.pt")
        knobs = {"teacher_file": str(tmp_path / "teacher.pt")}
    workflow_type = "infer" if names[0] == "inference.yaml" else "train"
    if "finetune.yaml" in names:
        network = workflow("train.yaml").parser.get_parsed_content("network")
        torch.save(network.state_dict(), tmp_path / "initial.pt")
        knobs = {"initial_file": str(tmp_path / "initial.pt")}
    if "train_phantom.yaml" in names:
        knobs = {"phantom_dir": str(tmp_path)}
    with ExitStack() as stack:
        if any(name.startswith("multi_gpu") for name in names):
            knobs = {"initialize": []}  # this is the only process
            idist.initialize("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
            stack.callback(idist.finalize)
        assert workflow(*names, workflow_type=workflow_type, **knobs).check_properties() == []


COMBINATIONS = list(product(NETWORKS, SETTINGS))
COMBINATIONS += [(network, "setting_idt.yaml", more) for network, more in product(NETWORKS, [*METHODS, *DATASETS])]
# Of an early fusion, which has no encoder of a modality
REFUSED = list(product(["network_dynunet.yaml", "network_segresnet.yaml"], ["method_ogm_ge.yaml", "method_pmr.yaml"]))
COMBINATIONS = [files for files in COMBINATIONS if (files[0], files[-1]) not in REFUSED]


@pytest.mark.parametrize("files", COMBINATIONS, ids="+".join)
def test_every_network_trains_in_every_setting_and_by_every_method(workflow, data_of, tmp_path, files):
    places = {"output_dir": str(tmp_path), "model_file": str(tmp_path / "model.pt")}
    data = data_of(files[-1]) if files[-1] in DATASETS else {"patch_size": [18, 18, 18]}
    knobs = {"batch_size": 2, "max_epochs": 1, "val_interval": 9}  # 3 or 4 cases: 2 iterations; one is complete
    if STUDENT in files:
        places["teacher_file"] = str(tmp_path / "teacher.pt")
        teacher = workflow("train.yaml", files[0], **data).parser.get_parsed_content("network")
        torch.save(teacher.state_dict(), places["teacher_file"])
    run = workflow("train.yaml", *files, **places, **knobs, **data)
    trainer = run.parser.get_parsed_content("train::trainer")
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    run.run()
    assert trainer.state.iteration == (1 if TEACHER in files else 2)
    after = torch.load(tmp_path / "model.pt", weights_only=True)
    assert before.keys() == after.keys()
    assert [name for name, value in after.items() if not torch.isfinite(value).all()] == []
    weights = [name for name, value in after.items() if value.ndim > 1]
    still = [name for name in weights if torch.equal(after[name], before[name])]
    missing = run.parser.get_parsed_content("train::missing")
    by_chance = isinstance(missing, Randomizable) and PERFECT not in files  # a modality may be hidden both times
    assert len(still) <= (0.25 * len(weights) if by_chance else 0), f"these weights did not move: {still}"


@pytest.mark.parametrize("files", REFUSED, ids="+".join)
def test_a_method_that_needs_the_encoder_of_a_modality_is_refused_without_one(workflow, tmp_path, files):
    run = workflow("train.yaml", *files, output_dir=str(tmp_path), patch_size=[18, 18, 18], max_epochs=1)
    with pytest.raises(Exception) as caught:
        run.run()
    assert re.search("no encoder for each.*expected another.* than an early fusion", str(root_cause(caught.value)))


def test_fine_tuning_is_at_the_scale_of_the_weights_that_ship():
    assert {read("finetune.yaml")[id_] == read("train_phantom.yaml")[id_] for id_ in ("spacing", "patch_size")} == {
        True
    }


def test_an_evaluation_of_a_fine_tuning_scores_what_that_wrote():
    files = ["train.yaml", "finetune.yaml"]
    written, scored = (merged(*files, *more) for more in ([], ["evaluate.yaml"]))
    places = [parser.get_parsed_content("output_dir") for parser in (written, scored)]
    assert places == ["./runs/finetune", "./runs/evaluate"]
    weights = [parser.get_parsed_content("model_file") for parser in (written, scored)]
    assert weights == ["./runs/finetune/model.pt"] * 2


def test_an_overlay_adds_to_the_slots_of_an_evaluation_and_replaces_no_list(workflow, tmp_path):
    note = {"_target_": "scripts.handlers.progress.ProgressBarHandler", "description": "mine"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"+validate::look": [note]}))
    parser = workflow("train.yaml", "evaluate.yaml", str(tmp_path / "mine.yaml")).parser
    slots = [slot.removeprefix("@") for slot in parser["validate::handlers"]]
    assert [slot for slot in slots if slot not in parser] == []
    before, look, scores = (slots.index(f"validate::{name}") for name in ("before", "look", "scores"))
    assert before < look < scores < slots.index("validate::after"), "a case is done when it is scored"
    assert parser["validate::look"][-1] == note and len(parser["validate::look"]) == 4
    assert [name for name in OVERLAYS if "validate::handlers" in read(name)] == []
    assert parser.get_parsed_content("validate::curves") is None, "an evaluation draws none"


# --- inference.yaml repeats what train.yaml says: MONAI Label reads that file alone -----------------

SHARED = ["modalities", "num_classes", "regions", "spatial_dims", "orientation", "spacing", "patch_size"]
SHARED += ["sliding_window_overlap", "sliding_window_batch", "precision", "fused", "network_def", "alignment", "device"]


@pytest.mark.parametrize("id_", SHARED)
def test_inference_repeats_the_task_and_the_network_of_training(id_):
    inference = read("inference.yaml")
    found = {**inference, **inference["trained"]["otherwise"]}[id_]  # where weights have no record of their own
    assert found == read("train.yaml")[id_]


def test_evaluation_and_inference_take_the_weights_that_ship_and_training_writes_its_own():
    training, inference = read("train.yaml"), read("inference.yaml")
    assert training["evaluated_file"] == inference["model_file"] == "$@bundle_root + '/models/model.pt'"
    assert training["model_file"] == "$@output_dir + '/model.pt'"
    assert read("evaluate.yaml")["model_file"] == "@evaluated_file"


TRAININGS = [names for names in SERVED if names[0] == "train.yaml" and "evaluate.yaml" not in names]


@pytest.mark.parametrize("names", TRAININGS, ids="+".join)
def test_no_training_writes_where_the_weights_lie_that_ship(names):
    parser = merged(*names)
    if "federated.yaml" not in names:  # whose server keeps the network
        assert parser.get_parsed_content("model_file").startswith(f"{parser.get_parsed_content('output_dir')}/")
        assert parser.get_parsed_content("output_dir").startswith("./runs/")


FOR_THE_LABEL = ("keys", "label_required", "label_convention")


def for_the_image(transform):
    """Describe what a transform does to the image, whatever else it is given."""
    described = {key: value for key, value in transform.items() if key not in FOR_THE_LABEL}
    keys = transform.get("keys", "image")
    if isinstance(keys, list):
        place = keys.index("image")
        described = {
            key: v[place] if isinstance(v, list) and len(v) == len(keys) else v for key, v in described.items()
        }
    return described


def deterministic(preprocessing, slots):
    """What happens to the image up to its normalisation, apart from the choice of a subset; examining does nothing."""
    transforms = [slots[t.rpartition(":")[2].lstrip("@")] if isinstance(t, str) else t for t in preprocessing]
    # inference prepares raw series in front of what both do
    transforms = [slots[t["load"].lstrip("@")] if "PrepareCased" in t["_target_"] else t for t in transforms]
    transforms = [t for t in transforms if not t["_target_"].endswith(("KeepModalitiesd", "ExaminePlausibilityd"))]
    last = [t["_target_"] for t in transforms].index("NormalizeIntensityd")
    return [for_the_image(t) for t in transforms[: last + 1]]


def test_training_validation_and_inference_describe_one_preprocessing():
    train, inference = read("train.yaml"), read("inference.yaml")
    expected = deterministic(train["train"]["preprocessing"]["transforms"][:5], train["train"])
    assert len(expected) == 5
    for slots in (train["validate"], inference):
        assert deterministic(slots["preprocessing"]["transforms"], slots) == expected


@pytest.mark.parametrize("dataset", [None, *DATASETS])
def test_training_validation_and_inference_prepare_the_same_voxels(workflow, data_of, dataset):
    more, knobs = ([dataset], data_of(dataset)) if dataset else ([], {})
    train = workflow("train.yaml", *more, **knobs)
    inference = workflow("inference.yaml", *more, workflow_type="infer", **knobs)
    case = train.parser.get_parsed_content("validate::cases")[0]
    validation = train.parser.get_parsed_content("validate::preprocessing")(case)["image"]
    before_crop = train.parser.get_parsed_content("train::preprocessing")
    turned = train.parser.get_parsed_content("orientation") is not None  # oblique stacks are not
    training = before_crop(case, end=5 if turned else 4)["image"]  # up to NormalizeIntensityd
    unlabelled = {key: case[key] for key in ("case", "images")}
    predicted = inference.parser.get_parsed_content("preprocessing")(unlabelled)["image"]
    assert validation.std() > 0
    for image in (training, predicted):
        torch.testing.assert_close(image.as_tensor(), validation.as_tensor(), rtol=0, atol=0)
        torch.testing.assert_close(image.affine, validation.affine, rtol=0, atol=0)
