# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Adversarial co-training: who moves whom, what is logged, and from files to files."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.data.datalist import read_section
from scripts.engines.batches import prepare_batch
from scripts.evaluation.tables import read_scores
from scripts.handlers.discriminators import DiscriminatorHandler
from scripts.inferers.training import TrainingInferer
from scripts.losses.adversarial import AdversarialTerm
from scripts.losses.co_training import ConsistencyTerm, FullDiceTerm, MissingDiceTerm
from scripts.losses.objective import Objective
from scripts.losses.task import UnimodalTerm
from scripts.networks.discriminators import PathDiscriminators
from scripts.networks.unet import MultiEncoderUNet

FILES = ("train.yaml", "network_unet.yaml", "method_da.yaml")
QUICK = {"patch_size": [18, 18, 18], "val_interval": 9}
PLAYERS = [f"{name}_{kind}" for name in ("entropy", "knowledge") for kind in ("adversarial", "discriminator")]
PATHS = ["full_dice", "missing_dice", "consistency", "consistency_weight"]


def case(seed, lacking=()):
    """One 2D case of three modalities, as a batch."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 3, 18, 18, generator=generator)
    image[:, list(lacking)] = torch.nan
    return {"image": image, "label": torch.randint(3, (1, 1, 18, 18), generator=generator)}


SINGLE = case(1, lacking=(0, 2))


def co_trainer(batches, learning_rate=0.05, accumulation_steps=1, entropy=0.001, knowledge=0.0002):
    """A trainer of a small network in 2D for one epoch, and the handler of its discriminators."""
    torch.manual_seed(0)
    network = MultiEncoderUNet(3, 3, spatial_dims=2, width=2)
    judges = PathDiscriminators(network, spatial_dims=2, width=4)
    for judge in judges.judges.values():
        torch.nn.init.normal_(judge.final_conv.conv.weight)  # so that it has an opinion from the beginning
    optimizers = [torch.optim.SGD(each.parameters(), lr=learning_rate) for each in (network, judges)]
    objective = Objective(
        {
            "full_dice": FullDiceTerm(),
            "missing_dice": MissingDiceTerm(),
            "consistency": ConsistencyTerm(),
            "unimodal": UnimodalTerm(),
            "entropy_adversarial": AdversarialTerm(judges, "entropy", entropy),
            "knowledge_adversarial": AdversarialTerm(judges, "knowledge", knowledge),
        }
    )
    torch.manual_seed(0)  # of the subsets
    trainer = SupervisedTrainer(
        network=network,
        optimizer=optimizers[0],
        loss_function=objective,
        inferer=TrainingInferer(objective.paths),
        accumulation_steps=accumulation_steps,
        device="cpu",
        max_epochs=1,
        train_data_loader=batches,
        prepare_batch=prepare_batch,
        optim_set_to_none=True,
        decollate=False,
    )
    trainer.discriminators = judges
    DiscriminatorHandler(objective, optimizers[1], ["a", "b", "c"]).attach(trainer)
    return trainer


def gradients(module):
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in module.parameters()]


def weights_of(trainer):
    return [
        torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (trainer.network, trainer.discriminators)
    ]


def test_neither_step_leaves_a_gradient_in_the_weights_of_the_other():
    trainer = co_trainer([case(0)], entropy=1.0, knowledge=1.0)
    found = {}

    def note(engine, moment):
        found[moment] = gradients(engine.network), gradients(engine.discriminators)

    for moment in (IterationEvents.BACKWARD_COMPLETED, IterationEvents.MODEL_COMPLETED):
        trainer.add_event_handler(moment, note, moment)  # behind the handler, which is attached already
    trainer.run()
    network, judges = found[IterationEvents.BACKWARD_COMPLETED]
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in network)
    assert all(gradient is None for gradient in judges)
    network_after, judges = found[IterationEvents.MODEL_COMPLETED]
    for before, after in zip(network, network_after, strict=True):
        assert before is after is None or torch.equal(before, after)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in judges)
    assert all(parameter.requires_grad for parameter in trainer.discriminators.parameters())


@pytest.mark.parametrize("name", ["entropy", "knowledge"])
def test_each_discriminator_reaches_the_network_by_its_weight(name):
    moved = []
    for weight in (0.0, 1.0):
        trainer = co_trainer([case(0)], **{"entropy": 0.0, "knowledge": 0.0, name: weight})
        trainer.run()
        moved.append(weights_of(trainer)[0])
        terms = trainer.loss_function.last.terms
        assert (f"{name}_adversarial" in terms) == (weight > 0)
        assert trainer.state.output["loss"].item() == pytest.approx(terms["total"].item())
    assert moved[1].isfinite().all() and not torch.equal(*moved)


@pytest.mark.parametrize("warming_up", [False, True])
def test_a_batch_without_missing_path_or_of_a_warm_up_moves_no_discriminator(warming_up):
    trainer = co_trainer([case(0) if warming_up else SINGLE])
    trainer.loss_function.state.warming_up = warming_up
    before = weights_of(trainer)
    trainer.run()
    after = weights_of(trainer)
    assert after[0].isfinite().all() and not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert trainer.loss_function.last.terms["total"].isfinite()
    assert not any("discriminator" in name for name in trainer.state.metrics)


def test_accumulated_gradients_are_those_of_the_larger_batch():
    cases = [case(0), SINGLE, case(2, lacking=(1,))]
    joined = {key: torch.cat([each[key] for each in cases]) for key in SINGLE}
    found = []
    for batches, steps in (([joined], 1), (cases, 3), (cases, 1)):
        trainer = co_trainer(batches, accumulation_steps=steps)
        trainer.run()
        found.append(weights_of(trainer))
    for player in range(2):
        batch, accumulated, stepwise = (weights[player] for weights in found)
        assert batch.isfinite().all()
        assert (accumulated - batch).norm() < 0.001 * (stepwise - batch).norm(), "equal but for rounding"


def test_the_last_step_of_an_epoch_is_made_of_what_is_left():
    trainer = co_trainer([case(0), case(1), case(2)], accumulation_steps=2)
    steps = []
    trainer.optimizer.register_step_post_hook(lambda *_: steps.append(trainer.state.iteration))
    trainer.run()
    assert steps == [2, 3]


def test_an_objective_without_a_discriminator_is_refused():
    with pytest.raises(ValueError, match=r"terms \['full_dice'\] have no discriminator; expected an AdversarialTerm"):
        DiscriminatorHandler(Objective({"full_dice": FullDiceTerm()}), None, ["a"])


def run(workflow, folder, *files, **overrides):
    """Train for two epochs; give the trainer."""
    places = {"output_dir": str(folder), "model_file": str(folder / "model.pt")}
    made = workflow(*files, run_id="training", **{**places, **QUICK, "max_epochs": 2, **overrides})
    made.run()
    trainer = made.parser.get_parsed_content("train::trainer")
    assert [name for name, value in trainer.network.state_dict().items() if not value.isfinite().all()] == []
    return trainer


def test_every_term_is_in_the_text_log_and_on_tensorboard(workflow, tmp_path, text_log):
    settings = {"output_dir": str(tmp_path), "model_file": str(tmp_path / "model.pt"), **QUICK, "max_epochs": 2}
    workflow(*FILES, run_id="training", **settings, consistency_ramp=2).run()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = {}
    for name in (*PATHS, *PLAYERS, "entropy_discriminator_accuracy", "knowledge_discriminator_accuracy", "total"):
        found[name] = [event.value for event in events.Scalars(f"loss_{name}")]
        assert len(found[name]) == 2 and np.isfinite(found[name]).all(), name
        assert f"loss_{name}: " in text_log.text
    # the first epoch has none before it, the second one, half of the ramp
    assert found["consistency_weight"] == pytest.approx([10 * np.exp(-5), 10 * np.exp(-5 / 4)])
    for name in ("entropy", "knowledge"):  # what was just made knows nothing
        assert found[f"{name}_discriminator"] == pytest.approx([np.log(2)] * 2, abs=0.05)


def test_the_ramp_follows_the_length_of_the_run(workflow):
    # 80 of 300 epochs
    for epochs, ramp in ((300, 80), (12, 3.2)):
        made = workflow(*FILES, max_epochs=epochs).parser
        assert made.get_parsed_content("loss").terms["consistency"].ramp == pytest.approx(ramp)


def segment(workflow, folder, phantoms, modalities, *files):
    """Score the model of a folder and segment a patient from one modality; give the scores, image and prediction."""
    common = {"model_file": str(folder / "model.pt"), "patch_size": [24, 24, 18]}
    places = {"output_dir": str(folder / "scores"), "validation_subsets": ["all"], **common}
    scored = workflow("train.yaml", *files, "evaluate.yaml", run_id="evaluating", **places)
    patient = read_section(phantoms / "datalist.json", "testing", modalities)[0]
    image = phantoms / patient.images["t1ce"]
    patients = folder / "patients" / "one"
    patients.mkdir(parents=True)
    (patients / image.name).symlink_to(image)
    places = {**common, "dataset_dir": str(patients.parent), "output_dir": str(folder / "segmented")}
    inference = workflow("inference.yaml", *files, run_id="evaluating", workflow_type="infer", **places)
    for each in (scored, inference):
        each.run()
        each.finalize()
    (prediction,) = (folder / "segmented").glob("*.nii.gz")
    return read_scores(folder / "scores" / "per_case.csv"), *map(nib.load, (image, prediction))


@pytest.mark.parametrize("more", [[], ["method_medmap.yaml"]], ids=["alone", "with_medmap"])
def test_trains_evaluates_and_segments_from_files_to_files(workflow, phantoms, modalities, tmp_path, more):
    trainer = run(workflow, tmp_path, *FILES, *more, precision="bfloat16", max_epochs=1)
    assert ("loss_alignment" in trainer.state.metrics) == bool(more)
    scores, image, prediction = segment(workflow, tmp_path, phantoms, modalities, "network_unet.yaml", *more)
    dice = scores[scores["metric"] == "dice"]["value"]
    assert scores["case"].nunique() == 2 and dice.between(0, 1).all() and scores["value"].notna().all()
    assert prediction.shape == image.shape
    np.testing.assert_allclose(prediction.affine, image.affine, atol=1e-4)
    assert set(np.unique(prediction.dataobj)) <= {0, 1, 2, 3}


def test_passion_and_medmap_come_on_top(workflow, tmp_path):
    methods = ["method_passion.yaml", "method_medmap.yaml", "setting_idt_drop.yaml"]
    trainer = run(workflow, tmp_path, *FILES, *methods, max_epochs=1)
    names = [*PATHS, *PLAYERS, "pixel_distillation", "semantic_distillation", "alignment", "total"]
    assert all(np.isfinite(trainer.state.metrics[f"loss_{name}"]) for name in names)


def test_early_fusion_plays_against_the_discriminator_of_maps_alone(workflow, tmp_path):
    trainer = run(workflow, tmp_path, "train.yaml", "network_segresnet.yaml", "method_da.yaml", max_epochs=1)
    played = {name for name in PLAYERS if f"loss_{name}" in trainer.state.metrics}
    assert played == {"entropy_adversarial", "entropy_discriminator"}


def test_stacks_are_co_trained_slice_by_slice(workflow, hearts, tmp_path):
    trainer = run(workflow, tmp_path, *FILES, "dataset_myops2020.yaml", max_epochs=1, batch_size=2, **hearts)
    assert all(np.isfinite(trainer.state.metrics[f"loss_{name}"]) for name in PLAYERS)
