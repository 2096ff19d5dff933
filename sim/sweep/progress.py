"""Progress of a sweep on the terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sim.errors import writing
from sim.sweep.recipe import FLOAT32
from sim.sweep.result import PointResult


class _Rate(ProgressColumn):
    """Tokens per second over the whole sweep, including loading and quantizing."""

    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:,.0f} tokens/s")


class ProgressObserver:
    """A progress bar, and a line per finished point: text on stderr, or JSON on stdout."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._as_json = as_json
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # A bar in a pipe or a file would be an empty line.
            disable=not console.is_terminal,
        )
        self._sweep = self._progress.add_task("tokens", total=None)
        self._total = 0
        self._begun: set[str] = set()
        self._point = ""

    def __enter__(self) -> "ProgressObserver":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def start(self, points: int, tokens: int) -> None:
        """Set the number of points, and of tokens of all."""
        self._total = points
        self._progress.update(self._sweep, total=tokens)

    def point(self, *recipes: str) -> None:
        """Show the names of the points being measured."""
        self._begun.update(recipes)
        self._point = f"point {len(self._begun)}/{self._total} {', '.join(recipes)}"
        self._progress.update(self._sweep, description=self._point)

    def block(self, line: str, done: int) -> None:
        """Show the block behind the names of the points."""
        self._progress.update(self._sweep, description=f"{self._point}, {line}")

    def tokens(self, count: float) -> None:
        """Advance the bar."""
        self._progress.advance(self._sweep, count)

    def finish(self, result: PointResult, *, reused: bool) -> None:
        """Print the point's line."""
        if self._as_json:
            with writing("standard output"):
                print(result.to_json(), flush=True)
            return
        line = point_line(result, reused=reused)
        self._progress.console.print(line, highlight=False, markup=False)


@dataclass(frozen=True, slots=True)
class WorkerObserver:
    """Passes the tokens of a worker on; the parent reports points."""

    advance: Callable[[float], None]

    def start(self, points: int, tokens: int) -> None:
        """Ignore the total, which the parent knows."""

    def point(self, *recipes: str) -> None:
        """Ignore the names."""

    def block(self, line: str, done: int) -> None:
        """Ignore the block: several workers are at different ones."""

    def tokens(self, count: float) -> None:
        """Pass the tokens on."""
        self.advance(count)

    def finish(self, result: PointResult, *, reused: bool) -> None:
        """Ignore the result, which the parent receives."""


def point_line(result: PointResult, *, reused: bool) -> str:
    """Return the measurements of a point as one line; the float32 model has no divergence."""
    how = "in the store" if reused else f"{result.wall_s:.1f} s"
    kl = "" if result.recipe == FLOAT32.name else f"KL {result.kl_mean:.4f} nats, "
    return f"{result.recipe}: {kl}perplexity {result.perplexity:.4g} ({how})"
