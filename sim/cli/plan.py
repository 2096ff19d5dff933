"""``qsim plan``."""

from dataclasses import replace

from sim.cli.app import make_group
from sim.cli.output import print_json, print_line
from sim.cli.words import without_models
from sim.planner.options import PlanOptions

DEFAULT = PlanOptions()

plan = make_group("plan", "Choose format, cache and machine for a model and its users.")


@plan.default
def choose(*words: str, options: PlanOptions = DEFAULT) -> None:
    """Recommend one deployment for a model: what fits, how fast it is, and what it loses.

    Without --hw it compares the GPUs with a known price, cheapest first. Losses are measured on the
    model of --accuracy, never guessed for another one.

    Parameters
    ----------
    words
        The model, as for --model.
    """
    machines, after_hw = without_models(options.machines, files=())
    formats, after_format = without_models(options.formats)
    models = (*words, *options.models, *after_hw, *after_format)
    options = replace(options, models=models, machines=machines, formats=formats)
    from sim.planner.answer import answer
    from sim.planner.command import run_plan

    found = run_plan(options)
    if options.json:
        choice = found.choice
        every = (*choice.feasible, *choice.slow, *choice.large)
        print_json(one.to_record() | {"recommended": one is choice.best} for one in every)
        return
    print_line(answer(found.choice, found.losses, options))
