"""Sizes of models: the list, and those of a model that can be swept."""

from rich.table import Table

from roofline.model.model_shape import ModelShape, list_models, load_model


def shapes_table() -> Table:
    """Return the models whose sizes are built in, one a line."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("sizes for qsim roofline", no_wrap=True)
    for heading in ("parameters", "layers", "hidden", "heads", "KV heads", "context"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in list_models():
        table.add_row(name, *_cells(load_model(name)))
    return table


def _cells(shape: ModelShape) -> tuple[str, ...]:
    sizes = (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.max_context)
    return (f"{shape.params / 1e9:.3g} B", *map(str, sizes))
