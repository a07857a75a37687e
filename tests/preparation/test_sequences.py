# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Which series is which modality: names of many vendors, times, contrast agent, and what several candidates come to."""

from __future__ import annotations

import pytest

from scripts.preparation.sequences import Series, decide, format_series, recognise, taken

MODALITIES = ("flair", "t1ce", "t1", "t2")


def candidate(**headers):
    return recognise(Series(**headers), MODALITIES).candidate


def modalities_of(decided):
    return [each.modality for each in decided]


@pytest.mark.parametrize(
    ("modality", "names"),
    {
        "flair": (
            "t2_tirm_tra_dark-fluid|AX T2 FLAIR|3D T2 CUBE FLAIR|t2_spc_da-fl_sag_p2_iso|FLAIR_longTR SENSE|sT2W_FLAIR|"
            "Sag 3D VISTA FLAIR|SAG SPACE FLAIR|T2FLAIR|AxT2FLAIR PROPELLER|t2_blade_dark_fluid_tra|BrainVIEW_FLAIR|"
            "ax flair post gd|*tir2d1_16|t2_spc_ir_ns_sag"
        ),
        "t1ce": (
            "t1_mprage_sag_p2_iso KM|AX T1 POST|Ax T1 +C|AX T1 C+|SAG 3D BRAVO+C|T1W_3D_TFE_CE|T1GD|AxT1C|"
            "T1 post-Gd FSPGR|T1 mprage nach KM|eTHRIVE post gado|t1_se_tra_km|T1 with contrast|T1 SE GADOVIST|"
            "3D T1 MPRAGE POST CONTRAST|t1_tse_dark-blood_tra post|T1 C.|T1 con contraste|ax t1 fl2d gd|T1w post inj"
        ),
        "t1": (
            "t1_mpr_ns_sag_p2_iso|T1W_SE|Ax T1 FLAIR|SAG T1 SE PRE|t1_se_tra nativ|T1 ohne KM|Ax T1 w/o contrast|"
            "SAG MPRAGE|IR-FSPGR 3D|BRAVO|t1_fl3d_tra|3DT1|T1 non-contrast|T1 -C|T1 post op|t1_tirm_tra|T1 SPACE|"
            "T1 posterior fossa|MRI BRAIN W WO CONTRAST T1|T1 unenhanced|*tfl3d1_16ns|T1 Pre Gd|T1 PostOp"
        ),
        "t2": (
            "t2_tse_tra_512|AX T2 FSE|T2W_TSE|T2W_DRIVE_TSE|t2_blade_tra|Ax T2 PROPELLER|t2_space_sag_p2_iso|T2 CUBE|"
            "FRFSE T2"
        ),
    }.items(),
    ids=lambda value: value if value in MODALITIES else "",
)
def test_names_of_many_vendors_are_recognised_without_any_times(modality, names):
    assert {name: candidate(description=name) for name in names.split("|")} == dict.fromkeys(names.split("|"), modality)


@pytest.mark.parametrize(
    ("what", "names"),
    {
        "localiser": "localizer|AAHead_Scout_64ch|3-plane Loc|Survey|SmartBrain|3 Pl|Lokalizer|B1 Map",
        "diffusion": "ep2d_diff_4scan_trace_p2|AX DWI|ADC (10^-6 mm^2/s)|eADC|ep2d_diff_TRACEW|DTI 64 dir|ColFA|dADC",
        "perfusion": "ep2d_perf_p2|DSC perfusion T2*|relCBV|ASL 3D|T1 DCE dynamic|pCASL|TTP|T1 twist dynamic",
        "functional": "BOLD resting state|fMRI motor",
        "susceptibility": "SWI_Images|SWAN|Ax T2* GRE|t2_fl2d_tra_hemo|Pha_Images|VenoBOLD|t2star",
        "angiography": "TOF_3D_multi-slab|MRA head|venography|3D TOF",
        "spectroscopy": "csi_se_135|svs_se_30|PRESS 144",
        "reformatted": "mIP_Images(SW)|T1 MIP|AX REFORMAT T1|T1 Cor rfmt",
        "subtraction": "T1 SUB|Subtraction T1 post - pre|t1_subtr",
        "quantitative": "T1 Map|T2_MAP|MP2RAGE INV1|t1_mp2rage_UNI-DEN|SyMRI",
        "fat suppressed": "STIR cor|t2_stir_sag",
        "double inversion": "DIR SPACE|double IR",
        "proton density": "PD TSE|Ax PD/T2",
        "balanced": "3D FIESTA|t2_ciss3d_tra|trufi",
        "not of the brain": "T2 C-Spine|T1 SPINE post|LWS lumbar T2",
        "screenshot": "Screen Save|PhoenixZIPReport|dose report",
    }.items(),
)
def test_what_is_no_image_of_the_four_is_left_out_by_name(what, names):
    for name in names.split("|"):
        found = recognise(Series(description=name), MODALITIES)
        assert found.candidate is None and found.reason.startswith(f"left out: {what}"), (name, found.reason)
        assert name in found.reason


