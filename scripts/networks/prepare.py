# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Brings a network to its device, with the options that trade time for memory or for waiting."""

from __future__ import annotations

from pathlib import Path

import torch

from ..utils.flags import as_flag
from .alignment import AnchorAlignment, NoAlignment
from .base import IncompleteMultiModalNetwork
from .normalization import compile_normalization
from .weights import load_weights


def prepare_network(
    network: IncompleteMultiModalNetwork,
    device: torch.device | str,
    checkpointing: bool | str = False,
    compiled: bool | str = False,
    alignment: AnchorAlignment | None = None,
    initial_file: str | None = None,
) -> IncompleteMultiModalNetwork:
    """Move a network to a device and set its options, also given as words; these change values by rounding at most.

    Args:
        network: as its class makes it.
        device: where it is to run.
        checkpointing: in training, compute activations again in the backward pass instead of keeping them, see
            ``IncompleteMultiModalNetwork``.
        compiled: let ``torch.compile`` fuse normalisation and activation on the CPU, see ``compile_normalization``.
            The convolutions between them are library calls that compiling cannot improve, and what is computed depends
            on which modalities are there, so the network as a whole is not compiled.
        alignment: what the configuration says of it, which the network must have been made with.
        initial_file: weights to start training from, as an earlier training wrote them; ``None`` keeps random ones.

    Raises:
        ValueError: if an option is another word, the network was made without the alignment, or the weights are those
            of another network.
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
    compile_normalization(as_flag(compiled, "compiled"))
    return network
