"""Functions become property-based tests, and pytest's option and marker say how far they search."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import Op
from tapegrad._recorders import recorder
from tapegrad.testing import (
    GradientError,
    _property,
    assert_gradients,
    broadcastable_arrays,
    gradient_property,
    positive,
)
from tapegrad.testing._depth import DEPTH


def op(function, formula, name):
    made = Op(function, "unary", [formula], name=name)
    made.public = recorder(made)
    return made.public


softsign = op(lambda x: x / (1 + np.abs(x)), lambda g, x: g / (1 + np.abs(x)), "softsign")


@gradient_property(x=(2, 3), width=positive)
def test_bell(x, width):
    return np.sum(np.exp(-((x / (1 + np.sum(width))) ** 2)))


@gradient_property(broadcastable_arrays(positive, positive), st.integers(1, 3))
def test_containers_and_constants(pair, power):
    x, y = pair
    return x**power / y


@gradient_property(w=np.ones((3, 2)), x=(2,), order=1, modes=("reverse",), against="float32")
def test_values_stand_for_themselves(w, x):
    assert w.shape == (3, 2)
    return np.tanh(w @ x)


class TestMethods:
    scale = 2.0

    @gradient_property(x=(3,))
    def test_of_a_class(self, x):
        return self.scale * np.sum(np.sin(x))


def test_failures_are_shrunk_and_blamed():
    @gradient_property(x=(2, 3))
    def bad(x):
        return np.sum(softsign(x * 2) ** 2)

    with pytest.raises(GradientError) as caught:
        bad()
    assert caught.value.verdict.ops == ["softsign"]
    assert "Blame: the rule of softsign for its input 0 (x) is wrong" in str(caught.value)
    assert any("bad(" in note and "x=np.array(" in note for note in caught.value.__notes__)


def test_blame_is_asked_only_for_the_smallest_example(monkeypatch):
    from tapegrad.testing import _checks

    asked = []
    monkeypatch.setattr(_checks, "blame_for", lambda *facts: asked.append(facts))

    @gradient_property(x=(2,))
    def bad(x):
        return softsign(x)

    with pytest.raises(GradientError):
        bad()
    assert len(asked) == 1


def test_the_number_of_examples_is_that_of_the_depth(monkeypatch):
    monkeypatch.setattr(_property, "_EXAMPLES", {"quick": 3, "deep": 30})
    seen = []

    @gradient_property(x=(1,))
    def counted(x):
        seen.append(None)
        return x

    def runs(depth):
        seen.clear()
        token = DEPTH.set(depth)
        counted()
        DEPTH.reset(token)
        return len(seen)

    assert runs("deep") > 5 * runs("quick")


def test_deep_assertions_try_other_layouts_and_cotangents():
    def only_contiguous(g, x):
        return g * np.cos(x) if x.flags.c_contiguous else g

    faulty = op(np.sin, only_contiguous, "faulty")
    x = np.array([[0.5, 1.0], [2.0, 3.0]])
    assert_gradients(faulty, x, order=1)
    token = DEPTH.set("deep")
    try:
        with pytest.raises(GradientError, match="inputs strided"):
            assert_gradients(faulty, x, order=1)
    finally:
        DEPTH.reset(token)


@pytest.mark.parametrize("values", [{"y": (2,)}, {}, {"x": (2,), "y": (2,)}])
def test_values_that_do_not_fit_the_function_are_told(values):
    with pytest.raises(TypeError, match=r"gradient_property of f\(x\) was given values that do not fit"):

        @gradient_property(**values)
        def f(x):
            return x


# Functions that raise, or cannot be checked, on what is drawn.


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            lambda x: x @ np.ones((7, 7)),
            r"f raised ValueError at these arguments \(.*test_property\.py:\d+, in <lambda>: ",
        ),
        (lambda x: x.sum().item(), "f gave no tensor or array .*; it gave float .*return the tensor itself"),
        (lambda x: tg.tensor([1, 2]), "integers and booleans have no derivative"),
        (lambda x: x * np.random.default_rng().random(), "it is not deterministic; fix its seed"),
    ],
)
def test_functions_that_cannot_be_checked_are_explained(function, words):
    @gradient_property(x=(2,))
    def f(x):
        return function(x)

    with pytest.raises(GradientError, match=words):
        f()


# The plugin, in runs of its own.

SUITE = """
import numpy as np
import pytest
from tapegrad.testing import assert_gradients, gradient_property
from tapegrad.testing import _property
from tapegrad.testing._depth import DEPTH

