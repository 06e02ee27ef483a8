"""The program that docs/PYTHON.md begins with, and the names that the page and the stubs state."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import tapeline
from tapeline import errors

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = (REPOSITORY / "docs/PYTHON.md").read_text(encoding="utf-8")


def test_the_program_of_the_page_runs_when_it_is_pasted(tmp_path: Path) -> None:
    program = PAGE.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    *clients, last = done.stdout.splitlines()
    texts = [line.partition(": ")[2] for line in clients]
    assert last == "Tapeline keeps it."
    assert texts[1:-1] == ["Tape", "line", " ", "keeps", " ", "it", "."]
    assert [line.startswith("first") for line in clients] == [True] * 3 + [False] * 6


def test_the_program_of_the_package_runs(tmp_path: Path) -> None:
    readme = (REPOSITORY / "engine/python/README.md").read_text(encoding="utf-8")
    program = readme.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    opened, hel, lo, closed = done.stdout.splitlines()
    assert (opened[:2], hel, lo, closed[:2]) == ("9 ", "1 Hel", "1 lo", "9 ")


def test_the_other_programs_of_the_page_compile() -> None:
    for program in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1:]:
        # Pieces of programs may await, and return.
        lines = program.replace("    return Response(", "    response = Response(").splitlines()
        compile("\n".join(lines), "docs/PYTHON.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for module, names in re.findall(r"^from (tapeline\S*) import (.*)$", program, re.MULTILINE):
            for name in names.split(", "):
                assert hasattr(importlib.import_module(module), name), name


def test_the_page_names_what_there_is() -> None:
    for name in re.findall(r"`bus\.(\w+)", PAGE):
        assert hasattr(tapeline.Bus, name), name
    for name in re.findall(r"`tapeline\.(\w+)", PAGE):
        assert hasattr(tapeline, name) or importlib.util.find_spec(f"tapeline.{name}"), name
    for name in re.findall(r"`(\w+Error)`", PAGE):
        assert hasattr(errors, name), name


def test_every_exception_is_in_the_tree_of_its_module() -> None:
    assert errors.__doc__ is not None
    listed = set(re.findall(r"^ +(\w*Error)\b", errors.__doc__, re.MULTILINE))
    assert listed == {name for name in vars(errors) if name.endswith("Error")}


def test_the_stubs_have_what_the_extension_has() -> None:
    from tapeline import _native

    stubs = (Path(tapeline.__file__).parent / "_native.pyi").read_text(encoding="utf-8")
    for name, value in vars(_native).items():
        if name.startswith("__"):
            continue
        assert re.search(rf"^(?:class|def|@final\nclass) {name}\b|^{name}:", stubs, re.MULTILINE), name
        if not isinstance(value, type):
            continue
        body = re.split(r"^(?=@final|class|def)", re.split(rf"class {name}\b", stubs, maxsplit=1)[1], maxsplit=1, flags=re.MULTILINE)[0]
        members = [member for member in vars(value) if not member.startswith("__")]
        missing = [member for member in members if not re.search(rf"\bdef {member}\(", body)]
        assert not missing, (name, missing)
