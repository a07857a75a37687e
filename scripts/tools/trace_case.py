# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Push one training case through a configuration, from its files to the gradients, and print what every id makes of it.

python -m scripts.tools.trace_case configs/train.yaml configs/setting_idt.yaml --dataset_dir DIR
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from monai.data import list_data_collate
from monai.utils import set_determinism
from torch import Tensor, nn

from ..bundle.configuration import merge
from ..data.cases import choose_case
from ..engines.case_evaluator import root_cause
from ..modalities import acquired_in, subset_name
from .command_line import run_tool

FEW = 8  # values that are printed one by one
BATCHED = ("train::dataloader", "train::trainer::prepare_batch", "network")  # modalities are dimension 1, not 0


class Hop(NamedTuple):
    """What one id of the configuration makes of the case.

    Attributes:
        id: of the configuration; ``network.<name>`` for a part of the network.
        kind: class or function that the id stands for.
        items: name to what comes out.
    """

    id: str
    kind: str
    items: Mapping[str, Any]


def trace(parser: ConfigParser, case: str | None = None) -> Iterator[Hop]:
    """Push a case through the training part of a configuration, hop by hop, up to the backward pass.

    Once all hops are taken, the parameters of the network have their gradients. No handler runs, no weight changes. The
    random numbers follow from the seed of the configuration.

    Args:
        parser: the merged configuration.
        case: name of a training case; the first one if there is none.

    Raises:
        ValueError: if the configuration does not train, there is no such case, or a hop fails.
    """
    if "train::trainer" not in parser:
        raise ValueError("the configuration has no `train::trainer`; expected one that trains, as configs/train.yaml.")
    set_determinism(parser.get("seed"))
    batch = None
    for hop in _load(parser, case):
        yield hop
        batch = hop.items
    device = parser.get_parsed_content("device")
    prepare_batch = parser.get_parsed_content("train::trainer::prepare_batch")
    image, label, args, kwargs = prepare_batch(batch, device)
    yield _hop(parser, "train::trainer::prepare_batch", {"image": image, "label": label, **kwargs})
    network = parser.get_parsed_content("network").train()
    output = parser.get_parsed_content("train::inferer")(image, network, *args, **kwargs)
    yield Hop("network", type(network).__name__, _parts(output))
    loss = parser.get_parsed_content("loss")
    total = loss(output, label)
    yield _hop(parser, "loss", loss.last.terms)
    total.backward()


def _load(parser: ConfigParser, case: str | None) -> Iterator[Hop]:
    """From the datalist to a batch of one case."""
    item = choose_case(parser.get_parsed_content("train::cases"), case, "training")
    yield _hop(parser, "train::cases", item)
    ids = [f"train::preprocessing::transforms::{n}" for n in range(len(parser["train::preprocessing::transforms"]))]
    compose = parser.get_parsed_content("train::preprocessing")
    compose.set_random_state(parser.get("seed"))
    used = [id for id in ids if parser.get_parsed_content(id) is not None]  # one with `_disabled_` is none
    for number, (id, transform) in enumerate(zip(used, compose.transforms, strict=True)):
        slot = parser[id][1:] if isinstance(parser[id], str) else id  # "@train::missing": the id where it is defined
        try:
            item = compose(item, start=number, end=number + 1)
        except Exception as error:
            raise ValueError(f"`{slot}` ({type(transform).__name__}) failed: {root_cause(error)}") from error
        yield Hop(slot, type(transform).__name__, item[0] if isinstance(item, list) else item)
    yield _hop(parser, "train::dataloader", list_data_collate([item]))


def _parts(output: Any, name: str = "") -> dict[str, Any]:
    """Name all that a network gives: by field, by number in a list; what it has not is left out."""
    if output is None:
        return {}
    if hasattr(output, "_asdict"):
        inner = output._asdict()
    elif isinstance(output, (list, tuple)):
        inner = dict(enumerate(output))
    else:
        return {name or "output": output}
    parts: dict[str, Any] = {}
    for key, value in inner.items():
        parts.update(_parts(value, f"{name}.{key}" if name else str(key)))
    return parts


def _hop(parser: ConfigParser, id: str, items: Mapping[str, Any]) -> Hop:
    return Hop(id, parser[id]["_target_"].rpartition(".")[2], items)