@pytest.mark.parametrize(
    ("image_type", "what"),
    [
        (("DERIVED", "PRIMARY", "ADC"), "diffusion"),
        (("DERIVED", "SECONDARY", "MPR"), "reformatted"),
        (("ORIGINAL", "PRIMARY", "P", "ND"), "susceptibility"),
        (("DERIVED", "SECONDARY", "SUBTRACTION"), "subtraction"),
        (("ORIGINAL", "PRIMARY", "LOCALIZER"), "localiser"),
        (("DERIVED", "PRIMARY", "T1 MAP"), "quantitative"),
    ],
)
def test_the_image_type_leaves_a_series_out_whatever_it_is_called(image_type, what):
    found = recognise(Series(description="T1 tra", image_type=image_type), MODALITIES)
    assert found.candidate is None and f"left out: {what} " in found.reason.replace(",", " ")
    assert any(f"image type {each})" in found.reason for each in image_type)


SE, GR, IR = {"scanning": ("SE",)}, {"scanning": ("GR",)}, {"scanning": ("SE", "IR")}


@pytest.mark.parametrize(
    ("headers", "modality"),
    [  # no word of these names a contrast
        ({"repetition": 9000, "echo": 120, "inversion": 2500, **IR}, "flair"),
        ({"repetition": 5000, "echo": 390, "inversion": 1650, **IR}, "flair"),
        ({"repetition": 500, "echo": 12, **SE}, "t1"),
        ({"repetition": 2100, "echo": 9, "inversion": 860, **IR}, "t1"),
        ({"repetition": 1900, "echo": 2.5, "inversion": 900, "scanning": ("GR", "IR")}, "t1"),
        ({"repetition": 7, "echo": 3, **GR}, "t1"),
        ({"repetition": 500, "echo": 12, "agent": "Dotarem", **SE}, "t1ce"),
        ({"repetition": 4800, "echo": 100, **SE}, "t2"),
        ({"repetition": 3200, "echo": 410, **SE}, "t2"),
        ({"repetition": 3000, "echo": 15, **SE}, None),  # proton density
        ({"repetition": 620, "echo": 20, **GR}, None),  # T2*
        ({"repetition": 4000, "echo": 60, "inversion": 160, **IR}, None),  # STIR
        ({"repetition": 4800, "echo": 100}, None),  # nothing says what was scanned
        ({}, None),
    ],
)
def test_a_series_without_a_telling_name_goes_by_its_times(headers, modality):
    found = recognise(Series(description="Series A", **headers), MODALITIES)
    assert found.candidate == modality
    assert ("by its times" if modality else "not recognised") in found.reason


