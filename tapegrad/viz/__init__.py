"""The tape and the training, as pictures and text."""

from ._figures import learning_curves, misclassified, weight_images
from ._program import Kept, Line, program, tape_text

__all__ = ["Kept", "Line", "learning_curves", "misclassified", "program", "tape_text", "weight_images"]
