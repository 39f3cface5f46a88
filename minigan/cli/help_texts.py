"""Texts of `--help`: what a command does, examples, and the exit codes. The options' own are in `command_line`."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["EXIT_CODES", "USAGE", "Usage"]

EXIT_CODES = """\
exit codes:
  0    done
  1    a bug in minigan: please report its traceback
  2    an error that you can mend: a line on standard error names it
  3    training diverged
  130  interrupted by Ctrl-C"""


class Usage(NamedTuple):
    """Help texts of a command.

    Attributes:
        summary: what it does, in the list of commands.
        description: what it does, in its own help.
        examples: command lines, with remarks after #.
        json: what `--json` prints, or "" if the command has no such option.
        quiet: True if the command has `--quiet`: its result is files or its exit code.
    """

    summary: str
    description: str
    examples: str
    json: str = ""
    quiet: bool = False


USAGE: Mapping[str, Usage] = {
    "train": Usage(
        "train a GAN, by default a DCGAN on the embedded digits",
        "Trains a GAN and writes a run folder, with everything needed to resume and to draw samples.",
        """\
minigan train                                 # a DCGAN on digits, one to two minutes
minigan train dcgan --data cifar10.zip --steps 5000
minigan train dcgan --set loss=hinge d_norm=spectral
minigan train dcgan --data photos --set mirror=true augment=adaptive augment_over=100000     # few pictures
minigan train dcgan --set batch_size=16 accumulate=4                                         # little memory
minigan train --resume runs/dcgan-digits-1 --steps 8000
mpiexec -n 4 minigan train dcgan --data photos
minigan train dcgan --data photos --dry-run   # memory and time, before anything is trained
minigan train --log csv tensorboard --log-gradients 100
minigan train --json | jq .g_loss""",
        "each record of the log, and finally a summary",
        quiet=True,
    ),
    "data": Usage(
        "show what a source of data holds, and check every file of it",
        "Shows what was found in a source of data, and what training would make of it.",
        """\
