"""Imports flow one way: a stage knows those before it and the contracts, never the flows."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("flows", "operators", "sinks", "models", "bench", "tests")
MAY_IMPORT = {
    "models": {"models"},
    "models/evaluate": {"models", "operators"},  # judges what the flows tell, by their own steps
    "operators": {"operators", "models"},
    "sinks": {"sinks", "operators"},
    "flows": {"flows", "operators", "sinks", "models"},
}
# The rooms of operators/, in the order of the data. A stage knows those before it, and the ground
# that all stand on. A folder that is not named here fails a test below.
GROUND = ("contracts", "columns")
STAGES = (
    "kafka", "decoders", "series", "cardinality", "windows", "scoring", "logs", "traces", "templating",
    "rules", "notifying",
)  # fmt: skip
ENGINE = "operators/bytewax.py"


@cache
def imports(path: Path) -> set[str]:
    """Return the modules of the project that a file imports, at whatever place in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import by the whole name"
            package = node.module or ""
            names = {f"{package}.{alias.name}" for alias in node.names}
            modules = {name for name in names if is_module(name)}
            found |= modules if modules == names else {package, *modules}
    return {name for name in found if name.split(".")[0] in PARTS}


def is_module(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()


def files(part: str) -> list[Path]:
    """Return the files of a part, without those of parts within it."""
    within = [ROOT / other for other in MAY_IMPORT if other.startswith(f"{part}/")]
    return [
        path
        for path in sorted((ROOT / part).rglob("*.py"))
        if not any(path.is_relative_to(other) for other in within)
    ]


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_from_those_before_it(part):
    assert files(part)
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(part)
        for name in imports(path)
        if name.split(".")[0] not in MAY_IMPORT[part]
    }
    assert not wrong


def rooms() -> set[str]:
    return {path.name for path in (ROOT / "operators").iterdir() if list(path.glob("*.py"))}


def room(name: str) -> str:
    """Return the folder of operators/ that a module is in."""
    return name.split(".")[1]


def test_every_room_is_ground_or_a_stage():
    assert rooms() == {*GROUND, *STAGES}


def test_contracts_import_nothing_of_ours_but_each_other():
    for path in files("operators/contracts"):
        assert {name for name in imports(path) if room(name) != "contracts"} == set(), path


def test_columns_know_no_stage():
    for path in files("operators/columns"):
        assert {room(name) for name in imports(path)} <= {"columns", "contracts"}, path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_the_ground_and_the_stages_before_it(stage):
    allowed = {*GROUND, *STAGES[: STAGES.index(stage) + 1]}
    for path in files(f"operators/{stage}"):
        wrong = {
            name
            for name in imports(path)
            if name.startswith("operators.") and name != "operators.bytewax"
            and room(name) not in allowed
        }  # fmt: skip
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_one_module_touches_the_engine():
    for part in ("operators", "models", "sinks", "flows/offline"):
        for path in files(part):
            if str(path.relative_to(ROOT)) == ENGINE:
                continue
            engine = set(re.findall(r"^(?:from|import) (bytewax[\w.]*)", path.read_text(), re.M))
            assert not engine, path


def test_offline_work_knows_no_flow():
    for path in files("flows/offline"):
        mine = {name for name in imports(path) if name.startswith("flows.")}
        assert all(name.startswith("flows.offline") for name in mine), path


def test_no_two_classes_share_a_name():
    places: dict[str, list[str]] = {}
    for part in MAY_IMPORT:
        for path in files(part):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_module_imports_itself_round_about():
    graph: dict[str, set[str]] = {}
    for part in MAY_IMPORT:
        for path in files(part):
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            graph[module] = imports(path)
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module in done or module not in graph:
            return
        for name in graph[module]:
            visit(name, (*above, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "common"])
def test_nothing_has_a_name_that_says_nothing(word):
    named = [path for part in MAY_IMPORT for path in files(part) if path.stem == word]
    assert not named
