"""``qsim plan``: find the deployments of a model, and choose one."""

from dataclasses import dataclass

from sim.deployment.model_names import find_shape
from sim.errors import UserError, user_errors
from sim.planner.candidates import deployments
from sim.planner.choice import Choice, choose
from sim.planner.deployment import Load
from sim.planner.losses import Losses, find_losses
from sim.planner.options import PlanOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The choice of a command, and the losses that it compared."""

    choice: Choice
    losses: Losses


def run_plan(options: PlanOptions) -> Plan:
    """Predict every deployment and choose one.

    Raises
    ------
    UserError
        A name is unknown, or the users' tokens are more than the model's context.
    """
    if len(options.models) != 1:
        raise UserError(
            "'qsim plan' takes one model, such as llama-3.1-8b; 'qsim models' lists them"
        )
    shape = find_shape(options.models[0])
    if options.output >= options.context:
        raise UserError(
            f"--context {options.context} holds prompt and answer; it is more than --output"
            f" {options.output}"
        )
    if options.context > shape.max_context:
        raise UserError(
            f"--context {options.context}; {shape.name} has a context of {shape.max_context}"
        )
    load = Load(users=options.users, context=options.context, output=options.output)
    losses = find_losses(options.accuracy, options.results)
    with user_errors(ValueError):
        found = list(deployments(shape, load, losses, options))
    return Plan(choice=choose(found, options), losses=losses)
