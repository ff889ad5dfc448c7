"""Schedules of learning rates: what `optim.lr_scheduler` offers."""

from .schedule import LRScheduler as LRScheduler
from .schedule_chains import ChainedScheduler as ChainedScheduler
from .schedule_chains import SequentialLR as SequentialLR
from .schedule_cycles import CosineAnnealingLR as CosineAnnealingLR
from .schedule_cycles import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from .schedule_cycles import CyclicLR as CyclicLR
from .schedule_cycles import OneCycleLR as OneCycleLR
from .schedule_decays import ConstantLR as ConstantLR
from .schedule_decays import ExponentialLR as ExponentialLR
from .schedule_decays import LambdaLR as LambdaLR
from .schedule_decays import LinearLR as LinearLR
from .schedule_decays import MultiplicativeLR as MultiplicativeLR
from .schedule_decays import MultiStepLR as MultiStepLR
from .schedule_decays import PolynomialLR as PolynomialLR
from .schedule_decays import StepLR as StepLR
from .schedule_plateau import ReduceLROnPlateau as ReduceLROnPlateau
