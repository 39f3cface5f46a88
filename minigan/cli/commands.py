"""The commands of the command line by name: functions from parsed arguments to an exit code."""

import argparse
from collections.abc import Callable, Mapping

from minigan.cli.bench import bench, warmup
from minigan.cli.card import card
from minigan.cli.data import data
from minigan.cli.evaluate import evaluate
from minigan.cli.explain import explain_topic
from minigan.cli.export_run import export_run
from minigan.cli.gradcheck import gradcheck
from minigan.cli.import_run import import_run
from minigan.cli.info import info
from minigan.cli.inspect import inspect_health
from minigan.cli.live import live
from minigan.cli.project import project
from minigan.cli.recipes import recipes
from minigan.cli.report import report
from minigan.cli.sample import sample
from minigan.cli.shell_completion import completion
from minigan.cli.train import train
from minigan.cli.translate import translate

__all__ = ["COMMANDS"]

COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "data": data,
    "sample": sample,
    "project": project,
    "translate": translate,
    "evaluate": evaluate,
    "export": export_run,
    "import": import_run,
    "explain": explain_topic,
    "inspect": inspect_health,
    "report": report,
    "live": live,
    "card": card,
    "recipes": recipes,
    "info": info,
    "bench": bench,
    "warmup": warmup,
    "gradcheck": gradcheck,
    "completion": completion,
}
