"""Optimisers and schedules of learning rates, with PyTorch's arguments and results."""

from . import lr_scheduler as lr_scheduler
from .adadelta import Adadelta as Adadelta
from .adagrad import Adagrad as Adagrad
from .adam import Adam as Adam
from .adam import AdamW as AdamW
from .adamax import Adamax as Adamax
from .asgd import ASGD as ASGD
from .lbfgs import LBFGS as LBFGS
from .nadam import NAdam as NAdam
from .optimizer import Optimizer as Optimizer
from .optimizer import (
    register_optimizer_step_post_hook as register_optimizer_step_post_hook,
)
from .optimizer import (
    register_optimizer_step_pre_hook as register_optimizer_step_pre_hook,
)
from .radam import RAdam as RAdam
from .rmsprop import RMSprop as RMSprop
from .rprop import Rprop as Rprop
from .sgd import SGD as SGD
