from sim.encoder.evaluate import EncoderResult
from sim.encoder.figure import encoder_figure
from sim.report.style import png


def result(recipe, bits, loss):
    return EncoderResult(
        recipe=recipe,
        bits_per_weight=bits,
        cosine_loss=loss,
        cosine_loss_se=loss / 100,
        cosine_loss_p99=2 * loss,
        sqnr_db={"layer": 20.0},
    )


RESULTS = [result("int8", 8.1, 3e-4), result("int4", 4.1, 7e-2), result("fp4", 4.1, 4e-2)]


def test_every_format_is_drawn_and_named():
    axes = encoder_figure("title", RESULTS, sentences=512).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["fp4", "int4", "int8"]
    drawn = {
        tuple(float(v[0]) for v in line.get_data())
        for line in axes.lines
        if line.get_marker() in ("o", "s")
    }
    assert drawn == {(8.1, 3e-4), (4.1, 7e-2), (4.1, 4e-2)}


def test_equal_results_give_equal_files():
    assert len({png(encoder_figure("title", RESULTS, sentences=512)) for _ in range(2)}) == 1
