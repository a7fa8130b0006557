"""What README and docs show is what happens: their commands run their files, and print what stands beside them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from sessions import run_fresh

from docs.pages import PAGES, REPOSITORY, Block, find_missing, read_blocks, run

REFERENCE = (REPOSITORY / "docs" / "reference.md").read_text()


@pytest.mark.parametrize("page", [page for page in PAGES if "```console" in page.read_text()], ids=lambda p: p.stem)
def test_commands_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    printed: str | None = None
    for block in read_blocks(page):
        if block.file_name is not None:
            tmp_path.joinpath(block.file_name).write_text(block.text)
        elif block.language == "text" and printed is not None:
            missing = find_missing(block.text, printed)

            assert missing is None, f"{page.name}:{block.line} shows\n\n{missing}\n\nbut it prints\n\n{printed}"
        printed = "\n".join(run(words, tmp_path) for words in block.commands) if block.commands else None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_program_is_a_file_that_is_run(page: Path) -> None:
    waiting: list[Block] = []
    for block in read_blocks(page):
        assert block.language != "python" or block.file_name is not None, f"line {block.line} names no file"
        if block.language == "python":
            waiting.append(block)
        elif block.commands:
            waiting.clear()

    assert waiting == []


def test_the_replay_command_of_the_readme_fails_as_shown(tmp_path: Path) -> None:
    blocks = read_blocks(REPOSITORY / "README.md")
    program = next(block for block in blocks if block.language == "python")
    tmp_path.joinpath(str(program.file_name)).write_text(program.text)
    shown = next(line for block in blocks for line in block.text.splitlines() if line.startswith("Replay it:"))

    printed = run(shown.split()[2:], tmp_path)

    assert "AssertionError" in printed
    assert "1 failed" in printed


def test_the_reference_names_every_flag_and_key(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--help").stdout.str()
    flags = set(re.findall(r"--(?:interleave|asyncio)[a-z-]*", text))
    keys = set(re.findall(r"^  ((?:interleave|asyncio)\w*) \(", text, flags=re.MULTILINE))

    assert len(flags) > 8
    assert len(keys) > 8
    assert {name for name in flags | keys if f"`{name}" not in REFERENCE} == set()


def test_the_reference_names_every_argument_of_the_marks(pytester: pytest.Pytester) -> None:
    lines = re.findall(
        r"^@pytest.mark.(?:interleave|asyncio)\((.*)\):", pytester.runpytest("--markers").stdout.str(), re.M
    )
    names = {name for line in lines for name in re.findall(r"(\w+)=?", line.replace("[...]", "")) if name != "True"}

    assert len(lines) == 2
    assert {name for name in names if f"{name}=" not in REFERENCE and name != "enabled"} == set()


def test_the_reference_names_every_key_of_the_json_file(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.asyncio\nasync def test_it(): pass")
    run_fresh(pytester, "--interleave", "--interleave-json=out.json")
    keys = re.findall(r'"(\w+)":', (pytester.path / "out.json").read_text())

    assert "nodeid" in keys
    assert [key for key in keys if f"`{key}`" not in REFERENCE and key != "tests"] == []


def test_pages_claim_only_pythons_that_are_tested() -> None:
    limits = (REPOSITORY / "docs" / "limits.md").read_text()

    assert f"{sys.version_info.major}.{sys.version_info.minor}" in limits


def test_links_between_files_lead_somewhere() -> None:
    broken = [
        f"{path.name}: {target}"
        for path in [*PAGES, *REPOSITORY.glob("*.md")]
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", path.read_text())
        if not path.parent.joinpath(target).exists()
    ]

    assert broken == []
