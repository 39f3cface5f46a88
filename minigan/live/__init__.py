"""Training as you watch: a page on this machine that shows a GAN as it learns, and stops, steps and changes it.

    recipe = minigan.get_recipe("mlp")(loss="non-saturating", mse_weight=0.0, lr=1e-3, instance_noise=0.0, latent=2)
    config = minigan.runs.config.new_config(recipe, data="ring")
    minigan.live.go_live(config)        # until Ctrl-C; then the run is saved

Everything on the page comes from the run itself: the frames from its networks, slow motion from the engine's own calls,
and a step back from doing the steps before it again, bit for bit.
"""

from minigan.live.commands import Command, read_command
from minigan.live.journal import Note, read_notes
from minigan.live.live_run import LiveRun
from minigan.live.serving import Ended, go_live
from minigan.live.session import Session

__all__ = ["Command", "Ended", "LiveRun", "Note", "Session", "go_live", "read_command", "read_notes"]


def __dir__() -> list[str]:
    return sorted(__all__)
