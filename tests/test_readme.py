"""The README: its code runs and prints what it says, its commands are two, and its links lead somewhere."""

import contextlib
import io
import os
import re
import stat
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_python_blocks_print_what_they_say():
    namespace = {}
    blocks = _blocks("python")
    assert len(re.findall(r"^print", "".join(blocks), re.MULTILINE)) >= 4
    for block in blocks:
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(compile(block, "README.md", "exec"), namespace)
        promised = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert stream.getvalue().splitlines() == promised


def test_there_are_exactly_two_commands_each_with_its_environment():
    commands = [line for block in _blocks("sh") for line in block.splitlines()]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
    assert commands[0].endswith(" -m tapegrad")
    assert commands[1].endswith(" -m pytest")


def test_ci_runs_the_test_line_of_the_readme():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    pattern = re.search(r"grep -E '([^']*)' README\.md", script.read_text(encoding="utf-8"))[1]
    assert [line for line in README.splitlines() if re.search(pattern, line)] == _blocks("sh")[1].splitlines()


def test_ci_script_is_valid_bash():
    subprocess.run(["bash", "-n", os.fspath(ROOT / ".ci" / "run")], check=True)


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]*)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
