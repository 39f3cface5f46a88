"""What `--help` says beside the options: what a command does, examples, and the exit codes."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["EXIT_CODES", "USAGE", "Usage"]

EXIT_CODES = """\
exit codes:
  0    done
  1    a bug in minigan: please report its traceback
  2    something that you can mend: a line on standard error says what
  3    training diverged
  130  interrupted by Ctrl-C"""


class Usage(NamedTuple):
    """Of one command.

    Attributes:
        description: what it does.
        examples: command lines, with remarks behind #.
        json: what `--json` prints, or "" where there is no such option.
        quiet: whether there is `--quiet`: the command's work is files, or its exit code.
    """

    description: str
    examples: str
    json: str = ""
    quiet: bool = False


USAGE: Mapping[str, Usage] = {
    "train": Usage(
        "Trains a GAN, and leaves a run folder with all that is needed to go on and to draw.",
        """\
minigan train                                 # a DCGAN on digits, two minutes
minigan train dcgan --data cifar10.zip --steps 5000
minigan train dcgan --set loss=hinge d_norm=spectral
minigan train --resume runs/dcgan-digits-1 --steps 8000
minigan train --json | jq .g_loss""",
        "each record of the log, and at last what was done",
        quiet=True,
    ),
    "sample": Usage(
        "Draws samples, or the density of points; from image to image source, output, target.",
        """\
minigan sample runs/dcgan-digits-1
minigan sample runs/dcgan-digits-1 --count 100 --seed 7 --out hundred.png
minigan sample runs/dcgan-digits-2 --class 7  # of a GAN that was told classes""",
        "what was drawn, and the file",
        quiet=True,
    ),
    "translate": Usage(
        "Translates every picture of a folder into a PNG.",
        "minigan translate runs/pix2pix-pairs-1 photos --out maps",
        "how many pictures, and the folder",
        quiet=True,
    ),
    "evaluate": Usage(
        "Compares samples with the data, and writes evaluation.json and evaluation.png.",
        """\
minigan evaluate runs/dcgan-digits-1
minigan evaluate runs/dcgan-digits-1 --count 2000 --features pixels
minigan evaluate runs/dcgan-digits-1 --json | jq .figures""",
        "what evaluation.json holds",
        quiet=True,
    ),
    "export": Usage(
        "Writes a trained network for another program: NumPy alone, ONNX, or PyTorch.",
        """\
minigan export runs/dcgan-digits-1 --to numpy --out digits
minigan export runs/dcgan-digits-1 --to onnx --out digits.onnx
minigan export runs/dcgan-digits-1 --to torch --prefix main. --out netG.safetensors""",
        "what was written, and where",
        quiet=True,
    ),
    "import": Usage(
        "Makes a run of PyTorch networks' weights, to draw from and to train on.",
        """\
minigan import netG.safetensors
minigan import netG.safetensors --discriminator netD.safetensors --data cifar10.zip""",
        "the networks' origins, and the run folder",
        quiet=True,
    ),
    "recipes": Usage(
        "Lists the recipes, or explains one: its networks, its source, its settings.",
        """\
minigan recipes
minigan recipes dcgan --set size=32 channels=1
minigan recipes dcgan --json | jq .settings""",
        "names and summaries, or settings and networks",
    ),
    "info": Usage(
        "Tells what runs here: versions, backends, and which kernels are native to each.",
        """\
minigan info
minigan info --json | jq '.backends | keys'""",
        "the same",
    ),
    "bench": Usage(
        "Measures training steps and sampling on this machine.",
        """\
minigan bench
minigan bench dcgan32 dcgan64 --batch-size 128 --rounds 9
minigan bench mlp --backend reference --json""",
        "the backend and all measurements",
    ),
    "warmup": Usage(
        "Compiles all kernels now, so that the first training starts at once.",
        "minigan warmup",
        "the backend and the seconds it took",
        quiet=True,
    ),
    "gradcheck": Usage(
        "Checks every gradient and double gradient of a recipe against finite differences.",
        """\
minigan gradcheck
minigan gradcheck dcgan --set width=2 loss=hinge
minigan gradcheck mlp --data ring --quiet && echo right""",
        "each gradient with its error",
        quiet=True,
    ),
    "completion": Usage(
        "Prints a script that lets a shell complete commands, options, recipes and files.",
        """\
minigan completion bash > ~/.local/share/bash-completion/completions/minigan
minigan completion zsh > ~/.zfunc/_minigan    # with ~/.zfunc in fpath
minigan completion fish > ~/.config/fish/completions/minigan.fish""",
    ),
}
