# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""The printed configuration is the one MONAI runs; what MONAI's merge does (docs/reference/configuration.md)."""

from __future__ import annotations

from pathlib import Path

import fire
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, update_kwargs

from scripts.tools.show_config import leaves, main, merge, origin_of

CONFIGS = Path(__file__).parents[2] / "configs"
BASE = """
max_epochs: 3
names: [a, b]
network_def: {_target_: torch.nn.Linear, in_features: 3}
train:
  handlers:
  - {_target_: First}
  trainer: {max_epochs: '@max_epochs', nested: {x: 1, y: 2}}
"""
BASE_IDS = {
    "max_epochs": 3,
    "names": ["a", "b"],
    "network_def::_target_": "torch.nn.Linear",
    "network_def::in_features": 3,
    "train::handlers::0::_target_": "First",
    "train::trainer::max_epochs": "@max_epochs",
    "train::trainer::nested::x": 1,
    "train::trainer::nested::y": 2,
}
GONE = object()


@pytest.fixture
def files(tmp_path):
    """Write the base and an overlay."""

    def _files(overlay: str) -> list[str]:
        (tmp_path / "base.yaml").write_text(BASE)
        (tmp_path / "overlay.yaml").write_text(overlay)
        return [str(tmp_path / "base.yaml"), str(tmp_path / "overlay.yaml")]

    return _files


def lines(capsys, *arguments: str) -> list[list[str]]:
    """Run the command line and split what it prints into words."""
    capsys.readouterr()
    fire.Fire(main, command=list(arguments))
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("overlay", "changes"),
    [
        ("train::trainer::max_epochs: 5", {"train::trainer::max_epochs": 5}),
        ("train#trainer#max_epochs: 5", {"train::trainer::max_epochs": 5}),
        (
            "train: {trainer: {max_epochs: 5}}",
            {
                "train::trainer::max_epochs": 5,
                "train::handlers::0::_target_": GONE,
                "train::trainer::nested::x": GONE,
                "train::trainer::nested::y": GONE,
            },
        ),
        (
            "network_def: {_target_: torch.nn.Identity}",
            {"network_def::_target_": "torch.nn.Identity", "network_def::in_features": GONE},
        ),
        ("+network_def: {bias: false}", {"network_def::bias": False}),
        ("+train::handlers: [{_target_: Second}]", {"train::handlers::1::_target_": "Second"}),
        ("+train::trainer: {nested: {x: 7}}", {"train::trainer::nested::x": 7, "train::trainer::nested::y": GONE}),
        ("names: null", {"names": None}),
        ("names: []", {"names": []}),
        ("train::handlers::0::flag: true", {"train::handlers::0::flag": True}),
    ],
)
def test_an_overlay_changes_what_the_table_says_and_is_named_as_the_origin(files, overlay, changes):
    paths = files(overlay)
    parser, setters = merge(paths, {})
    assert parser.config == ConfigParser.load_config_files(paths)
    expected = {id: value for id, value in {**BASE_IDS, **changes}.items() if value is not GONE}
    assert dict(leaves(parser.config)) == expected
    for id in expected:
        new = id in changes and id.startswith("train::handlers::0::flag")
        origin = "overlay.yaml (new id)" if new else "overlay.yaml" if id in changes else "base.yaml"
        assert origin_of(id, setters) == origin, id


@pytest.mark.parametrize("key", ["max_epoch", "train::trainer::max_epoch"])
def test_a_misspelt_root_or_leaf_is_accepted_by_monai_and_marked_here(files, capsys, key):
    paths = files(f"{key}: 5")
    assert lines(capsys, *paths, "--grep", "new id") == [[key, "5", "overlay.yaml", "(new", "id)"]]


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("trian::handlers: 5", "overlay.yaml sets `trian::handlers`, .*KeyError: 'query key: trian'"),
        ("train::handlers::1: {_target_: Second}", "sets `train::handlers::1`, .*IndexError: list assignment index"),
        ("+max_epochs: 5", r"sets `\+max_epochs`, .*ValueError: config must be dict or list for key `\+max_epochs`"),
        ("# nothing but a comment", "overlay.yaml holds None; expected ids with values"),
    ],
)
def test_what_monai_cannot_merge_is_refused_with_file_and_key(files, overlay, message):
    paths = files(overlay)
    with pytest.raises(Exception):  # noqa: B017 MONAI's own errors are of many types
        ConfigParser.load_config_files(paths)
    with pytest.raises(SystemExit, match=f"Cannot merge: .*{message}"):
        main(*paths)


@pytest.mark.parametrize("names", [[], ["nowhere.yaml"]])
def test_without_a_file_there_is_nothing_to_show(names):
    with pytest.raises(SystemExit, match="Cannot merge: .*(no file was given|nowhere.yaml)"):
        main(*names)


