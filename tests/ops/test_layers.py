"""The products of layers: what the sweep cannot know of their shapes."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import ShapeError


def test_attention_without_features_is_the_mean_of_the_values():
    v = tg.tensor([[1.0], [2.0], [6.0]], requires_grad=True)
    y = tg.scaled_dot_product_attention(np.ones((2, 0)), np.ones((3, 0)), v)
    y.sum().backward()
    assert np.allclose(y.data, 3.0)
    assert np.allclose(v.grad.data, 2 / 3)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 5), (5, 1), (2,)])
def test_masks_of_attention_broadcast_to_the_scores(shape):
    q, k, v = np.ones((4, 3)), np.ones((5, 3)), np.ones((5, 2))
    for mask in (np.ones(shape, bool), np.zeros(shape)):
        with pytest.raises(ShapeError, match=r"a mask of shape .*, expected one that broadcasts to \(4, 5\)"):
            tg.scaled_dot_product_attention(q, k, v, mask)
    for fits in ((4, 5), (5,), (1, 5), (4, 1), (1,), ()):
        assert tg.scaled_dot_product_attention(q, k, v, np.ones(fits, bool)).shape == (4, 2)
