# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Brings a network to its device, with the options that trade time for memory or for waiting."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..utils.flags import as_flag
from .alignment import AnchorAlignment, NoAlignment
from .base import IncompleteMultiModalNetwork
from .blocks import FusableLayer
from .weights import load_weights


def prepare_network(
    network: IncompleteMultiModalNetwork,
    device: torch.device | str,
    checkpointing: bool | str = False,
    compiled: bool | str = False,
    alignment: AnchorAlignment | None = None,
    initial_file: str | None = None,
    fused: bool | str = True,
) -> IncompleteMultiModalNetwork:
    """Move a network to a device and set its options, also given as words; these change values by rounding at most.

    Args:
        network: as its class makes it.
        device: where it is to run.
        checkpointing: in training, compute activations again in the backward pass instead of keeping them, see
            ``IncompleteMultiModalNetwork``.
        compiled: let ``torch.compile`` fuse normalisation and activation on the CPU, see ``compiled_normalization``.
            The convolutions between them are library calls that compiling cannot improve, and what is computed depends
            on which modalities are there, so the network as a whole is not compiled.
        alignment: what the configuration says of it, which the network must have been made with.
        initial_file: weights to start training from, as an earlier training wrote them; ``None`` keeps random ones.
        fused: compute layers by fused functions; otherwise by the plain composition in ``blocks``, which is easier to
            follow and step through, and takes more memory and time. Weights fit both.

    Raises:
        ValueError: if an option is another word, ``compiled`` is asked for without ``fused``, the network was made
            without the alignment, or the weights are those of another network.
        FileNotFoundError: if the file of the weights is not there.
    """
    if alignment is not None and isinstance(network.alignment, NoAlignment):
        raise ValueError(
            f"an `alignment` is configured and the {type(network).__name__} of `network_def` has none; expected the "
            "line `alignment: '%alignment'` in `network_def`, as configs/network_*.yaml have it."
        )
    if initial_file:
        if not Path(initial_file).is_file():
            raise FileNotFoundError(
                f"no weights to start from at {initial_file}; expected a file that training wrote. See `initial_file`."
            )
        load_weights(network, initial_file)
    network = network.to(device)
    network.checkpointing = as_flag(checkpointing, "checkpointing")
    choose_layers(network, as_flag(fused, "fused"), as_flag(compiled, "compiled"))
    return network


def choose_layers(network: nn.Module, fused: bool = True, compiled: bool = False) -> None:
    """Set how the layers of a network compute, and no others; see ``FusableLayer``.

    Raises:
        ValueError: if ``compiled`` is asked for without ``fused``.
    """
    if compiled and not fused:
        raise ValueError(
            "`compiled` is true and `fused` is false; expected both true, since what is compiled are the fused layers, "
            "or `compiled` false."
        )
    for module in network.modules():
        if isinstance(module, FusableLayer):
            module.fused, module.compiled = fused, compiled