@pytest.mark.parametrize(
    ("headers", "modality", "words"),
    [
        (
            {"description": "T2 tra", "repetition": 8000, "echo": 120, "inversion": 2500, **IR},
            "flair",
            "suppresses fluid",
        ),
        ({"description": "t2_tirm_cor", "echo": 60, "inversion": 160, **IR}, None, "short inversion time"),
        ({"description": "FLAIR", "repetition": 500, "echo": 10, **SE}, None, "contradict"),
        ({"description": "FLAIR", "repetition": 2000, "echo": 100, "inversion": 800, **IR}, None, "contradict"),
        ({"description": "T2", "repetition": 4000, "echo": 12, **SE}, None, "contradict"),
        ({"description": "T1", "repetition": 4000, "echo": 100, **SE}, None, "contradict"),
        ({"description": "Ax PD/T2", "repetition": 3000, "echo": 90, **SE}, "t2", "agree"),
        ({"description": "Ax PD/T2", "repetition": 3000, "echo": 14, **SE}, None, "proton density"),
        ({"description": "AX", "protocol": "T2 TSE", "repetition": 4000, "echo": 95, **SE}, "t2", "T2 TSE"),
        ({"description": "AX T1", "protocol": "FLAIR and perfusion"}, "t1", "AX T1"),  # of the examination
        ({"description": "T1", "b_value": 1000.0}, None, "diffusion"),
        ({"description": "T2", "scanning": ("EP",)}, None, "echo planar"),
        ({"description": "T2", "coverage": 40.0, "num_images": 9}, None, "cover 40 mm"),
        ({"description": "T2", "body_part": "CSPINE"}, None, "not of the brain"),
        ({"description": "T2", "kind": "CT"}, None, "no MR image but CT"),
        ({"description": "T2", "problem": "it is a single image"}, None, "a single image"),
    ],
)
def test_times_and_other_headers_may_speak_against_a_name(headers, modality, words):
    found = recognise(Series(**headers), MODALITIES)
    assert found.candidate == modality and words in found.reason


@pytest.mark.parametrize(
    ("headers", "modality", "words"),
    [
        ({"description": "T1", "agent": "Gadovist 7.5 ml"}, "t1ce", "by its header (Gadovist 7.5 ml)"),
        ({"description": "T1", "agent": "NO"}, "t1", "no contrast agent"),
        ({"description": "T1", "agent": "None"}, "t1", "no contrast agent"),
        ({"description": "T1", "agent": ""}, "t1", "no contrast agent"),
        ({"description": "T1 pre", "agent": "Gadovist"}, "t1", "though the header names a contrast agent"),
        ({"description": "T1", "protocol": "T1 post gd"}, "t1ce", "by its name `T1 post gd`"),
        ({"description": "T1 pre and post"}, "t1", "no contrast agent"),
    ],
)
def test_the_contrast_agent_is_told_by_words_and_then_by_the_header(headers, modality, words):
    found = recognise(Series(**headers), MODALITIES)
    assert found.candidate == modality and words in found.reason


def test_a_contrast_that_is_not_asked_for_is_named():
    found = recognise(Series(description="T1"), ("flair", "t2"))
    assert found.candidate is None and "t1" in found.reason and "not asked for" in found.reason


