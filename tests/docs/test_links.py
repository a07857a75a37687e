# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Documents lead somewhere: links, anchors, pictures, and the places that code and configurations name."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import PAGES, ROOT, anchors, name_of, prose, text_of

LINK = re.compile(r"(!?)\[[^]]*\]\(([^)\s]+)\)")
ELSEWHERE = ("https://", "http://", "mailto:")
SOURCES = [
    path
    for folder in ("scripts", "configs", "incomplete_segmentation", "federated")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".yaml", ".json", ".conf", ".html")
]


def links(page):
    return [
        (bool(picture), target) for picture, target in LINK.findall(prose(page)) if not target.startswith(ELSEWHERE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    broken = []
    for _, target in links(page):
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        if not file.exists() or not file.is_relative_to(ROOT):
            broken.append(target)
        elif anchor and (file.suffix != ".md" or anchor not in anchors(file)):
            broken.append(f"{target}: no such heading")
    assert broken == []


def test_links_and_pictures_are_found_at_all():
    found = [link for page in PAGES for link in links(page)]
    assert len(found) > 150 and sum(picture for picture, _ in found) >= 8


def test_no_picture_lies_in_docs_that_no_page_shows():
    shown = {(page.parent / target).resolve() for page in PAGES for picture, target in links(page) if picture}
    assert [path.name for path in sorted((ROOT / "docs").rglob("*.png")) if path.resolve() not in shown] == []


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / target.partition("#")[0]).resolve() for _, target in links(page)]
        waiting += [target for target in targets if target.suffix == ".md" and target.is_file()]
    assert [name_of(page) for page in PAGES if page not in reached and page.parent.name != "models"] == []


def test_documents_that_code_and_configurations_name_are_there():
    named = {
        (path.relative_to(ROOT).as_posix(), document)
        for path in [*SOURCES, ROOT / "models" / "README.md", ROOT / "Makefile"]
        for document in re.findall(r"\bdocs/[\w/]+\.md\b", text_of(path))
    }
    assert len(named) > 10
    assert sorted(pair for pair in named if not (ROOT / pair[1]).is_file()) == []