minigan data photos
minigan data cifar10.zip --check              # reads every file, lists all that are damaged
minigan data pairs --out preview.png          # a picture of some of them
minigan data photos --recipe sngan --set size=64
minigan data photos --data-b paintings         # both sides of unpaired data; so does --recipe cyclegan""",
        "everything that was found, in one object",
        quiet=True,
    ),
    "sample": Usage(
        "draw pictures with a trained generator",
        """\
Draws samples, the density of points, or for a generator from image to image: source, output, target.
--seed S draws --count samples from one stream of noise. --seeds draws the first sample of the stream of
each seed, which is the same whatever else the list names: --seeds 7 is what --seed 7 --count 1 draws.""",
        """\
minigan sample runs/dcgan-digits-1
minigan sample runs/dcgan-digits-1 --count 100 --seed 7 --out hundred.png
minigan sample runs/dcgan-digits-1 --seeds 1,5,9-12 --truncation .7
minigan sample runs/dcgan-digits-1 --walk 15 --seeds 1,5,9 --out walk.gif
minigan sample runs/dcgan-digits-2 --class 7  # of a GAN trained with classes
minigan sample runs/dcgan-digits-2 --grid-of-classes --seeds 1-8
minigan sample runs/dcgan-digits-2 --walk 15 --classes 3 5 8 --seed 2
minigan sample runs/stylegan2-digits-1 --mix 4x6 --truncation .7   # of a GAN with styles
minigan sample runs/dcgan-digits-1 --film film.png""",
        "a description of the samples, and the file",
        quiet=True,
    ),
    "project": Usage(
        "find the noise from which a trained generator draws a picture",
        """\
Finds the z from which a trained generator draws a picture most like a given one, and says how near it came.
Writes both side by side, and z, its class and the images to an .npz file. Of a GAN with styles it finds w.""",
        """\
minigan project runs/dcgan-digits-1 seven.png
minigan project runs/dcgan-digits-2 seven.png --class 7 --starts 16 --steps 600
minigan project runs/dcgan-digits-1 seven.png --features pixels --z seven.npy""",
        "how near it came, and the files",
        quiet=True,
    ),
    "translate": Usage(
        "translate a folder of pictures with a trained generator",
        "Translates every picture in a folder to a PNG.",
        "minigan translate runs/pix2pix-pairs-1 photos --out maps",
        "the number of pictures, and the folder",
        quiet=True,
    ),
    "evaluate": Usage(
        "measure how near a trained generator is to its data",
        "Compares samples with the data and writes evaluation.json and evaluation.png.",
        """\
minigan evaluate runs/dcgan-digits-1
minigan evaluate runs/dcgan-digits-1 --count 2000 --features pixels
minigan evaluate runs/dcgan-digits-1 --json | jq .figures""",
        "the content of evaluation.json",
        quiet=True,
    ),
    "export": Usage(
        "write a trained network for another program",
        "Writes a trained network for another program: NumPy alone, ONNX, C, PyTorch, or a web page.",
        """\
minigan export runs/dcgan-digits-1 --to numpy --out digits
minigan export runs/dcgan-digits-1 --to onnx --out digits.onnx
minigan export runs/dcgan-digits-1 --to c --weights int8 --out digits.h
minigan export runs/dcgan-digits-1 --to html --out digits.html
minigan export runs/dcgan-digits-1 --to torch --prefix main. --out netG.safetensors""",
        "the network, the format and the file",
        quiet=True,
    ),
    "import": Usage(
        "make a run from a PyTorch network's weights",
        "Makes a run from the weights of PyTorch networks, to draw samples or to train further.",
        """\
minigan import netG.safetensors
minigan import netG.safetensors --discriminator netD.safetensors --data cifar10.zip
minigan import g_ab.safetensors --recipe cyclegan --networks G_BA=g_ba.safetensors D_A=d_a.safetensors""",
        "the networks' origins, and the run folder",
        quiet=True,
    ),
    "explain": Usage(
        "explain a recipe, a run, a layer, a loss, an optimizer or a kernel",
        "Explains a network layer by layer, one real step, or one thing with its mathematics and a checked example.",
        """\
minigan explain                               # what can be explained
minigan explain dcgan --set loss=hinge d_norm=spectral
minigan explain runs/dcgan-digits-1 --html dcgan.html
minigan explain conv2d
minigan explain wgan-gp --json | jq .example.checks
minigan explain runs/dcgan-digits-1 --step --trace step.json""",
        "the same, with exact numbers",
    ),
    "inspect": Usage(
        "see how healthy a run is, and which setting to change",
        "Does one step of a run again, exactly, and judges each layer of G and D, and their game.",
        """\
minigan inspect runs/dcgan-digits-1
minigan inspect runs/dcgan-digits-1 --step 501 --out gradients.png
minigan inspect runs/dcgan-photos-1 --held-out other_photos
minigan inspect runs/dcgan-digits-1 --compare runs/dcgan-digits-2
minigan inspect runs/dcgan-digits-1 --json | jq .verdict""",
        "all measures, and the verdict",
    ),
    "report": Usage(
        "write one HTML file on a run, or on two laid over each other",
        "Writes a page that works from disk: curves and how to read them, pictures, inspection, ledger, settings.",
        """\
minigan report runs/dcgan-digits-1
minigan report runs/dcgan-digits-1 --quick --out report.html
minigan report runs/dcgan-digits-1 runs/dcgan-digits-2 --out both.html""",
        "the file, the verdict, and what the report lacks",
        quiet=True,
    ),
    "live": Usage(
        "watch a GAN learn on a page of this machine: stop it, step it, change it, go back",
        "Trains while a page shows D, G and their game, and steers them. Ctrl-C ends it and saves the run.",
        """\
minigan live                                  # two small networks on a ring of eight modes
minigan live --data grid
minigan live --data digits                    # a DCGAN: fakes, activations of any layer, D's pull on each fake
minigan live --set loss=minimax --compare loss=non-saturating penalty=r1
minigan live --no-browser --port 8000""",
        "the run folders, and the step at which it ended",
        quiet=True,
    ),
    "card": Usage(
        "write a model card of a run",
        "Writes a model card in Markdown: data, settings, training, figures, limits; from the run's folder alone.",
        """\
minigan card runs/dcgan-digits-1
minigan card runs/dcgan-digits-1 --out digits/README.md     # with a copy of the newest sample picture""",
        "the files, and what the run does not tell",
        quiet=True,
    ),
    "recipes": Usage(
        "list the recipes, or explain one",
        "Lists the recipes, or explains one: its networks, its source, its settings.",
        """\
minigan recipes
minigan recipes dcgan --set size=32 channels=1
minigan recipes dcgan --json | jq .settings""",
        "names and summaries, or settings and networks",
    ),
    "info": Usage(
        "show versions, backends and kernels on this machine",
        "Shows what runs on this machine: versions, backends, and the native kernels of each.",
        """\
minigan info
minigan info --json | jq '.backends | keys'""",
        "the same",
    ),
    "bench": Usage(
        "measure the speed of training and sampling",
        "Measures the speed of training steps and sampling on this machine.",
        """\
minigan bench
minigan bench dcgan32 dcgan64 --batch-size 128 --rounds 9
minigan bench mlp --backend reference --json""",
        "the backend and all measurements",
    ),
    "warmup": Usage(
        "compile all kernels now, so that the first training starts at once",
        "Compiles all kernels now, so that the first training starts at once.",
        "minigan warmup",
        "the backend and the seconds it took",
        quiet=True,
    ),
    "gradcheck": Usage(
        "check every gradient of a recipe against finite differences",
        "Checks every gradient and double gradient of a recipe against finite differences.",
        """\
minigan gradcheck
minigan gradcheck dcgan --set width=2 loss=hinge
minigan gradcheck mlp --data ring --quiet && echo right""",
        "each gradient with its error",
        quiet=True,
    ),
    "completion": Usage(
        "print a script for a shell's completion by Tab",
        "Prints a script with which a shell completes commands, options, recipes and files.",
        """\
minigan completion bash > ~/.local/share/bash-completion/completions/minigan
minigan completion zsh > ~/.zfunc/_minigan    # with ~/.zfunc in fpath
minigan completion fish > ~/.config/fish/completions/minigan.fish""",
    ),
}
