# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Federated training over sites that own different modalities, on NVIDIA FLARE."""
