"""The small procedural world the bundled reference model was trained on, and is tested in.

Pure Python, no model: each module generates the problems of one ability, and `split_of` decides once and for all
which of them may train, select layers, calibrate or evaluate.
"""

from layerlimits.reference.world.problem import Problem, Split, draw, split_of

__all__ = ["Problem", "Split", "draw", "split_of"]
