"""The command: ``python -m benchmarks.libraries [NAME …]`` runs libraries' own tests with this checkout.

Each library's source distribution is unpacked, and installed into an environment of its own, below
``benchmarks/.libraries``. Its tests are run as they are, once plainly and once with ``--interleave``. A test counts as
a find when it passes plainly and fails when explored; what was found out about it stands in `pins.py`.

A library that ours replaces is not installed: its tests run with ours in its place, plainly, and each that fails must
be one of which `pins.py` says why.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import Interpreter, find_interpreter
from benchmarks.libraries.pins import LIBRARIES, Library
from benchmarks.libraries.sessions import Session, name_in_xml, python_for, run_session, unpacked

UNJUDGED = "not judged yet"


def main() -> int:
    """Run the sessions that were asked for and print what came of them."""
    options = _parse()
    chosen = [library for library in LIBRARIES if not options.names or library.name in options.names]
    is_good = True
    try:
        interpreter = find_interpreter(options.python)
        print(_line("library", "tests", "failed plainly", "explored", "runs", "finds", "notes", "seconds"))
        print(_line("---", *["---:"] * 7), flush=True)
        for library in chosen:
            is_good &= _try(library, interpreter, options)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if is_good else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.libraries", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(each.name for each in LIBRARIES)}")
    parser.add_argument("--plain", action="store_true", help="only the plain sessions: what do the detectors say?")
    parser.add_argument("--runs", metavar="N", help="N runs a test (default: 200, or as many as a second allows)")
    parser.add_argument("--seed", default="1", help="of the search (default 1)")
    parser.add_argument("--python", default="3.11", help="a version such as 3.13, or a path")
    options = parser.parse_args()
    unknown = set(options.names) - {library.name for library in LIBRARIES}
    if unknown:
        parser.error(f"no library {', '.join(sorted(unknown))}")
    return options


def _try(library: Library, interpreter: Interpreter, options: argparse.Namespace) -> bool:
    """Print the row of a library and what its tests said; return whether nothing is left to look at."""
    project = unpacked(library)
    python = python_for(library, project, interpreter)
    plain = run_session(library, project, python, "plain")
    if library.package:
        return _judge_replaced(library, plain, project)
    if options.plain:
        return _judge_findings(library, plain, project)
    exploring = run_session(
        library,
        project,
        python,
        "explored",
        *("--interleave", f"--interleave-seed={options.seed}"),
        *([f"--interleave-runs={options.runs}"] if options.runs else []),
    )
    tests = [record for record in exploring.explored if record.get("verdict") not in (None, "not explored")]
    finds = sorted(exploring.failed() - plain.failed())
    print(
        _line(
            library.folder,
            len(plain.outcomes),
            len(plain.failed()),
            len(tests),
            f"{sum(record['runs'] for record in tests):,}",
            len(finds),
            sum(record["label"] == "order-only" for record in tests),
            f"{plain.seconds:.0f} + {exploring.seconds:.0f}",
        )
    )
    records = {name_in_xml(record["nodeid"]): record for record in exploring.explored}
    verdicts = [(name, _judgement(library.judged, name)) for name in finds]
    for name, judgement in verdicts:
        record = records.get(name, {})
        print(f"    {name}\n      {record.get('label')}: {record.get('sentence')}\n      → {judgement}")
    sys.stdout.flush()
    ended = _is_whole(plain, project, "plain") and _is_whole(exploring, project, "explored")
    return ended and all(judgement != UNJUDGED for _, judgement in verdicts)


def _judge_findings(library: Library, plain: Session, project: Path) -> bool:
    """Print what the detectors say of its tests; return whether every finding is judged."""
    print(_line(library.folder, len(plain.outcomes), len(plain.failed()), "", "", "", "", f"{plain.seconds:.0f}"))
    for name in sorted(plain.failed()):
        print(f"    {name}")
    found = [(test["nodeid"], finding) for test in plain.explored for finding in test.get("findings", ())]
    counts = Counter(finding["detector"] for _, finding in found)
    print("    found:", ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing")
    is_judged = True
    for nodeid, finding in found:
        where = f"{finding['detector']} in {nodeid}"
        judgement = _judgement(library.told, where)
        is_judged &= judgement != UNJUDGED
        print(f"    {where}\n      {finding['summary']} ({finding['where']})\n      → {judgement}")
    sys.stdout.flush()
    return _is_whole(plain, project, "plain") and is_judged


def _judge_replaced(library: Library, plain: Session, project: Path) -> bool:
    """Print what its tests say of ours; return whether just those fail that are known to."""
    tests, failed = len(plain.outcomes), plain.failed()
    print(_line(f"ours for {library.folder}", tests, len(failed), "", "", "", "", f"{plain.seconds:.0f}"))
    for name in sorted(failed):
        print(f"    {name}\n      → {library.fails.get(name, UNJUDGED)}")
    mended = sorted(set(library.fails) - failed)
    for name in mended:
        print(f"    {name} passes: take it out of pins.py")
    sys.stdout.flush()
    return _is_whole(plain, project, "plain") and not mended and failed <= set(library.fails)


def _judgement(judged: Mapping[str, str], name: str) -> str:
    return next((why for known, why in judged.items() if name.startswith(known)), UNJUDGED)


def _is_whole(session: Session, project: Path, kind: str) -> bool:
    if not session.is_whole:
        print(f"    the {kind} session did not end well (status {session.status}): see {project / kind}.txt")
    return session.is_whole


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main())
