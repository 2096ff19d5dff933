from dataclasses import replace

import jax
import numpy as np
import pytest

from sim.model import head
from sim.model.config import ModelConfig, RopeConfig
from sim.model.head import CHUNK

#: Compiled, as the sweep runs them.
reference_scores = jax.jit(head.reference_scores, static_argnums=2)
scores = jax.jit(head.scores, static_argnums=2)
divergence = jax.jit(head.divergence)
logits = jax.jit(head.logits, static_argnums=(2, 4))
#: Two whole chunks of the vocabulary and a part of one.
ROWS, VOCAB, DIM = 9, 2 * CHUNK + 100, 16
CONFIG = ModelConfig(
    family="llama",
    vocab_size=VOCAB,
    hidden_size=DIM,
    intermediate_size=1,
    layers=1,
    heads=1,
    kv_heads=1,
    head_dim=DIM,
    max_positions=ROWS + 1,
    rope=RopeConfig(dim=DIM),
)


def normal(rng, *shape, spread=1.0):
    return np.float32(spread * rng.standard_normal(shape))


def model(softcap=None, bias=False, tied=False, vocab=VOCAB):
    rng = np.random.default_rng(0)
    config = replace(CONFIG, final_softcap=softcap, vocab_size=vocab)
    params = {"embed": normal(rng, vocab, DIM)}
    if not tied:
        params["head"] = normal(rng, vocab, DIM)
    if bias:
        params["head_bias"] = normal(rng, vocab)
    tokens = rng.integers(0, vocab, ROWS + 1).astype(np.int32)
    return normal(rng, ROWS + 1, DIM), params, config, tokens


def exact_logits(hidden, params, config):
    matrix = np.asarray(params.get("head", params["embed"]), np.float64)
    out = np.asarray(hidden, np.float64) @ matrix.T + np.asarray(params.get("head_bias", 0.0))
    cap = config.final_softcap
    return out if cap is None else cap * np.tanh(out / cap)


def exact_log_probs(values):
    values = np.asarray(values, np.float64)
    top = values.max(-1, keepdims=True)
    return values - top - np.log(np.exp(values - top).sum(-1, keepdims=True))


def exact_divergence(log_p, log_q):
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)


def check_definition(hidden, moved, params, config, tokens):
    reference, reference_nll = reference_scores(hidden, params, config, tokens)
    nll, kl, agrees = scores(moved, params, config, tokens, reference)
    p, q = (exact_logits(h[:-1], params, config) for h in (hidden, moved))
    log_p, log_q = exact_log_probs(p), exact_log_probs(q)
    rows = np.arange(ROWS)
    np.testing.assert_allclose(reference, p, atol=1e-5)
    np.testing.assert_allclose(reference_nll, -log_p[rows, tokens[1:]], atol=1e-5)
    np.testing.assert_allclose(nll, -log_q[rows, tokens[1:]], atol=1e-5)
    np.testing.assert_allclose(kl, exact_divergence(log_p, log_q), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(agrees, log_p.argmax(-1) == log_q.argmax(-1))
    return agrees


@pytest.mark.parametrize(
    "softcap,bias,tied",
    [
        (None, False, False),
        (3.0, True, True),
        pytest.param(3.0, True, False, marks=pytest.mark.slow),
        pytest.param(3.0, False, True, marks=pytest.mark.slow),
    ],
)
def test_scores_are_the_definition(softcap, bias, tied):
    hidden, params, config, tokens = model(softcap, bias, tied)
    moved = hidden + np.float32(0.3) * np.roll(hidden, 1)
    agrees = check_definition(hidden, moved, params, config, tokens)
    assert 0 < agrees.sum() < ROWS


@pytest.mark.parametrize("vocab", [1, CHUNK + 1, pytest.param(CHUNK, marks=pytest.mark.slow)])
def test_any_vocabulary(vocab):
    hidden, params, config, tokens = model(vocab=vocab)
    check_definition(hidden, np.float32(0.7) * hidden, params, config, tokens)


def test_the_reference_agrees_with_itself():
    hidden, params, config, tokens = model()
    reference, reference_nll = reference_scores(hidden, params, config, tokens)
    nll, kl, agrees = scores(hidden, params, config, tokens, reference)
    np.testing.assert_allclose(nll, reference_nll, atol=2e-6)
    np.testing.assert_allclose(kl, 0.0, atol=1e-10)
    assert agrees.all()


def test_tied_likeliest_tokens_agree():
    """Tokens 1 and VOCAB - 1 lie in different chunks and have the same row in the head."""
    hidden, params, config, tokens = model()
    params["head"][[1, VOCAB - 1]] = 9 * hidden[0]
    reference = np.array(reference_scores(hidden, params, config, tokens)[0])
    reference[0, 1] += 1.0
    _, _, agrees = scores(hidden, params, config, tokens, reference)
    assert agrees[0]


def test_a_window_of_one_token_has_no_scores():
    hidden, params, config, tokens = model()
    reference, nll = reference_scores(hidden[:1], params, config, tokens[:1])
    assert reference.shape == (0, VOCAB) and nll.shape == (0,)
    for values in scores(hidden[:1], params, config, tokens[:1], reference):
        assert values.shape == (0,)


@pytest.mark.parametrize("spread", [3.0, 7.0])
@pytest.mark.parametrize("step", [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 3.0])
def test_divergence_is_accurate(spread, step):
    """Logits as far apart as a real model's; the divergence is about ``step**2 / 2``."""
    rng = np.random.default_rng(1)
    p = rng.normal(0.0, spread, (16, 49152)).astype(np.float32)
    q = (p + rng.normal(3.0, step, p.shape)).astype(np.float32)
    got, log_p, log_q = divergence(p, q)
    want = exact_divergence(exact_log_probs(p), exact_log_probs(q))
    np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-9)
    np.testing.assert_allclose(log_p, p[:, 0] - exact_log_probs(p)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(log_q, q[:, 0] - exact_log_probs(q)[:, 0], rtol=1e-6)


def test_divergence_of_chunks_is_accurate():
    """Checks ``scores`` as a whole; hidden states of one value 1 make the head the logits."""
    rng = np.random.default_rng(2)
    config = replace(CONFIG, vocab_size=49152, hidden_size=1)
    p = normal(rng, 49152, 1, spread=7.0)
    q = p + normal(rng, 49152, 1, spread=3e-3)
    hidden, tokens = np.ones((2, 1), np.float32), np.zeros(2, np.int32)
    reference, _ = reference_scores(hidden, {"embed": p}, config, tokens)
    _, kl, _ = scores(hidden, {"embed": q}, config, tokens, reference)
    want = exact_divergence(exact_log_probs(p.T), exact_log_probs(q.T))
    assert 1e-6 < want[0] < 1e-5
    np.testing.assert_allclose(kl, want, rtol=0, atol=1e-9)


def test_distant_distributions_stay_finite():
    p = np.float32([[100, 0, -100], [0, 0, 0]])
    q = np.float32([[-100, 0, 100], [-200, 0, 200]])
    want = exact_divergence(exact_log_probs(p), exact_log_probs(q))
    np.testing.assert_allclose(divergence(p, q)[0], want, rtol=1e-6)


def test_logits_of_softcap_stay_in_bounds():
    hidden, params, config, _ = model(softcap=2.0)
    assert np.abs(logits(5 * hidden, params, config)).max() <= 2.0


def test_logits_of_a_part_of_the_vocabulary():
    hidden, params, config, _ = model(bias=True)
    whole = logits(hidden, params, config)
    np.testing.assert_allclose(logits(hidden, params, config, 5, 20), whole[:, 5:25], atol=1e-5)
