"""Classes of accuracy: rows within one standard error of each other are ties."""

from collections.abc import Sequence

from sim.codesign.accuracy_file import AccuracyRow


def tie_classes(rows: Sequence[AccuracyRow]) -> list[int]:
    """Return the class of every row, 0 for the most accurate.

    Rows are taken in the order of their divergence from float32. A class starts with the first row
    that is left and holds those within one standard error of it: the root of the sum of both
    squares, so that no class chains across many errors. Where the error of the divergence is not
    known, that of the loss stands for it, which is larger.

    Examples
    --------
    >>> def row(kl, se):
    ...     return AccuracyRow(weights="int4", bits_per_weight=4.1, kl_nats=kl, kl_se=se,
    ...         loss_nats=kl, loss_se=se, top1=0.9, tokens=4096)
    >>> tie_classes([row(0.30, 0.03), row(0.10, 0.02), row(0.11, 0.01), row(0.13, 0.02)])
    [2, 0, 0, 1]
    """
    found = [0] * len(rows)
    best: AccuracyRow | None = None
    number = -1
    for index in sorted(range(len(rows)), key=lambda i: rows[i].kl_nats):
        row = rows[index]
        if best is None or row.kl_nats - best.kl_nats > _error(best, row):
            best, number = row, number + 1
        found[index] = number
    return found


def _error(first: AccuracyRow, second: AccuracyRow) -> float:
    errors = (row.loss_se if row.kl_se is None else row.kl_se for row in (first, second))
    return float(sum((error or 0.0) ** 2 for error in errors) ** 0.5)
