"""Findings as text."""

from __future__ import annotations

from pathlib import Path

from pytest_interleave.detectors.findings import Finding

#: Over findings, in the summary and below a failure of another kind.
TITLE = "interleave findings"


def relative(finding: Finding, root: Path) -> str | None:
    """Return the place of the finding, from the root of the suite where it lies below."""
    if finding.where is None:
        return None
    path, colon, line = finding.where.rpartition(":")
    try:
        return f"{Path(path).relative_to(root).as_posix()}{colon}{line}"
    except ValueError:
        return finding.where


def render(finding: Finding, root: Path) -> str:
    """Return the finding in a few lines, the first of which says it all."""
    where = relative(finding, root)
    lines = [f"{finding.detector}: {finding.summary}" + (f"  ({where})" if where else "")]
    lines += [f"    {line}" for detail in finding.details for line in detail.splitlines()]
    if finding.advice:
        lines.append(f"  {finding.advice}")
    return "\n".join(lines)
