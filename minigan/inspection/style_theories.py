"""The mathematics of layers of generators with styles, worked out."""

import numpy as np

from minigan.inspection.layer_trials import LayerTrial
from minigan.inspection.theory import Theory, describe
from minigan.nn.layers import (
    ConditionalAffine,
    Conv2D,
    Dense,
    LearnedConstant,
    Modulated,
    NoiseInjection,
    Tanh,
    UpSampling2D,
)
from minigan.nn.network.styled import Styled
from minigan.nn.network.synthesis import OutputSkips

__all__: list[str] = []

LINEAR = "dP/dx = 0: backward does not depend on x"

describe(
    Modulated,
    Theory(
        "Scales the input channels of a convolution's filter by a style of each image, and the filter to length 1.",
        forward=("s = A c + b + 1", "u = conv2d(x s, w)", "y = d u,  d = (s^2 q + eps)^(-1/2),  q = sum_rs w^2"),
        backward=(
            "t = conv2d_input_grad(d dy),  dx = s t",
            "de = -d^3 sum(dy u) / 2,  ds = sum(t x) + 2 s (de q'),  the sums over pixels",
            "dw = conv2d_weight_grad(x s, d dy) + 2 w (s^2' de),  dA = c' ds,  dc = ds A'",
        ),
        double_backward=(
            "t1 = v s + x b,  u1 = conv2d(t1, w),  e1 = 2 (s b) q,  d1 = -d^3 e1 / 2,  with b = dP/d(ds)",
            "dP/d(dy) = d u1 + d1 u",
            "dP/dx = b t + s conv2d_input_grad(d1 dy); 0 with the style held fixed, b = 0",
        ),
        remark="One convolution for all images, in place of one with a filter of its own for each.",
        source="Karras et al. 2020 (StyleGAN2), equations 1 to 3",
    ),
    example=lambda: LayerTrial(
        Modulated(Conv2D(1, 3, bias=False), 2), (3, 3, 1), batch_size=2, condition=np.array([[1.0, 0], [0, 0.5]])
    ),
)
describe(
    LearnedConstant,
    Theory(
        "Is the same learned array for each example: images of all styles start from it.",
        forward=("y[n] = c",),
        backward=("dx = 0", "dc = sum_n dy[n]"),
        double_backward=("dP/d(dy) = 0", LINEAR),
        source="Karras et al. 2019, section 2",
    ),
    example=lambda: LayerTrial(LearnedConstant((2, 2, 1)), (2,), batch_size=2),
)
describe(
    NoiseInjection,
    Theory(
        "Adds noise to an image, as strong as it learns: detail that is different in each picture of a style.",
        forward=("y = x + strength n,  n ~ N(0, 1), one number for all channels of a pixel",),
        backward=("dx = dy", "dstrength = sum(dy n)"),
        double_backward=("dP/d(dy) = v", LINEAR),
        remark="In evaluation n is one image for all, drawn once.",
        source="Karras et al. 2019, section 2",
    ),
    example=lambda: LayerTrial(NoiseInjection(), (3, 3, 1)),
)
describe(
    Styled,
    Theory(
        "Gives its layers their own input as condition: a synthesis network, whose input is a style.",
        forward=("y = f(x | x)",),
        backward=("dx = f's dx + the sum of what f's layers send to their condition",),
        double_backward=("dP/d(dy) = f's, with v as the tangent of x and of the condition", "dP/dx = f's, both added"),
        source="Karras et al. 2019, section 2",
    ),
    example=lambda: LayerTrial(Styled([Dense(2), ConditionalAffine(3)]), (3,), batch_size=2, scale=0.9),
)
describe(
    OutputSkips,
    Theory(
        "Draws an image at each size, and adds them up, each enlarged to the next one's size.",
        forward=("h_k = f_k(h_(k-1))", "y_k = up(y_(k-1)) + g_k(h_k)"),
        backward=("dh_k = g_k's dx + f_(k+1)'s dx", "dy_(k-1) = up's dx"),
        double_backward=("dP/d(dy) = the same sum of the parts'", "dP/dx = the parts', by backward"),
        source="Karras et al. 2020 (StyleGAN2), figure 7b",
    ),
    example=lambda: LayerTrial(
        OutputSkips([([Tanh()], [Conv2D(1, 1)]), ([UpSampling2D(2)], [Conv2D(1, 1)])], enlarge=UpSampling2D),
        (2, 2, 1),
        scale=0.9,
    ),
)
