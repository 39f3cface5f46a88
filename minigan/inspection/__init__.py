"""Networks, layers and losses explained: mathematics, counts, code, and worked examples, checked as they are made.

    document = minigan.inspection.explain("dcgan")      # a recipe, a layer, a loss ..., or the path of a run
    print(minigan.inspection.as_text(document))
    page = minigan.inspection.as_page(document)         # one HTML file
    document.record                                     # the same as numbers and texts

    document, ledger = minigan.inspection.measure_step("dcgan")     # one real step, operation by operation

A layer, loss or optimizer of your own joins with `describe`.
"""

from minigan.inspection.document import Document
from minigan.inspection.explanation import contents, explain
from minigan.inspection.layer_trials import LayerTrial
from minigan.inspection.ledger import Ledger, Row
from minigan.inspection.loss_trials import FunctionTrial, LossTrial, PenaltyTrial
from minigan.inspection.measured_step import measure_step
from minigan.inspection.optimizer_trials import OptimizerTrial
from minigan.inspection.page import as_page
from minigan.inspection.receptive_field import Span, reach, receptive_fields
from minigan.inspection.terminal import as_text, terminal_width
from minigan.inspection.theory import Theory, describe
from minigan.inspection.trace import as_trace
from minigan.inspection.trials import Trial, Worked
from minigan.inspection.work import Cost, Work, work_of

__all__ = [
    "Cost",
    "Document",
    "FunctionTrial",
    "LayerTrial",
    "Ledger",
    "LossTrial",
    "OptimizerTrial",
    "PenaltyTrial",
    "Row",
    "Span",
    "Theory",
    "Trial",
    "Work",
    "Worked",
    "as_page",
    "as_text",
    "as_trace",
    "contents",
    "describe",
    "explain",
    "measure_step",
    "reach",
    "receptive_fields",
    "terminal_width",
    "work_of",
]


def __dir__() -> list[str]:
    return sorted(__all__)
