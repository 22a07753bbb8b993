"""The procedurally generated world on which the bundled reference model is trained and evaluated.

Pure Python without a model: each module generates the problems of one ability, and `split_of` assigns each problem
permanently to training, layer selection, calibration or evaluation.
"""

from layerlimits.reference.world.problem import Problem, Split, draw, split_of

__all__ = ["Problem", "Split", "draw", "split_of"]
