"""The rows of a step's ledger, from the tree of its spans: what ran, what ran as one, and what was left out and why.

Every stretch of time between two neighboring marks belongs to exactly one row, so the rows' times sum to the step's.
"""

from collections.abc import Iterator, Mapping

from minigan.inspection.ledger import BETWEEN, FUSED, RUN, SKIPPED, Row
from minigan.inspection.pass_facts import PassFacts, place_in_network
from minigan.inspection.step_costs import (
    Counted,
    counted,
    has_weights,
    swept_by_default,
    update_cost,
)
from minigan.inspection.step_graph import AS_DATA, BELOW, FROZEN
from minigan.inspection.step_marks import Span
from minigan.inspection.work import Cost
from minigan.nn.layers import Conv2D, Layer
from minigan.nn.network.combinators import Block
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.lazily_regularized import LazilyRegularized
from minigan.training.learner import Learner

__all__ = ["Rows"]

DRAWN, AVERAGE = "the batch and G's fakes", "the moving average"
STEP, REAL, FAKE, PENALTY, G_STEP = "forward and backward", "D on real", "D on fake", "penalty", "G"
PATH_LENGTH = "path length"
JOINED = "D on real and fake"  # as one batch, see `minigan.training.joined`
NO_INPUT = "nothing below the first layer has weights"
ZEROS = "every layer is piecewise linear: no layer gives a dP/dx, where PyTorch hands zeros on"
LINEAR_ABOVE = "no dP/dx comes from the layers above"
ONLY_VALUES = "G's loss compares with these logits, and their gradient is D's alone"
NOT_DUE = "the penalty is due in one of {interval} steps of D"
LAYERS = "all layers"
WALKS = ("forward", "backward", "backward_recorded")  # passes that begin a walk through a network


