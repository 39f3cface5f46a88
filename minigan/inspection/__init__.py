"""Networks, layers and losses explained: mathematics, counts, code, and worked examples, checked as they are made.

    document = minigan.inspection.explain("dcgan")      # a recipe, a layer, a loss ..., or the path of a run
    print(minigan.inspection.as_text(document))
    page = minigan.inspection.as_page(document)         # one HTML file
    document.record                                     # the same as numbers and texts

    document, ledger = minigan.inspection.measure_step("dcgan")     # one real step, operation by operation

    health = minigan.inspection.inspect_run("runs/dcgan-digits-1")     # a step done again: what hinders learning?
    print(minigan.inspection.as_text(minigan.inspection.inspection_document(health)))

    report = minigan.inspection.report_run("runs/dcgan-digits-1")      # one HTML file: curves, pictures, inspection
    report.page

    print(minigan.inspection.dry_run("dcgan", data="photos"))          # what a training would do
    print(minigan.inspection.card_of_run("runs/dcgan-digits-1").text)  # a model card

A layer, loss or optimizer of your own joins with `describe`.
"""

from minigan.inspection.card import Card, card_of_run
from minigan.inspection.document import Document
from minigan.inspection.dry_training import DryRun, dry_run
from minigan.inspection.explanation import contents, explain
from minigan.inspection.game_health import GameHealth
from minigan.inspection.health_checks import Check, StepHealth
from minigan.inspection.health_limits import LIMITS, Limit
from minigan.inspection.inspecting import Inspection, inspect_run
from minigan.inspection.inspection_document import comparison_document, inspection_document
from minigan.inspection.layer_health import LayerHealth
from minigan.inspection.layer_trials import LayerTrial
from minigan.inspection.ledger import Ledger, Row
from minigan.inspection.loss_trials import FunctionTrial, LossTrial, PenaltyTrial
from minigan.inspection.measured_step import measure_step
from minigan.inspection.optimizer_trials import OptimizerTrial
from minigan.inspection.page import as_page
from minigan.inspection.receptive_field import Span, reach, receptive_fields
from minigan.inspection.replay import Replay, replayed
from minigan.inspection.report import Report, report_run
from minigan.inspection.terminal import as_text, terminal_width
from minigan.inspection.theory import Theory, describe
from minigan.inspection.trace import as_trace
from minigan.inspection.trials import Trial, Worked
from minigan.inspection.work import Cost, Work, work_of

__all__ = [
    "LIMITS",
    "Card",
    "Check",
    "Cost",
    "Document",
    "DryRun",
    "FunctionTrial",
    "GameHealth",
    "Inspection",
    "LayerHealth",
    "LayerTrial",
    "Ledger",
    "Limit",
    "LossTrial",
    "OptimizerTrial",
    "PenaltyTrial",
    "Replay",
    "Report",
    "Row",
    "Span",
    "StepHealth",
    "Theory",
    "Trial",
    "Work",
    "Worked",
    "as_page",
    "as_text",
    "as_trace",
    "card_of_run",
    "comparison_document",
    "contents",
    "describe",
    "dry_run",
    "explain",
    "inspect_run",
    "inspection_document",
    "measure_step",
    "reach",
    "receptive_fields",
    "replayed",
    "report_run",
    "terminal_width",
    "work_of",
]


def __dir__() -> list[str]:
    return sorted(__all__)
