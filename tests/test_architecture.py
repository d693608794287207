"""Imports flow one way: a stage knows those before it and the contracts, never the flows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("flows", "operators", "sinks", "models", "bench", "tests")
MAY_IMPORT = {
    "models": {"models"},
    "operators": {"operators", "models"},
    "sinks": {"sinks", "operators"},
    "flows": {"flows", "operators", "sinks", "models"},
}
# Plain contracts and single tools: they know of nothing else in the project.
GROUND = ("operators/frames.py", "operators/clock.py", "operators/durations.py", "operators/alerts.py",
          "operators/monitoring.py", "models/base.py")  # fmt: skip
# The stages of the metrics path, in the order of the data.
STAGES = (
    "source", "decoders", "enrichment", "series", "spread", "decoding", "admission", "windows", "scoring",
)  # fmt: skip


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
    return sorted((ROOT / part).rglob("*.py"))


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


@pytest.mark.parametrize("name", GROUND)
def test_contracts_stand_on_nothing(name):
    assert imports(ROOT / name) == set()


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_a_later_one(stage):
    later = {f"operators.{name}" for name in STAGES[STAGES.index(stage) + 1 :]}
    path = ROOT / "operators" / stage
    of_stage = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    for file in of_stage:
        wrong = {
            name for name in imports(file) if any(f"{name}.".startswith(f"{x}.") for x in later)
        }
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"


def test_decoders_know_nothing_of_bytewax_and_nothing_but_the_source_and_operators_do():
    for file in [*files("operators/decoders"), *files("models")]:
        assert "bytewax" not in file.read_text(encoding="utf-8"), file


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
