"""Mixes by dynamic programming against all mixes."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.cli import main
from sim.codesign.mixes import Mix, Part, best_mixes

COSTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(COSTS, min_size=1, max_size=5), st.integers(5, 40), st.integers(1, 6))
def test_the_best_mixes_are_those_of_all_combinations(costs, budget, count):
    kinds = [
        [Part(kind=str(i), format=str(j), size_bytes=b, kl_nats=k) for j, (b, k) in enumerate(rows)]
        for i, rows in enumerate(costs)
    ]
    everything = [Mix(parts=parts) for parts in itertools.product(*kinds)]
    fitting = sorted(mix.kl_nats for mix in everything if mix.size_bytes <= budget)
    if not fitting:
        with pytest.raises(ValueError, match="the smallest mix takes"):
            best_mixes(kinds, most_bytes=budget, count=count)
        return
    found = best_mixes(kinds, most_bytes=budget, count=count)
    assert [mix.kl_nats for mix in found] == fitting[:count]
    assert all(mix.size_bytes <= budget for mix in found)
    assert len({tuple(part.format for part in mix.parts) for mix in found}) == len(found)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        main(["codesign", "mix", *arguments])
    captured = capsys.readouterr()
    return exit.value.code, captured.out, captured.err


def test_the_best_mixes_are_measured_whole(capsys, tiny_model, text_file, tmp_path):
    arguments = [
        str(tiny_model), "--text", str(text_file), "--tokens", "128", "--context", "16", "--format",
        "int4:g32", "int8:g32", "--best", "2", "--out", str(tmp_path),
    ]  # fmt: skip
    code, out, err = run(capsys, *arguments, "--bits", "6", "--json")
    assert code == 0, err
    first, second = map(json.loads, out.splitlines())
    assert first["kl_sum_of_parts"] <= second["kl_sum_of_parts"]
    for one in (first, second):
        assert one["bits_per_weight"] <= 6
        assert set(one["formats"].values()) <= {"int4:g32", "int8:g32"}
        error = one["kl_nats"] - one["kl_sum_of_parts"]
        assert one["additive_error"] == pytest.approx(error)
    # The store has all points, and the table says what the sum misses.
    code, out, _ = run(capsys, *arguments, "--bits", "6")
    assert code == 0 and "additive error" in out and out.count("down_proj=int4:g32") >= 1


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--format", "int4"], "a mix needs at least 2 formats"),
        (["--format", "int4", "int9x"], "unknown format 'int9x'"),
        (["--format", "int4", "int8", "--context", "1"], "leaves nothing to score"),
        (["--format", "int4", "int8", "--bits", "4"], "the smallest mix has 4.13 bits per weight"),
    ],
)
def test_bad_input_of_a_mix_is_one_line(capsys, arguments, message):
    code, _, err = run(capsys, "embedded", *arguments)
    assert code == 2 and err.count("\n") == 1 and message in err
