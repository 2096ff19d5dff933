"""``qsim roofline --method``: run-time work and stored bits of methods."""

import json
from dataclasses import replace

import pytest

from roofline.model.model_shape import list_models, load_model
from roofline.runtime.serving_format import parse_format
from roofline.workload.memory import weight_bytes
from roofline.workload.operators import operators
from roofline.workload.step import Sequences
from sim.cli import main
from sim.deployment.cells import ONLINE, grouped
from sim.deployment.command import RooflineOptions, run_roofline
from sim.deployment.figures import _by_kind
from sim.deployment.method import Method, find_chain, linear_shapes
from sim.deployment.shapes import config_of, shape_of
from sim.model.online_cost import online_cost

TOKEN = [Sequences(batch=1, new=1)]
OWN = ("source", "fused_qkv", "other_params", "position_vectors")
A100 = ["--hw", "a100-sxm-80gb"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        main(["roofline", *arguments])
    captured = capsys.readouterr()
    return exit.value.code, captured.out, captured.err


def record(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    (line,) = out.splitlines()
    return json.loads(line)


def applied(text, model="llama-3.1-8b", fmt="w4a8"):
    method = Method(chain=find_chain(text), configs={})
    return method.applied(load_model(model), parse_format(fmt))


@pytest.mark.parametrize(
    "text", ["rtn", "gptq", "awq+clip", "smoothquant+gptq(order=natural)", "rotate+gptq"]
)
def test_a_method_without_run_time_work_changes_no_prediction(capsys, text):
    plain = record(capsys, "llama-3.1-8b", *A100, "--format", "w4a8")
    found = record(capsys, "llama-3.1-8b", *A100, "--format", "w4a8", "--method", text)
    notes, before = found.pop("notes"), plain.pop("notes")
    assert found == plain
    assert notes == [*before, f"{text} in llama-3.1-8b: no run-time work"]


def test_a_rotated_head_that_was_tied_is_stored_apart(capsys):
    arguments = ["llama-3.2-1b", *A100, "--format", "w4a8"]
    plain = record(capsys, *arguments)
    found = record(capsys, *arguments, "--method", "rotate")
    assert found["weight_bytes"] - plain["weight_bytes"] == 2 * 2048 * 128256
    assert (found["tpot_s"], found["ttft_s"]) == (plain["tpot_s"], plain["ttft_s"])
    assert "no run-time work; a head that is stored apart" in found["notes"][-1]
    found = record(capsys, *arguments, "--method", "rotate(r1=false)")
    assert found["weight_bytes"] == plain["weight_bytes"]


def test_transforms_are_rows_of_their_own(capsys):
    arguments = ["llama-3.1-8b", *A100, "--format", "w4a8"]
    plain = record(capsys, *arguments)
    found = record(capsys, *arguments, "--method", "rotate(r3=true,r4=true,heads=true)+gptq")
    rows = {(x["phase"], x["name"]): x for x in found["operators"]}
    # 14336 = 28 * 512: 27 + 9 additions a value; 32 heads and 128 values: 5 and 7.
    ops = {"down": 14336 * 37, "o": 4096 * 6, "q and k": 5120 * 8}
    for site, count in ops.items():
        assert rows["decode", f"{site} Hadamard"]["ops"] == 32 * count
        assert rows["prefill", f"{site} Hadamard"]["ops"] == 512 * 32 * count
    assert len(rows) == len(plain["operators"]) + 6
    added = sum(x["time_s"] for x in rows.values() if x["name"].endswith("Hadamard"))
    assert added > 0 and found["weight_bytes"] == plain["weight_bytes"]
    more = sum(found[x]["expected"] - plain[x]["expected"] for x in ("ttft_s", "tpot_s"))
    assert more == pytest.approx(added, rel=1e-6)
    words = (32 * (14336 * 36 + 4096 * 5 + 5120 * 7), 32 * (14336 + 4096 + 5120))
    assert "{:,} additions and {:,} multiplications a token".format(*words) in found["notes"][-1]


@pytest.mark.parametrize("text", ["lorc", "rotate+lorc(rank=3,format=int4:g32)"])
def test_factors_are_stored_and_read(text):
    shape, fmt = applied(text)
    repair = find_chain(text).repair
    bits = 32 * sum(map(repair.extra_bits, linear_shapes(config_of(shape))))
    plain = replace(fmt, online=parse_format("w4a8").online)
    assert weight_bytes(shape, fmt) - weight_bytes(shape, plain) == bits / 8
    read = [sum(op.weight_bytes for op in operators(shape, x, TOKEN)) for x in (fmt, plain)]
    assert read[0] - read[1] == bits / 8


@pytest.mark.parametrize("model", ["llama-3.2-1b", "qwen2.5-7b"])
def test_transforms_count_what_the_model_computes(model):
    text = "rotate(r3=true,r4=true,heads=true)"
    (rotate,) = find_chain(text).model
    cost = online_cost(rotate.transformed(config_of(load_model(model))))
    found = operators(*applied(text, model), TOKEN)
    ops = sum(op.vector_ops for op in found if op.name.endswith("Hadamard"))
    assert ops == cost.additions + cost.multiplications


def test_sizes_and_their_configuration_agree():
    for name in list_models():
        shape = load_model(name)
        if shape.experts is None and shape.latent is None and shape.window is None:
            back = shape_of(config_of(shape), name=name, title=shape.title)
            # Fields that a configuration derives from others, or leaves out.
            own = {x: getattr(back, x) for x in OWN}
            assert replace(shape, **own) == back


def test_the_work_has_a_segment_of_the_time():
    options = RooflineOptions(
        models=("llama-3.2-1b",), machines=("rtx-4090",), formats=("w4a16",), method="lorc"
    )
    (one,), (plain,) = run_roofline(options), run_roofline(replace(options, method=None))
    parts, before = _by_kind(one, "decode"), _by_kind(plain, "decode")
    assert parts.pop(ONLINE) > 0 and parts == before
    assert ("qkv left factor", "decode") in grouped(one)


def test_a_draft_has_no_part_in_the_method(capsys):
    drafted = ["llama-3.1-8b", *A100, "--format", "w4a16", "--draft", "llama-3.2-1b"]
    plain, found = record(capsys, *drafted), record(capsys, *drafted, "--method", "lorc")
    factors = 32 * 8 * (3 * 4096 + 4096 + 2 * 1024 + 4096 * 2 + 3 * (4096 + 14336))
    scales = 32 * 14 * 8 * 2
    assert found["weight_bytes"] - plain["weight_bytes"] == factors + scales


def test_the_embedded_model_and_the_format_that_fits(capsys):
    embedded = ["embedded", *A100, "--format", "w4a4", "--prompt", "100", "--output", "20"]
    found = record(capsys, *embedded, "--method", "rotate(r4=true)+gptq")
    assert any(row["name"] == "down Hadamard" for row in found["operators"])
    large = ["llama-2-13b", "--hw", "rtx-4090", "--format", "w8a16", "--batch", "64"]
    _, _, err = run(capsys, *large, "--method", "lorc")
    assert "bytes are missing" in err and "fp16" not in err


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--method", "gptqq"], ["unknown method 'gptqq'", "'gptq'"]),
        (["--method", "gptq(order=up)"], ["option order of gptq is 'up'"]),
        (["--method", "gptq,awq"], ["give one name, not 2"]),
        (["--method", "gptq", "--format", "fp16"],
         ["method 'gptq' is for the quantized weights", "fp16 are floats; add --format w4a16"]),
        (["--method", "rotate(r4=true)", "--format", "fp16"], ["are floats"]),
        (["--method", "lorc", "--format", "w16a8"], ["are floats"]),
        (["--method", "lorc(rank=5000)"], ["the rank can be 1 to 4096"]),
        (["--method", "lorc", "--format", "q4_k_m"],
         ["needs work at run time that llama.cpp", "a format such as w4a16"]),
        (["--method", "rotate(r4=true)", "--format", "i2_s"], ["run time that bitnet.cpp"]),
        (["--method", "aqas"], ["aqas chooses scales for quantized activations"]),
        (["--method", "lwc", "--format", "aqlm-2x8"], ["aqlm"]),
        (["--method", "rotate(r4=true,block=48)"], ["blocks of 48"]),
        (["--method", "rotate", "--model", "gpt2"], ["LayerNorm", "use r1=false"]),
        (["--method", "rotate", "--model", "gemma-2-2b"], ["gemma-2-2b", "use r1=false"]),
        (["--method", "lorc", "--model", "mixtral-8x7b"], ["mixtral-8x7b has experts"]),
        (["--method", "awq", "--model", "deepseek-v2-lite"], ["has experts"]),
        (["--method", "lorc", "--hw", "bitmod"], ["--method lorc needs work at run time",
          "bitmod is an accelerator"]),
        (["--method", "lorc", "--compat", "llm-viewer"], ["no option like --method"]),
    ],
)  # fmt: skip
def test_what_a_method_cannot_be_predicted_for_is_one_line(capsys, arguments, words):
    first = [] if "--model" in arguments else ["llama-3.1-8b"]
    given = [*first, *arguments]
    given += [] if "--hw" in arguments else A100
    given += [] if "--format" in arguments else ["--format", "w4a16"]
    code, out, err = run(capsys, *given)
    assert code == 2 and out == "" and len(err.splitlines()) == 1, err
    assert all(word in err for word in words), err


def test_a_solver_alone_is_for_mixtures_of_experts_too(capsys):
    arguments = ["mixtral-8x7b", *A100, "--format", "w4a16"]
    plain, found = record(capsys, *arguments), record(capsys, *arguments, "--method", "gptq")
    assert found["tpot_s"] == plain["tpot_s"]
    found = record(capsys, "llama-3.1-8b", *A100, "--format", "q4_k", "--method", "gptq")
    assert found["notes"][-1] == "gptq in llama-3.1-8b: no run-time work"