def test_appending_to_a_list_that_does_not_exist_copies_it_with_a_warning(files):
    with pytest.warns(UserWarning, match="'train::hooks' is not in target dict - copying instead"):
        parser, setters = merge(files("+train::hooks: [1]"), {})
    assert parser["train::hooks"] == [1]
    assert origin_of("train::hooks", setters) == "overlay.yaml (new id)"


def test_a_key_written_twice_in_one_file_is_a_warning_and_the_second_counts(files):
    with pytest.warns(UserWarning, match="Duplicate key: `max_epochs`"):
        parser, _ = merge(files("max_epochs: 4\nmax_epochs: 5"), {})
    assert parser["max_epochs"] == 5


def test_the_command_line_wins_over_every_file(files, capsys):
    paths = files("max_epochs: 4")
    printed = lines(capsys, *paths, "--max_epochs", "5", "--train#trainer#max_epochs=6", "--grep", "command line")
    assert printed == [["max_epochs", "5", "command", "line"], ["train::trainer::max_epochs", "6", "command", "line"]]


def test_none_on_the_command_line_changes_nothing(files):
    parser, setters = merge(files("max_epochs: 4"), {"max_epochs": None})
    assert parser["max_epochs"] == 4 and origin_of("max_epochs", setters) == "overlay.yaml"


def test_a_plus_on_the_command_line_replaces_the_list(files):
    with pytest.warns(UserWarning, match="copying instead"):
        parser, setters = merge(files("max_epochs: 4"), {"+train::handlers": [{"_target_": "Second"}]})
    assert parser["train::handlers"] == [{"_target_": "Second"}]
    assert origin_of("train::handlers::0::_target_", setters) == "command line"


def test_lower_case_true_and_false_on_the_command_line_are_text(files, capsys):
    printed = lines(capsys, *files("names: null"), "--max_epochs", "false", "--names", "False", "--grep", "command")
    assert printed == [["max_epochs", "'false'", "command", "line"], ["names", "false", "command", "line"]]


def test_an_id_with_a_hyphen_cannot_be_referred_to(files):
    parser, _ = merge(files("my-id: 1\nmy_id: 2\nmax_epochs: '@my-id'\nnames: '@my_id'"), {})
    assert parser.get_parsed_content("max_epochs") == "@my-id"
    assert parser.get_parsed_content("names") == 2


def test_a_module_bound_by_an_import_expression_has_its_whole_path_as_name(files):
    parser, _ = merge(files("bound: $import os.path\nnames: $os.path.sep"), {})
    with pytest.raises(RuntimeError, match="Failed to evaluate"):
        parser.get_parsed_content("names")


def test_macro_of_another_file_is_looked_for_from_the_current_folder(files, tmp_path, monkeypatch):
    (tmp_path / "other.yaml").write_text("x: 9")
    parser, _ = merge(files("max_epochs: '%other.yaml::x'"), {})
    with pytest.raises(FileNotFoundError):
        parser.get_parsed_content("max_epochs")
    monkeypatch.chdir(tmp_path)
    assert merge(files("max_epochs: '%other.yaml::x'"), {})[0].get_parsed_content("max_epochs") == 9


def test_the_configuration_shown_is_the_one_that_monai_runs():
    paths = [str(CONFIGS / name) for name in ("train.yaml", "setting_pdt.yaml", "evaluate.yaml")]
    override = {"network_def#width": 4, "modalities": ["flair", "t2"], "resume": None}
    run = ConfigWorkflow(paths, logging_file=False, workflow_type="train", **update_kwargs(None, **override))
    expected = {id: value for id, value in run.parser.config.items() if id != ConfigParser.meta_key}
    parser, setters = merge(paths, override)
    assert parser.config == expected
    assert all(origin_of(id, setters) for id, _ in leaves(parser.config))
    assert origin_of("train::missing::_target_", setters) == "setting_pdt.yaml"
    assert origin_of("train::handlers::0::_target_", setters) == "train.yaml"
    assert origin_of("validate::handlers::0", setters) == "train.yaml"  # a list of slots
    assert origin_of("validate::before::0::_target_", setters) == "evaluate.yaml"  # which fills one
    assert origin_of("validate::scores::regions", setters) == "train.yaml"
    assert origin_of("validate::scores::store", setters) == "evaluate.yaml"  # added by `+`


def test_files_may_be_given_as_monai_takes_them(files, capsys):
    paths = files("max_epochs: 4")
    assert lines(capsys, str(paths), "--grep", "max_epochs") == lines(capsys, *paths, "--grep", "max_epochs") != []
