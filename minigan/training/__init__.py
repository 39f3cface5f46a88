"""One step of training, and the loop around it: learners, the trainer, moving averages and samples."""

from minigan.data.pictures import to_pixels
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch
from minigan.training.cycle_consistent import CycleConsistent, CycleValues, Sides
from minigan.training.exhibit import Exhibit, RoundTrips, render, save_picture
from minigan.training.fake_pool import FakePool
from minigan.training.generator_term import GeneratorTerm
from minigan.training.gradient_norms import gradient_norms
from minigan.training.instance_noise import InstanceNoise
from minigan.training.learner import Learner, Values
from minigan.training.listeners import Listener, Step, Training
from minigan.training.moving_average import HalfLife, MovingAverage
from minigan.training.rhythm import Keep, Rhythm
from minigan.training.sampling import generate
from minigan.training.state import TrainingState
from minigan.training.step_values import DiscriminatorValues, GeneratorValues, StepValues
from minigan.training.supervised import Supervised
from minigan.training.trainer import Trainer
from minigan.training.variational import VariationalAutoencoder

__all__ = [
    "AlternatingOptimizer",
    "Batch",
    "CycleConsistent",
    "CycleValues",
    "DiscriminatorValues",
    "Exhibit",
    "FakePool",
    "GeneratorTerm",
    "GeneratorValues",
    "HalfLife",
    "InstanceNoise",
    "Keep",
    "Learner",
    "Listener",
    "MovingAverage",
    "Rhythm",
    "RoundTrips",
    "Sides",
    "Step",
    "StepValues",
    "Supervised",
    "Trainer",
    "Training",
    "TrainingState",
    "Values",
    "VariationalAutoencoder",
    "generate",
    "gradient_norms",
    "render",
    "save_picture",
    "to_pixels",
]


def __dir__() -> list[str]:
    return sorted(__all__)