seen = []
_property._EXAMPLES = {"quick": 5, "deep": 50}

@gradient_property(x=(2,))
def test_property(x):
    seen.append(None)
    return np.sin(x)

def test_count():
    print("examples", len(seen))

@pytest.mark.gradients("deep")
def test_marked():
    print("depth", DEPTH.get())
    assert_gradients(np.sin, np.ones(2))

def test_after():
    print("after", DEPTH.get())
"""


def run(tmp_path, *options, suite=SUITE, without=()):
    """Run pytest on a suite, with the plugin alone, and return its exit status and output."""
    (tmp_path / "test_suite.py").write_text(textwrap.dedent(suite))
    block = "".join(f"sys.modules[{name!r}] = None; " for name in without)
    code = f"import sys; {block}import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        "-p",
        "tapegrad.testing._plugin",
        "-p",
        "no:cacheprovider",
        "-s",
        "-q",
        *options,
    ]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def _examples(output):
    return int(output.partition("examples ")[2].split()[0])


def test_the_plugin_sets_the_depth(tmp_path):
    status, quick = run(tmp_path, "--strict-markers", "-W", "error")
    assert status == 0, quick
    assert "depth deep" in quick
    assert "after quick" in quick
    status, deep = run(tmp_path, "--gradients=deep", "-k", "property or count or after")
    assert status == 0, deep
    assert "after deep" in deep
    assert _examples(deep) > 5 * _examples(quick)
    status, forced = run(tmp_path, "--gradients=quick", "-k", "marked")
    assert status == 0, forced
    assert "depth quick" in forced


def test_the_plugin_marks_properties(tmp_path):
    status, output = run(tmp_path, "-m", "gradients", "-v")
    assert status == 0, output
    assert "2 passed, 2 deselected" in output


def test_the_plugin_is_listed_by_help(tmp_path):
    status, output = run(tmp_path, "--help")
    assert status == 0
    assert "--gradients={quick,deep}" in output
    assert "gradient tests (tapegrad)" in output
    status, output = run(tmp_path, "--markers")
    assert "@pytest.mark.gradients(depth)" in output


def test_a_misspelled_depth_is_told(tmp_path):
    status, output = run(tmp_path, suite="import pytest\n@pytest.mark.gradients('far')\ndef test_x(): pass\n")
    assert status != 0
    assert "got the marker gradients('far'), expected 'quick' or 'deep'" in output


def test_the_plugin_needs_neither_hypothesis_nor_any_test_of_gradients(tmp_path):
    suite = """
    import sys
    def test_plain():
        assert "hypothesis" not in sys.modules or sys.modules["hypothesis"] is None
        assert "tapegrad.testing._checks" not in sys.modules
    """
    status, output = run(tmp_path, suite=suite)
    assert status == 0, output
    suite = """
    import numpy as np
    from tapegrad.testing import check_gradients
    def test_checks_need_no_hypothesis():
        check_gradients(np.sin, np.ones(2))
    """
    status, output = run(tmp_path, suite=suite, without=["hypothesis"])
    assert status == 0, output
    status, output = run(tmp_path, suite="from tapegrad.testing import gradient_property\n", without=["hypothesis"])
    assert status != 0
    assert "tapegrad.testing.gradient_property needs the package hypothesis, which is not installed" in output