def gradients(network: nn.Module, modalities: Sequence[str], every_parameter: bool = False) -> Iterator[Hop]:
    """Sum up the gradients that ``backward`` left, for each part of a network or each parameter.

    Yields:
        Hops whose items are ``values`` (number of parameter values), ``gradient`` (Euclidean norm, or ``None`` where no
        parameter of the part has a gradient) and ``modality`` for the encoder of one.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        parts = name.split(".")
        depth = len(parts) if every_parameter else 2 if parts[1].isdigit() else 1
        groups.setdefault(".".join(parts[:depth]), []).append(parameter)
    for name, parameters in groups.items():
        found = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
        items: dict[str, Any] = {"values": sum(parameter.numel() for parameter in parameters)}
        items["gradient"] = torch.stack(found).norm() if found else None
        first, second = [*name.split("."), ""][:2]
        if first == "encoders" and second.isdigit():  # of the networks' contract: one for each modality
            items["modality"] = modalities[int(second)]
        kind = "Parameter" if every_parameter else type(network.get_submodule(name)).__name__
        yield Hop(f"network.{name}", kind, items)


def describe(value: Any, modalities: Sequence[str] = (), channel_dim: int = 0) -> str:
    """Say in one line what a value is: shape, type and range of a tensor, absent modalities by name.

    Args:
        value: anything.
        modalities: names along ``channel_dim``; where one of them has a NaN it is called absent.
        channel_dim: dimension of the modalities.
    """
    if isinstance(value, Mapping):
        return "+".join(map(str, value))
    if not isinstance(value, Tensor):
        return str(value)
    value = value.detach().cpu().as_subclass(Tensor)
    text = f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    finite = value[torch.isfinite(value)]
    classes = finite.unique() if not (finite % 1).any() else finite
    if value.numel() <= FEW:
        text = " ".join([text, *(f"{each:.4g}" for each in value.flatten().tolist())])
    elif 0 < len(classes) <= FEW:
        text += f" values {' '.join(f'{each:g}' for each in classes.tolist())}"
    elif finite.numel():
        text += f" {finite.min():.4g} to {finite.max():.4g}"
    return text + _absent(value, modalities, channel_dim)


def _absent(value: Tensor, modalities: Sequence[str], channel_dim: int) -> str:
    missing = torch.isnan(value)
    if not missing.any():
        return ""
    if value.ndim <= channel_dim or value.shape[channel_dim] != len(modalities):
        return f", NaN in {int(missing.sum())} of {value.numel()}"
    acquired = acquired_in(value.movedim(channel_dim, 0).reshape(len(modalities), -1))
    return ", absent: " + subset_name((~acquired).tolist(), modalities)


def main(*files: str, case: str | None = None, every_parameter: bool = False, **override: Any) -> None:
    """Print what every id of a training configuration makes of one case, down to the gradients.

    Of a case in preparation only what changes from one id to the next is printed.

    Args:
        files: configuration files in the order of the command line of `monai.bundle run`, the base first.
        case: name of a training case; the first one if not given.
        every_parameter: one line for each parameter instead of each part of the network.
        override: ids and values that override the files, e.g. `--dataset_dir DIR`.
    """
    try:
        parser, _ = merge(files, override)
        modalities = list(parser.get("modalities", ()))
        before: dict[str, str] = {}
        for hop in trace(parser, None if case is None else str(case)):
            now = {key: describe(value, modalities, int(hop.id in BATCHED)) for key, value in hop.items.items()}
            changed = now if hop.id in BATCHED else {key: text for key, text in now.items() if before.get(key) != text}
            _print(hop, changed or {"": "no change of shape or range"})
            before = now
        for hop in gradients(parser.get_parsed_content("network"), modalities, every_parameter):
            _print(hop, {"gradient": _gradient_text(hop.items)})
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        cause = error if isinstance(error, ValueError) else root_cause(error)  # MONAI wraps what a component raises
        if not isinstance(cause, (FileNotFoundError, ValueError)):
            raise
        raise SystemExit(f"Cannot trace: {cause}") from error


def _gradient_text(items: Mapping[str, Any]) -> str:
    norm = "none" if items["gradient"] is None else f"norm {items['gradient']:.3g}"
    return f"{norm}, {items['values']} values" + (f", {items['modality']}" if "modality" in items else "")


def _print(hop: Hop, texts: Mapping[str, str]) -> None:
    for number, (key, text) in enumerate(texts.items()):
        id, kind = (hop.id, hop.kind) if number == 0 else ("", "")
        print(f"{id:<37} {kind:<24} {key:<23} {text}")


if __name__ == "__main__":
    run_tool(main)