class Rows:
    """Builds the rows of a step.

    Args:
        learner: that did it.
        root: the span of the whole step.
        marks: the number of marks.
    Attributes:
        rows: in order.
        owners: the row of each stretch between two marks, by the number of the first.
    """

    def __init__(self, learner: Learner, root: Span, marks: int) -> None:
        self.learner = learner
        self.rows: list[Row] = []
        self.owners: list[Row] = []
        self.facts = PassFacts(learner.G.kernels)
        self._by_key: dict[tuple[str, ...], Row] = {}
        self._walks = dict.fromkeys(WALKS, 0)
        self._update = ""
        self._has_penalty = any(_has(span, "penalty") for span in root.inside)
        self._phase = self._at_top()
        self.owners = [self._between(self._phase)] * (marks - 1)
        self._spread(root)
        for row in self.rows:
            row.times = max(row.times, 1)

    def _at_top(self) -> str:
        return DRAWN if isinstance(self.learner, AlternatingOptimizer) else STEP

    # ------------------------------------------------------------------------------------------ time

    def _own(self, first: int, last: int, row: Row) -> None:
        self.owners[first:last] = [row] * (last - first)

    def _spread(self, span: Span) -> None:
        """Gives the time of a span that is no pass to the spans in it, and the time between to the next one's phase."""
        here = span.first
        for inner in span.inside:
            if inner.kind == "kernel":  # of a loss or an optimizer
                continue
            row = self._enter(inner)
            self._own(here, inner.first, self._between(self._phase))
            if row is not None:
                self._own(inner.first, inner.last, row)
            self._into(inner)
            here = inner.last
        if span.kind not in ("batch", "optimizer", "average"):
            self._own(here, span.last, self._between(self._phase))
        self._leave(span)

    def _enter(self, span: Span) -> Row | None:
        """Sets the phase of a span; gives the row that its own time belongs to, if it is no pass."""
        if span.kind == "update":
            self._update, self._walks = span.name, dict.fromkeys(WALKS, 0)
            self._phase = self._phase_of_update(span)
        elif span.kind == "penalty":
            self._phase = PENALTY
        elif span.kind == "optimizer":
            return self._optimizer(span)
        elif span.kind == "average":
            self._phase = AVERAGE
            return self._row(AVERAGE, "", span.name, "update", algorithm="ema_step", cost=self._average_cost(span.name))
        elif span.kind == "batch":
            return self._row(self._phase, "", "made on the host", "batch")
        elif span.kind == "pass":
            self._walk(span)
        return None

    def _phase_of_update(self, span: Span) -> str:
        if not isinstance(self.learner, AlternatingOptimizer):
            return STEP
        if self._update != "D":
            return PATH_LENGTH if _is_second_order(span) else G_STEP
        passes = [inner for inner in span.inside if inner.kind == "pass" and inner.name == "forward"]
        return JOINED if sum(inner.network.layers[0] in inner.layers for inner in passes) == 1 else REAL

    def _walk(self, span: Span) -> None:
        """Notices a new walk through D: the first is on real, the second on fake, unless there is one on both."""
        if span.name not in self._walks or self._phase in (PENALTY, JOINED):
            return
        first = span.name == "forward"
        if (span.network.layers[0] if first else span.network.layers[-1]) in span.layers:
            self._walks[span.name] += 1
        if self._update == "D":
            self._phase = REAL if self._walks[span.name] <= 1 else FAKE

    def _into(self, span: Span) -> None:
        if span.kind == "pass":
            self._pass(span)
        else:
            self._spread(span)

    def _leave(self, span: Span) -> None:
        learner = self.learner
        if span.kind == "penalty":
            self._down_sweep(span)
        if span.kind != "update":
            return
        if isinstance(learner, AlternatingOptimizer):
            if self._update == "D" and learner.penalty is not None and not self._is_penalized(span):
                reason = NOT_DUE.format(interval=learner.penalty.interval)
                self._row(PENALTY, "", "D", "2nd", status=SKIPPED, reason=reason)
            if self._update == "D":
                self._as_data()
            elif self._walks["forward"] > self._walks["backward"] and not _is_second_order(span):
                self._only_values()
        self._update, self._phase = "", self._at_top()

    def _is_penalized(self, update: Span) -> bool:
        """Whether D's penalty is in an update, in passes of its own or those of the loss, or in one of its own."""
        apart = isinstance(self.learner, LazilyRegularized) and self._has_penalty
        return apart or _has(update, "penalty") or _is_second_order(update)

    # ------------------------------------------------------------------------------------------ passes

    def _pass(self, span: Span) -> None:
        """The rows of a pass, each with its part of the time: until its last kernel ends."""
        rows = self._rows_of_pass(span)
        first = next(iter(rows.values()))
        here, row = span.first, first
        for inner in span.inside:
            if inner.kind == "kernel":
                row = self._row_of_kernel(span, inner.name, rows)
                self._own(here, inner.last, row)
            else:
                self._own(here, inner.first, row)
                self._walk_inside(inner)
            here = inner.last
        self._own(here, span.last, row)
        self._after_pass(span)

    def _walk_inside(self, inner: Span) -> None:
        if inner.kind == "pass":
            self._pass(inner)
        else:
            self._spread(inner)

    def _rows_of_pass(self, span: Span) -> dict[tuple[int, str], Row]:
        """Rows by the number of the layer in the pass and the operation."""
        found: dict[tuple[int, str], Row] = {}
        kernels = [inner.name for inner in span.inside if inner.kind == "kernel"]
        joined = [name for name in kernels if "_leaky_relu" in name]
        order = range(len(span.layers)) if span.name in ("forward", "double_backward", "extended") else None
        for index in order or reversed(range(len(span.layers))):
            layer = span.layers[index]
            for operation, passes in self.facts.operations(span, index).items():
                cost = self.facts.cost(span, layer, passes)
                fused = index == 1 and bool(joined)
                row = self._row(
                    self._phase,
                    layer.path,
                    self.facts.label(layer),
                    operation,
                    status=FUSED if fused else RUN,
                    reason=self.facts.why_fused(joined) if fused else "",
                    algorithm=f"with {place_in_network(span.layers[0])}"
                    if fused
                    else self.facts.algorithm(span, layer, operation),
                    shapes=self.facts.shapes(layer, operation, span.shapes[0][0]),
                    cost=Cost(cost.cost.flops) if fused else cost.cost,
                    products=cost.products,
                    default=self.facts.default(span, layer, cost),
                )
                if not fused:
                    found[index, operation] = row
        return found

    def _row_of_kernel(self, span: Span, kernel: str, rows: Mapping[tuple[int, str], Row]) -> Row:
        """The row that a kernel's time belongs to."""
        own = {operation: row for (index, operation), row in rows.items() if index == 0}
        layer = span.layers[0]
        if len(span.layers) > 1 and kernel in ("leaky_relu", "leaky_relu_grad"):
            return next((row for (index, _), row in rows.items() if index == 1), next(iter(own.values())))
        if isinstance(layer, Conv2D) and "dx" in own and kernel == layer.PASSES[1]:
            return own["dx"]
        return next(iter(own.values()))

    # ------------------------------------------------------------------------------------------ what is left out

    def _after_pass(self, span: Span) -> None:
        """Rows of what a backward pass leaves out of its layers."""
        if span.name != "backward":
            return
        for index, layer in enumerate(span.layers):
            if not span.with_grads and has_weights(layer):
                cost = self.facts.cost(span, layer, ("dw",))
                self._skip(layer, "dw", FROZEN, cost, default=cost)
            if not span.with_result and index == 0 and not isinstance(layer, Block):
                self._skip(layer, "dx", NO_INPUT, self.facts.cost(span, layer, ("dx",)))
        network = span.network
        if span.with_result or span.layers[0] not in network.layers:
            return
        for layer in network.layers[: network.layers.index(span.layers[0])]:
            if (cost := self.facts.cost(span, layer, ("dx",))).cost.flops:
                self._skip(layer, "dx", BELOW, cost)

    def _skip(self, layer: Layer, operation: str, reason: str, cost: Counted, default: Counted | None = None) -> None:
        self._row(
            self._phase,
            layer.path,
            self.facts.label(layer),
            operation,
            status=SKIPPED,
            reason=reason,
            shapes=self.facts.shapes(layer, operation, 0),
            cost=cost.cost,
            products=cost.products,
            default=default or Counted(),
        )

    def _as_data(self) -> None:
        """G's backward pass, which D's step does not need."""
        cost = self.facts.whole(self.learner.G.walk(), "dx", "dw")
        self._row(
            DRAWN, "", f"G, {LAYERS}", "dx dw", status=SKIPPED, reason=AS_DATA, cost=cost.cost, products=cost.products
        )

    def _only_values(self) -> None:
        """D's backward pass on real images in G's step, for a loss that compares."""
        D = self.learner.networks["D"]
        cost = self.facts.whole(D.walk(), "dx", "dw")
        first = next((layer for layer in D.layers if has_weights(layer)), D.layers[0])
        below = counted(first, self.facts.examples[first.path], "dx")
        default = Counted(Cost(cost.cost.flops - below.cost.flops), cost.products - below.products)
        self._row(
            G_STEP,
            "",
            f"D on real, {LAYERS}",
            "dx dw",
            status=SKIPPED,
            reason=ONLY_VALUES,
            cost=cost.cost,
            products=cost.products,
            default=default,
        )

    def _down_sweep(self, span: Span) -> None:
        """The part of the second backward pass that a default engine does beyond what was done."""
        ran = {layer.path for each in _passes(span, "double_backward_down") for layer in each.layers}
        networks = {id(each.network): each.network for each in span.inside if each.kind == "pass"}
        missing = [
            layer for net in networks.values() for layer in swept_by_default(net.layers) if layer.path not in ran
        ]
        whole = self.facts.whole(((layer.path, layer) for layer in missing), "dx", "dw")
        if whole.cost.flops:
            self._row(
                PENALTY,
                "",
                "D, down-sweep",
                "dx dw",
                status=SKIPPED,
                reason=LINEAR_ABOVE if ran else ZEROS,
                cost=whole.cost,
                products=whole.products,
                default=whole,
            )

    # ------------------------------------------------------------------------------------------ rows

    def _optimizer(self, span: Span) -> Row:
        optimizer = self.learner.optimizers[span.name]
        name = next(n for n, network in self.learner.networks.items() if network.arena is optimizer.arena)
        self._phase = f"{name}'s update"
        kernels = dict.fromkeys(inner.name for inner in span.inside)
        algorithm, cost = ", ".join(kernels) or type(optimizer).__name__, update_cost(optimizer)
        shapes = ((len(optimizer.arena),),)
        return self._row(
            self._phase, "", f"{name}, all weights", "update", algorithm=algorithm, cost=cost, shapes=shapes
        )

    def _average_cost(self, name: str) -> Cost:
        arena = self.learner.networks[name].arena
        return Cost(3 * len(arena), 2 * arena.flat.nbytes, arena.flat.nbytes)

    def _between(self, phase: str) -> Row:
        return self._row(phase, "", "losses, checks, copies", BETWEEN, count=False)

    def _row(
        self,
        phase: str,
        layer: str,
        label: str,
        operation: str,
        *,
        status: str = RUN,
        reason: str = "",
        algorithm: str = "",
        shapes: tuple[tuple[int, ...], ...] = (),
        cost: Cost = Cost(),  # noqa: B008 (immutable)
        products: int = 0,
        default: Counted | None = None,
        count: bool = True,
    ) -> Row:
        """The row of these, once more: costs are added."""
        key = (phase, layer, label, operation, status)
        row = self._by_key.get(key)
        if row is None:
            row = self._by_key[key] = Row(phase, layer, label, operation, status, reason, algorithm, shapes)
            self.rows.append(row)
        if default is None:
            default = Counted(cost, products) if status != SKIPPED else Counted()
        row.cost, row.products, row.times = row.cost + cost, row.products + products, row.times + int(count)
        row.default, row.default_products = row.default + default.cost.flops, row.default_products + default.products
        return row


def _has(span: Span, kind: str) -> bool:
    return any(inner.kind == kind for inner in span.inside)


def _is_second_order(update: Span) -> bool:
    return any(next(_passes(update, name), None) is not None for name in ("double_backward", "extended"))


def _passes(span: Span, name: str) -> Iterator[Span]:
    """All passes of a kind in a span."""
    for inner in span.inside:
        if inner.kind == "pass" and inner.name == name:
            yield inner
        yield from _passes(inner, name)
