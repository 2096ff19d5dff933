"""What happens to the model? Forward pass, sweeps, reports and the command line."""

from typing import TYPE_CHECKING

from numerics.lazy import attach

if TYPE_CHECKING:
    from sim.errors import UserError as UserError
    from sim.sources.catalog import open_model as open_model
    from sim.sources.source import ModelSource as ModelSource
    from sim.sweep.command import run_sweep as run_sweep
    from sim.sweep.engine import Sweep as Sweep
    from sim.sweep.options import SweepOptions as SweepOptions
    from sim.sweep.recipe import Recipe as Recipe
    from sim.sweep.recipe import Rule as Rule
else:
    __getattr__, __dir__ = attach(__name__, __file__)
