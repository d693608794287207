"""`python -m tests.promql DIR [--json] [--names at-once] [--failed]`: run a folder of .test files."""

import argparse
import json
import sys
from pathlib import Path

from tests.promql.running import run


def main() -> int:
    """Run every file and print how many cases passed and failed; 1 if one failed."""
    arguments = argparse.ArgumentParser(prog="make promql ARGS=...", description=__doc__)
    arguments.add_argument("folder", type=Path, help="a folder of .test files")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_argument("--failed", action="store_true", help="print each failed case, too")
    arguments.add_argument(
        "--names",
        choices=("delayed", "at-once"),
        default="delayed",
        help="when names are removed: at the end, as upstream runs these files, or at once",
    )
    given = arguments.parse_args()
    files = sorted(given.folder.glob("*.test"))
    if not files:
        print(f"{given.folder}: there is no .test file in it", file=sys.stderr)
        return 2
    report = {}
    for file in files:
        outcomes = run(file.read_text(encoding="utf-8"), given.names == "delayed")
        failed = [outcome for outcome in outcomes if outcome.reason]
        report[file.name] = {
            "passed": len(outcomes) - len(failed),
            "failed": len(failed),
            "failures": [vars(outcome) for outcome in failed],
            "cases": [[o.line, not o.reason] for o in outcomes],
        }
    passed = sum(one["passed"] for one in report.values())
    failed_in_all = sum(one["failed"] for one in report.values())
    if given.json:
        print(json.dumps({"passed": passed, "failed": failed_in_all, "files": report}, indent=1))
        return bool(failed_in_all)
    for name, one in report.items():
        print(f"{name:32} {one['passed']:5} passed {one['failed']:5} failed")
        if given.failed:
            for failure in one["failures"]:
                print(f"    {name}:{failure['line']}: {failure['query']}: {failure['reason']}")
    print(f"{'all':32} {passed:5} passed {failed_in_all:5} failed")
    return bool(failed_in_all)


if __name__ == "__main__":
    sys.exit(main())
