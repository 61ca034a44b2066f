"""The guides: their commands run, and print what the pages say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from abplatform.cli.stories import STORIES
from tests.docs.guides import FOLDER, PAGES, empty_folder, mask, run_page

INDEX = (FOLDER / "index.md").read_text(encoding="utf-8")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_prints_what_its_commands_print(path: Path, tmp_path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    with empty_folder(tmp_path):
        assert mask(run_page(page)) == mask(page), "to write them again: python -m tests.docs.guides"


def test_every_command_has_its_output_or_none_at_all() -> None:
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        assert len(re.findall("^```bash", page, re.MULTILINE)) == len(re.findall("^```text", page, re.MULTILINE))


def test_every_story_has_a_page() -> None:
    pages = {path.stem: path.read_text(encoding="utf-8") for path in PAGES}
    told = {key for key in STORIES for page in pages.values() if f"abplatform simulate-app {key}" in page}
    assert told == set(STORIES)
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", INDEX)) == pages.keys() - {"index"}
