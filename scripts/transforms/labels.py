# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions in the label convention that was asked for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_numpy

from ..data.label_conventions import from_internal, get_convention


class ToLabelConventiond(MapTransform):
    """Map internal classes to the values of a label convention, keeping metadata and applied operations.

    Args:
        keys: of the class maps.
        convention: name, or mapping ``{file value: internal class}``.
        conventions: further label conventions by name, from configuration.
        allow_missing_keys: whether data without a key is left alone.
        convention_key: where the data, such as a request to MONAI Label, may name a convention of its own.

    Shape:
        - input: ``(1, *S)`` internal classes, integers of any number type
        - output: ``(1, *S)`` uint8, or int32 where the convention goes beyond 255 (torch knows little of uint16)

    Raises:
        ValueError: if the convention is unknown, or cannot write a class that occurs.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        convention: str | Mapping = "brats2023",
        conventions: Mapping[str, Mapping] | None = None,
        allow_missing_keys: bool = False,
        convention_key: str | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        get_convention(convention, conventions)  # a misspelt one is found before anything is segmented
        self.convention, self.conventions, self.convention_key = convention, conventions, convention_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        convention = (data.get(self.convention_key) if self.convention_key else None) or self.convention
        for key in self.key_iterator(result):
            values = from_internal(convert_to_numpy(result[key]), convention, self.conventions)
            dtype = torch.uint8 if values.dtype.itemsize == 1 else torch.int32
            result[key] = convert_to_dst_type(values, result[key], dtype=dtype)[0]
        return result