# --- several candidates, and the user's word ---------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        ({"image_type": ("ORIGINAL",), "thickness": 5.0}, {"image_type": ("DERIVED",), "thickness": 1.0}, "original"),
        ({"three_dimensional": True, "thickness": 2.0}, {"three_dimensional": False, "thickness": 1.0}, "3D"),
        ({"thickness": 1.0}, {"thickness": 5.0}, "thinner slices"),
        ({"thickness": 5.0, "pixel": 0.4}, {"thickness": 5.1, "pixel": 0.9}, "smaller pixels"),
        ({"thickness": 5.0, "plane": "axial"}, {"thickness": 5.0, "plane": "coronal"}, "axial"),
        ({"description": "T2 tse", "order": 8}, {"description": "T2_TSE", "order": 2}, "acquired last"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_candidates_a_rule_takes_one_and_is_said(first, second, rule, turned):
    pair = [
        Series(**{"number": 1, "description": "T2 a", **first}),
        Series(**{"number": 2, "description": "T2 b", **second}),
    ]
    decided = decide(pair[::-1] if turned else pair, MODALITIES)
    won, lost = decided[::-1] if turned else decided
    assert (won.modality, lost.modality) == ("t2", None)
    assert rule in lost.reason and "series 1 is taken" in lost.reason
    assert taken(decided)["t2"].number == 1


def test_where_nothing_tells_which_of_two_both_are_left_out_and_asked_for():
    decided = decide([Series(number=1, description="T2 a"), Series(number=2, description="T2 b")], MODALITIES)
    assert modalities_of(decided) == [None, None]
    with pytest.raises(
        ValueError, match=r"nothing in the headers tells which .*series 1 `T2 a`.*series 2 `T2 b`.*--series"
    ):
        taken(decided)
    assert taken(decide(decided, MODALITIES, "t2=2"))["t2"].number == 2


def test_the_same_name_in_two_studies_is_no_repetition():
    pair = [Series(number=1, description="T2", study=1, order=0), Series(number=1, description="T2", study=2, order=1)]
    with pytest.raises(ValueError, match="nothing in the headers tells which"):
        taken(decide(pair, MODALITIES))


def test_series_of_two_studies_are_not_mixed():
    decided = decide([Series(number=1, description="T2"), Series(number=2, description="T1", study=2)], MODALITIES)
    with pytest.raises(ValueError, match="the series are of 2 studies"):
        taken(decided)


def test_a_t1_image_that_was_repeated_might_be_after_a_contrast_agent():
    pair = [Series(number=1, description="T1", order=0), Series(number=2, description="T1", order=1)]
    with pytest.raises(ValueError, match="nothing in the headers tells which"):
        taken(decide(pair, MODALITIES))
    named = [Series(number=each.number, description="T1 pre", order=each.order) for each in pair]
    assert modalities_of(decide(named, MODALITIES)) == [None, "t1"]


def test_two_plain_t1_images_raise_the_question_of_the_agent():
    pair = [Series(number=1, description="T1", thickness=1.0), Series(number=2, description="T1", thickness=5.0)]
    assert "2 such series say nothing of a contrast agent" in decide(pair, MODALITIES)[0].reason
    assert "such series" not in decide(pair[:1], MODALITIES)[0].reason
    named = [pair[0], Series(number=2, description="T1 pre", thickness=5.0)]
    assert "such series" not in decide(named, MODALITIES)[0].reason


@pytest.fixture
def three():
    return [
        Series(number=3, description="Ax FLAIR"),
        Series(number=4, description="T1 SUB"),
        Series(number=5, description="T1 tra", echo_number=2),
    ]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["flair", None, "t1"]),
        ("t2=3", ["t2", None, "t1"]),
        ("t1ce=T1 sub", ["flair", "t1ce", "t1"]),
        ({"t1": 4}, ["flair", "t1", None]),
        ("t1ce=5.2,flair=none", [None, None, "t1ce"]),
    ],
)
def test_the_user_says_which_is_which_by_number_or_description(three, chosen, expected):
    decided = decide(three, MODALITIES, chosen)
    assert modalities_of(decided) == expected
    assert [each.number for each in decided] == [3, 4, 5]
    assert set(taken(decided)) == set(expected) - {None}
    if chosen == {"t1": 4}:
        assert "named by the user (by its headers: left out: subtraction" in decided[1].reason
        assert "series 4 is taken, as the user says" in decided[2].reason


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("t1=9", r"`9`, named for t1, fits 0 series; .* 3 `Ax FLAIR`, 4 `T1 SUB`, 5.2 `T1 tra`"),
        ("t9=3", r"series are named for `t9`; expected one of"),
        ("t1=3,t2=3", "series 3 is named for two modalities"),
        ("t1", "expected `name=value` pairs"),
    ],
)
def test_a_mistaken_choice_is_refused_in_words(three, chosen, message):
    with pytest.raises(ValueError, match=message):
        decide(three, MODALITIES, chosen)


def test_a_series_that_is_no_volume_is_not_taken_even_on_request():
    with pytest.raises(ValueError, match=r"series 1 cannot be taken for t2: it is a single image"):
        decide([Series(number=1, description="T2", problem="it is a single image")], MODALITIES, "t2=1")


def test_a_folder_of_which_nothing_is_recognised_names_every_series():
    decided = decide([Series(number=1, description="Scout"), Series(number=2, description="Foo")], MODALITIES)
    with pytest.raises(
        ValueError, match=r"none of the 2 series is recognised .*`Scout`: left out.*`Foo`: not recognised"
    ):
        taken(decided)


def test_every_series_has_a_row_with_its_reason(three):
    decided = decide(three, MODALITIES)
    rows = format_series(decided).splitlines()
    assert len(rows) == 4 and rows[0].split()[:3] == ["series", "taken", "as"]
    for row, each in zip(rows[1:], decided, strict=True):
        assert row.startswith(each.name) and each.description in row and row.endswith(each.reason)
