# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""What pages promise: a short README, code that runs, messages that exist, tables that agree with the package."""

from __future__ import annotations

import re
import zipfile
from ast import literal_eval

import pytest
import torch
import yaml

from scripts.bundle.packaging import BUNDLE_NAME, build_package
from scripts.evaluation.performance import read_performance
from tests.docs.documents import PAGES, ROOT, fenced, name_of, text_of
from tests.test_architecture import MAY_IMPORT

README = text_of(ROOT / "README.md")
HOW_TO = ROOT / "docs" / "how_to"


def test_the_readme_is_short_and_says_what_must_be_said():
    assert len(README.splitlines()) <= 90
    assert "trained on synthetic images only; not for clinical use" in README
    assert README.index("co-registered") < README.index("incomplete-seg segment") + 200
    assert README.index("skull-stripped") < README.index("incomplete-seg segment")
    for region in ("**WT**", "**TC**", "**ET**"):
        assert README.count(region) == 1


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """The bundle with the weights that ship, as somebody has it who downloaded it."""
    folder = tmp_path_factory.mktemp("packaged")
    with zipfile.ZipFile(build_package(folder).path) as archive:
        archive.extractall(folder)
    return folder / BUNDLE_NAME


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_a_page_compiles(page):
    for block in fenced(page, "python"):
        compile(block, name_of(page), "exec")


def test_a_tutorial_of_plain_pytorch_trains_and_segments():
    training, segmenting = fenced(HOW_TO / "plain_pytorch.md", "python")
    assert len(training[training.index("modalities =") :].splitlines()) <= 30
    torch.manual_seed(0)
    image, label = torch.randn(2, 1, 4, 16, 16, 16), torch.randint(0, 4, (2, 1, 1, 16, 16, 16))
    image[0, 0, 1] = image[1, 0, 3] = torch.nan
    names = {"batches": list(zip(image, label, strict=True)), "num_epochs": 1}
    exec(training, names)
    coefficient = names["objective"].state.coefficient
    assert torch.isfinite(names["loss"]) and torch.isfinite(coefficient).all() and not (coefficient == 1).all()
    assert {"fused", "pixel_distillation", "semantic_distillation", "alignment"} <= set(names["objective"].last.terms)
    names["image"] = image[0]
    exec(segmenting, names)
    assert names["classes"].shape == (1, 16, 16, 16) and names["classes"].max() < 4


def test_weights_loaded_as_the_page_says_give_logits_of_what_is_there(packaged):
    (block,) = fenced(HOW_TO / "model_zoo.md", "python")
    assert block.count('bundle_dir=".."') == 1
    names = {}
    exec(block.replace('bundle_dir=".."', f"bundle_dir={str(packaged.parent)!r}"), names)
    image = torch.randn(1, 4, 32, 32, 32)
    image[:, 2] = torch.nan
    with torch.no_grad():
        logits = names["network"](image)
    assert isinstance(logits, torch.Tensor) and logits.shape == (1, 4, 32, 32, 32) and torch.isfinite(logits).all()


def test_the_table_of_rooms_is_that_of_the_test():
    text = text_of(ROOT / "docs" / "explanation" / "data_flow.md")
    rows = re.findall(r"^\| `(\w+)` \| [^|`]+ \|([^|`]*)\|$", text, flags=re.MULTILINE)
    stated = {room: tuple(filter(None, map(str.strip, others.split(",")))) for room, others in rows}
    assert list(stated) == list(MAY_IMPORT), "the same rooms, in the same order"
    assert stated == MAY_IMPORT


@pytest.mark.parametrize("page", ["README.md", "docs/README.md", "docs/reference/weights.md"])
def test_scores_of_the_weights_that_ship_are_those_beside_them(page):
    per_number = {}
    for subset, regions in read_performance(ROOT / "models" / "model.pt")["per_subset"].items():
        for region, metrics in regions.items():
            per_number.setdefault((subset.count("+") + 1, region), []).append(metrics["dice"]["mean"])
    text = text_of(ROOT / page)
    for number, word in enumerate(["one", "two", "three", "four"], start=1):
        row = re.search(rf"^\| {word}(?: modality)? \|(.*)\|$", text, flags=re.MULTILINE)[1]
        stated = [float(re.match(r"\d\.\d+", cell.strip())[0]) for cell in row.split("|")]
        values = [per_number[number, region] for region in ("wt", "tc", "et")]
        means = [sum(each) / len(each) for each in values]
        assert stated == [pytest.approx(mean, abs=0.00501) for mean in means], word


def source_text():
    """All of the code, with texts that go on in the next line joined."""
    files = sorted((ROOT / "scripts").rglob("*.py"))
    return re.sub(r'"\n\s*f?"', "", "\n".join(text_of(file) for file in files))


def test_messages_that_troubleshooting_quotes_are_those_of_the_code():
    text = text_of(HOW_TO / "troubleshooting.md")
    tables = re.findall(r"\| message.*?\n\| ---.*?\n((?:\|.*\n)+)", text)
    cells = [row.split("|")[1] for table in tables for row in table.strip().splitlines()]
    quoted = [part for cell in cells for part in re.findall(r"`([^`]+)`", cell) if " " in part]
    assert len(quoted) > 25
    source, not_ours = source_text(), ("cross_val_results.json",)
    names = {"checkpoint.json": "", "training.json": "{TRAINING_FILE}", "temperatures.json": "{TEMPERATURES_FILE}"}
    for name, placeholder in names.items():
        source = source.replace(placeholder, name) if placeholder else source
    assert [part for part in quoted if part not in source and part not in not_ours] == []


def test_defaults_in_the_table_of_ids_are_those_of_the_configuration():
    train = yaml.safe_load(text_of(ROOT / "configs" / "train.yaml"))
    rows = re.findall(
        r"^\| (`[^|]+`) \| ([^|]+) \|", text_of(ROOT / "docs" / "reference" / "configuration.md"), re.MULTILINE
    )
    compared = 0
    for ids, defaults in rows:
        names, values = re.findall(r"`(\w+)`", ids), [value.strip(" `") for value in defaults.split(",")]
        for name, value in zip(names, values, strict=False):
            if len(names) == len(values) and re.fullmatch(r"[\d.e-]+|true|false", value):
                assert train[name] == literal_eval(value.title() if value.isalpha() else value), name
                compared += 1
    assert compared >= 8


def test_settings_published_by_the_methods_are_those_of_the_configuration():
    train = yaml.safe_load(text_of(ROOT / "configs" / "train.yaml"))
    assert "patches of 80³ voxels of 1 mm, AdamW, 300 epochs" in text_of(HOW_TO / "train.md")
    assert (train["patch_size"], train["spacing"], train["max_epochs"]) == ([80] * 3, [1.0] * 3, 300)


def test_values_written_by_default_are_those_that_the_documents_say():
    convention = yaml.safe_load(text_of(ROOT / "configs" / "inference.yaml"))["label_convention"]
    assert f"`{convention}` unless you say otherwise" in " ".join(text_of(ROOT / "docs/reference/labels.md").split())
