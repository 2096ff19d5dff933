import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.training import train
from sim.training.corpus import _strip_references


def test_the_batch_of_a_step_depends_on_the_step_alone():
    stream = np.arange(100_000, dtype=np.int32)
    first, again, other = (train.batch_of(step, stream) for step in (7, 7, 8))
    assert first.shape == (train.BATCH, train.CONTEXT + 1)
    assert (first == again).all() and (first != other).any()
    assert (np.diff(first, axis=1) == 1).all()


def test_a_checkpoint_brings_back_the_whole_state(tmp_path):
    weights = train.initial_weights(train.CONFIG)
    state = (weights, train.make_optimizer(200).init(weights))
    train.save_checkpoint(tmp_path / "c.safetensors", state, 31, 12.5)
    loaded, step, cpu_s = train.load_checkpoint(tmp_path / "c.safetensors", state)
    assert (step, cpu_s) == (31, 12.5)
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    assert all((a == b).all() for a, b in zip(*map(jax.tree.leaves, (loaded, state)), strict=True))


def test_verses_lose_their_reference_and_chapters_are_set_apart():
    dump = "Ge1:1 In the beginning.\nGe1:2 And the earth.\n1Jo2:1 My little children.\n"
    expected = "\nIn the beginning.\nAnd the earth.\n\nMy little children.\n"
    assert _strip_references(dump) == expected


@pytest.mark.slow
def test_an_untrained_model_is_as_good_as_guessing():
    tokens = np.random.default_rng(0).integers(0, train.CONFIG.vocab_size, (1, 65)).astype(np.int32)
    nll = float(train.mean_nll(train.initial_weights(train.CONFIG), jnp.asarray(tokens)))
    # Embeddings of deviation 0.02 give logits of about 0.02 * 16: close to uniform.
    assert abs(nll - np.log(train.CONFIG.vocab_size)) < 0.2
