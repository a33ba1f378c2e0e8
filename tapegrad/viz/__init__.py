"""The tape and the training, as pictures and text."""

from ._figures import learning_curves, misclassified, weight_images
from ._profile import Cost, Profile, profile
from ._program import Kept, Line, Program, Tape, program, tape

__all__ = [
    "Cost",
    "Kept",
    "Line",
    "Profile",
    "Program",
    "Tape",
    "learning_curves",
    "misclassified",
    "profile",
    "program",
    "tape",
    "weight_images",
]
