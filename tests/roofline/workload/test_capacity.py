"""Users and contexts that fit, in closed form, against a search and figures of runtimes."""

import pytest

from hw.machine import GIB, load_machine
from roofline.model.model_shape import load_model
from roofline.runtime.server import LLAMA_SERVER, VLLM
from roofline.runtime.serving_format import parse_format
from roofline.workload.capacity import capacity
from roofline.workload.setup import Setup


def found(model, fmt="fp16", machine="h100-sxm", server=VLLM, **more):
    setup = Setup(
        shape=load_model(model), format=parse_format(fmt), machine=load_machine(machine), **more
    )
    return capacity(setup, server)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-4b", "gpt-oss-20b", "mistral-7b"])
@pytest.mark.parametrize("machine", ["rtx-4090", "h100-sxm"])
@pytest.mark.parametrize("server", [VLLM, LLAMA_SERVER])
def test_closed_forms_equal_a_search(model, machine, server):
    one = found(model, "w4a16", machine, server)
    for users in (1, 3, 64):
        tokens, block = one.context(users), server.block_tokens
        assert tokens == one.setup.shape.max_context or tokens % block == 0
        assert one.missing_bytes(users, tokens) == 0
        if tokens < one.setup.shape.max_context:
            assert one.missing_bytes(users, tokens + block) > 0
    for tokens in (512, 4096):
        users = one.users(tokens)
        assert one.missing_bytes(users, tokens) == 0
        most = server.largest_batch(one.setup.machine)
        assert users == most or one.missing_bytes(users + 1, tokens) > 0


def test_a_server_takes_its_share_and_reserves_its_contexts():
    one = found("llama-3.1-8b")
    total = 79.65 * GIB
    assert one.total_bytes == total
    assert one.reserve_bytes == pytest.approx(0.08 * total + GIB)
    # 2 x 8 heads x 128 values x 2 bytes in each of 32 layers; blocks of 16 tokens.
    assert one.user_bytes(17) == 32 * 131072
    assert one.needed_bytes(4, 8192) + one.cache_bytes == total + 4 * 8192 * 131072


def test_windows_and_latent_vectors_bound_a_cache():
    # gpt-oss-20b: 12 of 24 layers keep 128 tokens; llama.cpp prints 24 x 2 KiB for a token.
    small = found("gpt-oss-20b", "mxfp4")
    assert small.user_bytes(8192) == 2048 * (12 * 8192 + 12 * 128)
    # DeepSeek-V3: 576 values of 2 bytes in each of 61 layers, in every one of 8 machines.
    latent = found("deepseek-v3", "fp8", "h200-sxm", machines=8)
    assert latent.user_bytes(16) == 16 * 61 * 1152 * 8


def test_machines_that_share_a_head_hold_copies_of_it():
    two, eight = (found("llama-3.1-8b", machines=n).user_bytes(64) for n in (8, 16))
    assert eight == 2 * two
