"""``qsim models``."""

from sim.cli.app import make_group
from sim.cli.output import print_line, print_wide

models = make_group("models", "List the models that commands take, show one, or fetch one.")


@models.default
@models.command(name="list")
def list_models() -> None:
    """List the models that can be swept and quantized, and the sizes that roofline predicts."""
    from sim.deployment.shapes import shapes_table
    from sim.sources.catalog import list_models as rows
    from sim.sources.table import models_table

    print_wide(models_table(rows()))
    print("\nSizes for qsim roofline; a model to sweep is one of its models, too:\n")
    print_wide(shapes_table())


@models.command
def show(model: str) -> None:
    """Show a model's sizes and where they come from.

    Parameters
    ----------
    model
        Name, as listed by 'qsim models', a .toml file, a directory or a .gguf file.
    """
    from sim.deployment.model_names import model_text

    print_wide(model_text(model))


@models.command
def fetch(model: str) -> None:
    """Fetch a known model into the user's cache, checking its hash.

    Parameters
    ----------
    model
        Id of a known model, as listed by 'qsim models'.
    """
    from sim.sources.catalog import fetch as fetch_model

    print_line(f"{model} is at {fetch_model(model)}")
