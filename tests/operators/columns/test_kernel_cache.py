"""What was compiled is used again until a source that is in it changes, in whatever file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INNER = """
from numba import njit

@njit
def step(x): return x + {added}
"""
OUTER = """
from numba import njit
from loops.inner import step

@njit(cache=True)
def twice(x): return step(step(x))
"""
RUN = """
import operators
from loops.outer import twice
print(twice(0), "kept" if twice.stats.cache_hits else "compiled")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    loops = tmp_path / "loops"
    loops.mkdir()
    (loops / "__init__.py").touch()
    (loops / "inner.py").write_text(INNER.format(added=1))
    (loops / "outer.py").write_text(OUTER)
    return tmp_path


def run(project: Path, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-c", RUN], cwd=project, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{project}", **variables},
    )  # fmt: skip
    return done.stdout.strip()


def test_a_loop_is_compiled_again_when_one_of_another_file_that_it_calls_changes(project):
    assert [run(project), run(project)] == ["2 compiled", "2 kept"]
    (project / "loops" / "inner.py").write_text(INNER.format(added=10))
    assert [run(project), run(project)] == ["20 compiled", "20 kept"]


def test_it_is_not_compiled_again_when_something_else_changes(project):
    run(project)
    (project / "loops" / "other.py").write_text("changed = True")
    assert run(project) == "2 kept"


def test_it_is_kept_where_the_environment_says(project):
    place = project / "kept"
    run(project, NUMBA_CACHE_DIR=str(place))
    assert list(place.rglob("*.nbc"))
    assert not list((project / "loops").rglob("*.nbc"))


PAIR = """
from typing import NamedTuple
from numba import njit

class {name}(NamedTuple):
    x: int

@njit(cache=True)
def twice(x): return {name}(x + 1).x * 2
"""


def test_a_class_that_has_another_name_now_does_not_stop_the_start(project):
    (project / "loops" / "outer.py").write_text(
        PAIR.format(name="Before") + "@njit(cache=True)\ndef pair(p): return p.x\npair(Before(1))\n"
    )
    assert [run(project), run(project)] == ["2 compiled", "2 kept"]
    (project / "loops" / "outer.py").write_text(
        PAIR.format(name="After") + "@njit(cache=True)\ndef pair(p): return p.x\npair(After(1))\n"
    )
    assert [run(project), run(project)] == ["2 compiled", "2 kept"]
