# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Cases that fail, on their way to the network or behind it."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines.utils import IterationEvents
from monai.inferers import SimpleInferer
from monai.transforms import Compose
from torch import nn

from scripts.data.case_error import CaseError
from scripts.engines.batches import prepare_case
from scripts.engines.case_evaluator import CaseDataset, CaseEvaluator, flattened, root_cause


def item(case, value=1.0):
    return {"case": case, "image": MetaTensor(torch.full((2, 3, 3, 3), value)), "value": value}


class Shifted(nn.Module):
    """Adds one; cannot stand the number 13."""

    def forward(self, x):
        if bool((x == 13).any()):
            raise RuntimeError("unlucky voxels")
        return x + 1


class Handler:
    """Notes what arrives for each case; cannot stand the case named in ``refused``."""

    def __init__(self, refused=None):
        self.refused, self.seen = refused, {}

    def attach(self, engine):
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine):
        for data, output in zip(engine.state.batch, engine.state.output, strict=True):
            if data["case"] == self.refused:
                raise ValueError  # without a message
            self.seen[data["case"]] = float(output["pred"].mean())


def evaluator(cases, handler, transform=None):
    loader = DataLoader(CaseDataset(cases, transform), batch_size=1, num_workers=0)
    return CaseEvaluator(
        device="cpu",
        val_data_loader=loader,
        network=Shifted(),
        inferer=SimpleInferer(),
        prepare_batch=prepare_case,
        val_handlers=[handler],
    )


def refuse_negative(data):
    if data["value"] < 0:
        raise CaseError(data["case"], "the image is negative", "some/file.nii.gz")
    return data


# --- batches ---------------------------------------------------------------------------------------


def test_the_root_cause_is_the_first_error_of_a_chain():
    with pytest.raises(RuntimeError) as caught:
        Compose([refuse_negative])(item("a", -1.0))
    assert isinstance(root_cause(caught.value), CaseError)
    alone = ValueError("alone")
    assert root_cause(alone) is alone


def test_a_case_error_is_not_traced_to_what_caused_it():
    # the library's message for a damaged file tells neither case nor file
    def read(data):
        try:
            raise EOFError("stream ended")
        except EOFError as error:
            raise CaseError(data["case"], "the file is truncated", "some/file.nii.gz") from error

    dataset = CaseDataset([item("a")], Compose([read]))
    assert dataset[0]["failure"] == "case `a`: the file is truncated (file: some/file.nii.gz)"


def test_a_case_that_cannot_be_loaded_becomes_an_item_that_says_why():
    dataset = CaseDataset([item("good"), item("bad", -1.0)], Compose([refuse_negative]))
    assert "failure" not in dataset[0]
    assert dataset[1] == {"case": "bad", "failure": "case `bad`: the image is negative (file: some/file.nii.gz)"}


def test_an_error_without_a_message_is_called_by_its_type():
    dataset = CaseDataset([{"value": 1.0}], Compose([lambda data: data["image"].missing]))
    assert dataset[0] == {"case": "0", "failure": "'image'"}
    silent = CaseDataset([item("a")], Compose([lambda data: next(iter([]))]))
    assert silent[0] == {"case": "a", "failure": "StopIteration"}


def test_a_case_that_failed_before_loading_is_not_loaded():
    failed = {"case": "ambiguous", "failure": "two files match"}
    assert CaseDataset([failed], Compose([refuse_negative]))[0] is failed


@pytest.mark.parametrize("place", ["loading", "network", "handler"])
def test_one_failing_case_does_not_lose_the_others(place, caplog):
    bad = {"loading": item("bad", -1.0), "network": item("bad", 13.0), "handler": item("bad", 5.0)}[place]
    handler = Handler(refused="bad")
    engine = evaluator([item("first", 1.0), bad, item("last", 3.0)], handler, Compose([refuse_negative]))
    engine.run()
    assert handler.seen == {"first": 2.0, "last": 4.0}
    reason = {"loading": "the image is negative", "network": "unlucky voxels", "handler": "ValueError"}[place]
    assert list(engine.failures) == ["bad"]
    assert reason in engine.failures["bad"]
    assert f"bad failed: {engine.failures['bad']}" in caplog.text


def test_at_the_end_every_failing_case_is_named_with_its_reason_once():
    cases = [item("case_1", 13.0), item("case_2", -1.0), item("case_3")]
    engine = evaluator(cases, Handler(), Compose([refuse_negative]))
    engine.run()
    with pytest.raises(SystemExit) as ended:
        engine.report_failures()
    assert str(ended.value).splitlines() == [
        "2 of 3 cases failed:",
        "  case `case_1`: unlucky voxels",
        "  case `case_2`: the image is negative (file: some/file.nii.gz)",
    ]  # a text as exit status: the interpreter writes it to stderr and ends with 1


def test_an_evaluation_without_failures_ends_well():
    engine = evaluator([item("a")], Handler())
    engine.report_failures()  # before it ever ran, as in a training run without validation
    engine.run()
    engine.report_failures()


def test_failures_of_an_earlier_run_are_forgotten():
    cases = [item("a", 13.0)]
    engine = evaluator(cases, Handler())
    engine.run()
    assert list(engine.failures) == ["a"]
    cases[0]["image"] = cases[0]["image"] * 0
    engine.run(2)
    assert engine.failures == {}


def test_a_run_can_still_be_interrupted_from_the_keyboard():
    engine = evaluator([item("a"), item("b")], Handler())

    @engine.on(IterationEvents.FORWARD_COMPLETED)
    def press(engine):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run()
    assert engine.state.iteration == 1


def test_slots_hold_one_handler_several_or_none_and_their_order_is_kept():
    first, second, third = Handler(), Handler(), Handler()
    assert flattened([None, first, [], [second, [None, third]]]) == [first, second, third]
    assert flattened(None) == []
    evaluator([item("a")], [None, [first], second]).run()
    assert first.seen == second.seen == {"a": 2.0} and third.seen == {}
