"""The mathematics of the layers and combinators, with a worked example of each."""

import numpy as np

from minigan.inspection.theory import Theory, describe
from minigan.inspection.trials import LayerTrial
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalSumPooling2D,
    GroupNorm,
    InnerProduct,
    InstanceNorm,
    LayerNorm,
    LeakyReLU,
    Maxout,
    MinibatchStdDev,
    PixelShuffle,
    ReLU,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import Color, Cutout, Translation
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting

__all__: list[str] = []

AS_FORWARD = "dP/d(dy) = the same map of v: the layer is linear"
PIECEWISE = "dP/dx = 0: the slope is constant between the kinks"
LINEAR = "dP/dx = 0: backward does not depend on x"

# ------------------------------------------------------------------------------------------ with weights

describe(
    Dense,
    Theory(
        "Takes K weighted sums of all F inputs, with a weight for each pair.",
        forward=("y = x w + b,  x (N, F), w (F, K)",),
        backward=("dx = dy w'", "dw = x' dy", "db[k] = sum_n dy[n,k]"),
        double_backward=("dP/d(dy) = v w", "dP/dw = v' dy", LINEAR),
        source="Rumelhart, Hinton & Williams 1986, equations 1 to 6",
    ),
    example=lambda: LayerTrial(Dense(5), (5,), batch_size=3),
)
describe(
    Conv2D,
    Theory(
        "Slides K filters over the image: an output pixel is the weighted sum of the window under the filter.",
        forward=("y[n,p,q,k] = b[k] + sum_{r,s,c} w[r,s,c,k] x[n, p*stride+r-top, q*stride+s-left, c]",),
        backward=(
            "dx[n,i,j,c] = sum w[r,s,c,k] dy[n,p,q,k] over p*stride+r-top = i, q*stride+s-left = j",
            "dw[r,s,c,k] = sum_{n,p,q} x[n, p*stride+r-top, q*stride+s-left, c] dy[n,p,q,k]",
            "db[k] = sum_{n,p,q} dy[n,p,q,k]",
        ),
        double_backward=("dP/d(dy) = conv2d(v, w), without b", "dP/dw = the weight gradient of v and dy", LINEAR),
        remark="Its three passes are three kernels, and the gradients of each are the other two.",
        source="Dumoulin & Visin 2016, relationships 6 and 14",
    ),
    example=lambda: LayerTrial(Conv2D(1, 3), (5, 5, 1)),
)
describe(
    ConvTranspose2D,
    Theory(
        "Stamps the filter, weighted by each input pixel, into a larger image: a convolution's input gradient.",
        forward=("y[n,i,j,k] = b[k] + sum w[r,s,k,c] x[n,p,q,c] over p*stride+r-top = i, q*stride+s-left = j",),
        backward=(
            "dx = conv2d(dy, w): the convolution whose input gradient it is",
            "dw = that convolution's weight gradient, with dy as its input and x as its output's gradient",
            "db[k] = sum_{n,i,j} dy[n,i,j,k]",
        ),
        double_backward=(
            "dP/d(dy) = the transposed convolution of v, without b",
            "dP/dw = as dw, with v for x",
            LINEAR,
        ),
        remark="A filter that the stride does not divide covers some pixels more often: it draws checkerboards.",
        source="Dumoulin & Visin 2016, section 4",
    ),
    example=lambda: LayerTrial(ConvTranspose2D(1, 4, stride=2, padding=1), (3, 3, 1)),
)
describe(
    SpectralNorm,
    Theory(
        "Divides the weight of the layer inside by its largest singular value, so that it amplifies nothing.",
        forward=("y = f(x; w / sigma),  sigma = v' W u", "v <- W u / |W u|,  u <- W' v / |W' v|, once a step"),
        backward=("dx = f's, with w / sigma", "dw = (G - <G, w / sigma> v u') / sigma,  G = f's gradient of w / sigma"),
        double_backward=("dP/d(dy) = f's, with w / sigma", "dP/dw = (G - <G, w / sigma> v u') / sigma, G = f's dP/dw"),
        remark="u and v count as constants. At their limit, where the example is, that is the exact derivative.",
    ),
    example=lambda: LayerTrial(SpectralNorm(Conv2D(1, 3)), (5, 5, 1)),
)
describe(
    SelfAttention,
    Theory(
        "Adds to each pixel a weighted mean of all pixels; the weights come from comparing pixels with each other.",
        forward=("y = x + gamma o,  o = B h,  B = softmax of the rows of g f'", "f, g, h = 1x1 convolutions of x"),
        backward=(
            "dh = B' do,  dB = do h',  dS = J(dB),  dg = dS f,  df = dS' g,  with do = gamma dy",
            "J(t) = B * (t - rowsum(B * t)): the derivative of softmax",
            "dx = dy + the three convolutions' dx,  dgamma = sum(dy * o)",
        ),
        double_backward=(
            "W = vg f' + g vf',  dP/d(do) = J(W) h + B vh",
            "dP/dh = J(W)' do,  dP/df = dS' vg + P_S' g,  dP/dg = dS vf + P_S f",
            "P_S = J(W * dB - W rowsum(B * dB) - dB rowsum(B * W) + do vh')",
        ),
    ),
    example=lambda: LayerTrial(SelfAttention(1), (3, 3, 1), scale=1.5, weights=(0.5,)),
)

# ------------------------------------------------------------------------------------------ normalization

NORMALIZED = (
    "dP/d(dy) = gamma/s (v - E[v] - u E[v u])",
    "dP/dx = -gamma/s^2 (u E[v q] + E[dy u] proj(v) + E[v u] q),  q = proj(dy)",
    "dP/dgamma = sum v q / s,  proj(t) = t - E[t] - u E[t u]",
)
describe(
    BatchNorm,
    Theory(
        "Gives each channel mean 0 and deviation 1 over the batch, then a learned scale and shift.",
        forward=("y = gamma u + beta,  u = (x - E[x]) / s,  s = sqrt(Var[x] + eps), over N, H and W",),
        backward=("dx = gamma/s (dy - E[dy] - u E[dy u])", "dgamma = sum dy u", "dbeta = sum dy"),
        double_backward=NORMALIZED,
        remark="In evaluation E and Var are the running ones: constants, so the layer is linear.",
    ),
    example=lambda: LayerTrial(BatchNorm(), (5, 5, 1), weights=(2, 1)),
)
GROUPED = (
    "dP/d(dy) = gamma proj(v) / s",
    "dP/dx = -(u E[v proj(g)] + E[g u] proj(v) + E[v u] proj(g)) / s^2,  g = gamma dy",
    "dP/dgamma = sum dy proj(v) / s,  proj(t) = t - E[t] - u E[t u]",
)
GROUP_BACKWARD = ("dx = (g - E[g] - u E[g u]) / s,  g = gamma dy", "dgamma = sum dy u", "dbeta = sum dy")
describe(
    GroupNorm,
    Theory(
        "Gives each group of channels of each example mean 0 and deviation 1, then a learned scale and shift.",
        forward=("y = gamma u + beta,  u = (x - E[x]) / s,  s = sqrt(Var[x] + eps), over H, W and a group's channels",),
        backward=GROUP_BACKWARD,
        double_backward=GROUPED,
        remark="No example sees another, so a critic with a gradient penalty may use it.",
    ),
    example=lambda: LayerTrial(GroupNorm(2), (3, 3, 4)),
)
describe(
    LayerNorm,
    Theory(
        "Gives each example mean 0 and deviation 1, then a learned scale and shift for each channel.",
        forward=("y = gamma u + beta,  u = (x - E[x]) / s,  s = sqrt(Var[x] + eps), over H, W and C",),
        backward=GROUP_BACKWARD,
        double_backward=GROUPED,
        remark="It is GroupNorm with one group.",
    ),
    example=lambda: LayerTrial(LayerNorm(), (5, 5, 1), weights=(2, 1)),
)
describe(
    InstanceNorm,
    Theory(
        "Gives each channel of each image mean 0 and deviation 1, then a learned scale and shift.",
        forward=("y = gamma u + beta,  u = (x - E[x]) / s,  s = sqrt(Var[x] + eps), over H and W",),
        backward=GROUP_BACKWARD,
        double_backward=GROUPED,
        remark="It is GroupNorm with a group for each channel.",
    ),
    example=lambda: LayerTrial(InstanceNorm(), (5, 5, 1), weights=(2, 1)),
)
describe(
    MinibatchStdDev,
    Theory(
        "Appends a channel that tells how much the examples of a group differ: D notices a G that repeats itself.",
        forward=("y = [x, m],  m = the mean over all numbers of sqrt(Var over the group + eps)",),
        backward=("dx = dy without its last channel + u ds / (G F),  ds = the last channel's sum over the group",),
        double_backward=(
            "dP/d(dy) = [v, the mean of v u over the group]",
            "dP/dx = ds / (G F) (v - mean(v) - u mean(v u)) / std",
        ),
    ),
    example=lambda: LayerTrial(MinibatchStdDev(4), (5,), batch_size=4),
)

# ------------------------------------------------------------------------------------------ activations

describe(
    LeakyReLU,
    Theory(
        "Passes positive numbers and shrinks negative ones, so that every unit keeps a gradient.",
        forward=("y = x where x > 0, slope x elsewhere",),
        backward=("dx = dy where y > 0, slope dy elsewhere",),
        double_backward=("dP/d(dy) = v where y > 0, slope v elsewhere", PIECEWISE),
        remark="It is remembered by y, which has the sign of x.",
    ),
    example=lambda: LayerTrial(LeakyReLU(0.2), (5, 5, 1)),
)
describe(
    ReLU,
    Theory(
        "Passes positive numbers and stops negative ones; a unit that is always negative is dead and gets no gradient.",
        forward=("y = max(x, 0)",),
        backward=("dx = dy where y > 0, 0 elsewhere",),
        double_backward=("dP/d(dy) = v where y > 0, 0 elsewhere", PIECEWISE),
        source="Nair & Hinton 2010, section 2",
    ),
    example=lambda: LayerTrial(ReLU(), (5, 5, 1)),
)
describe(
    Tanh,
    Theory(
        "Squeezes numbers into (-1, 1), the range of the images; where it saturates the gradient vanishes.",
        forward=("y = tanh(x)",),
        backward=("dx = dy (1 - y^2)",),
        double_backward=("dP/d(dy) = v (1 - y^2)", "dP/dx = -2 y (1 - y^2) dy v"),
        remark="It is curved, so a penalty behind it needs the down-sweep of the double backward.",
        source="Radford et al. 2016 (DCGAN), section 3, for G's output",
    ),
    example=lambda: LayerTrial(Tanh(), (5, 5, 1), scale=2),
)
describe(
    Sigmoid,
    Theory(
        "Squeezes numbers into (0, 1). Losses take logits, so D ends without one.",
        forward=("y = 1 / (1 + exp(-x))",),
        backward=("dx = dy y (1 - y)",),
        double_backward=("dP/d(dy) = v y (1 - y)", "dP/dx = (1 - 2 y) y (1 - y) dy v"),
        source="Goodfellow et al. 2014, section 5",
    ),
    example=lambda: LayerTrial(Sigmoid(), (5, 5, 1), scale=3),
)
describe(
    Maxout,
    Theory(
        "Keeps the largest of several numbers: with a linear layer before it, an activation whose shape is learned.",
        forward=("y[...,k] = max_p x[...,p*K+k]",),
        backward=("dx = dy at the winner, 0 at the others",),
        double_backward=("dP/d(dy) = v at the winner", PIECEWISE),
    ),
    example=lambda: LayerTrial(Maxout(2), (6,), batch_size=3),
)
describe(
    Dropout,
    Theory(
        "Sets random numbers to 0 in training and enlarges the others, so that no unit can rely on another.",
        forward=("y = x m,  m = 0 with probability rate, 1 / (1 - rate) elsewhere",),
        backward=("dx = dy m",),
        double_backward=("dP/d(dy) = v m", LINEAR),
        remark="In evaluation it does nothing.",
    ),
    example=lambda: LayerTrial(Dropout(0.5), (5, 5, 1)),
)

# ------------------------------------------------------------------------------------------ shapes

describe(
    Reshape,
    Theory(
        "Reads the same numbers in another shape; nothing is copied.",
        forward=("y = x in the new shape",),
        backward=("dx = dy in the old shape",),
        double_backward=("dP/d(dy) = v in the new shape", LINEAR),
        source="none: it moves no number",
    ),
    example=lambda: LayerTrial(Reshape((2, 3, 1)), (6,), scale=3),
)
describe(
    Flatten,
    Theory(
        "Reads an image as a vector; nothing is copied.",
        forward=("y = x as (N, H W C)",),
        backward=("dx = dy as (N, H, W, C)",),
        double_backward=("dP/d(dy) = v as (N, H W C)", LINEAR),
        source="none: it moves no number",
    ),
    example=lambda: LayerTrial(Flatten(), (2, 3, 1), scale=3),
)
describe(
    UpSampling2D,
    Theory(
        "Repeats each pixel; followed by a convolution it enlarges an image without checkerboards.",
        forward=("y[n,i,j,c] = x[n, i // factor, j // factor, c]",),
        backward=("dx = the sum of dy over each block",),
        double_backward=(AS_FORWARD, LINEAR),
        source="Odena et al. 2016, Better Upsampling",
    ),
    example=lambda: LayerTrial(UpSampling2D(2), (3, 3, 1)),
)
describe(
    PixelShuffle,
    Theory(
        "Turns channels into pixels: after a convolution it enlarges an image without overlaps.",
        forward=("y[n, i*a+r, j*b+s, c] = x[n, i, j, (r*b+s)*C + c]",),
        backward=("dx = dy's pixels as channels again",),
        double_backward=(AS_FORWARD, LINEAR),
    ),
    example=lambda: LayerTrial(PixelShuffle(2), (2, 2, 4)),
)
describe(
    AveragePooling2D,
    Theory(
        "Makes each block of pixels one pixel, their mean.",
        forward=("y = the mean of x over each block",),
        backward=("dx = dy / (pixels of a block), the same for all of them",),
        double_backward=(AS_FORWARD, LINEAR),
        source="LeCun et al. 1998, section II.B",
    ),
    example=lambda: LayerTrial(AveragePooling2D(2), (4, 4, 1)),
)
describe(
    GlobalAveragePooling2D,
    Theory(
        "Makes each channel one number, its mean.",
        forward=("y[n,c] = the mean of x[n,:,:,c]",),
        backward=("dx[n,i,j,c] = dy[n,c] / (H W)",),
        double_backward=(AS_FORWARD, LINEAR),
    ),
    example=lambda: LayerTrial(GlobalAveragePooling2D(), (5, 5, 1)),
)
describe(
    GlobalSumPooling2D,
    Theory(
        "Makes each channel one number, its sum.",
        forward=("y[n,c] = the sum of x[n,:,:,c]",),
        backward=("dx[n,i,j,c] = dy[n,c]",),
        double_backward=(AS_FORWARD, LINEAR),
    ),
    example=lambda: LayerTrial(GlobalSumPooling2D(), (5, 5, 1)),
)
describe(
    Pack,
    Theory(
        "Lays several examples on top of each other, so that D judges them together and sees when they are all alike.",
        forward=("y = [x_1, ..., x_count] along the channels: N / count examples",),
        backward=("dx = dy, taken apart again",),
        double_backward=("dP/d(dy) = v, laid together", LINEAR),
    ),
    example=lambda: LayerTrial(Pack(2), (5,), batch_size=4),
)

# ------------------------------------------------------------------------------------------ conditions

CLASSES = np.eye(3)[[2, 0]]
describe(
    ConcatCondition,
    Theory(
        "Appends the condition, such as a class, to each example.",
        forward=("y = [x, e],  e = c, or c E with an embedding E that is learned",),
        backward=("dx = dy without e's part", "dE = c' (the rest of dy, summed over pixels)"),
        double_backward=("dP/d(dy) = [v, 0]", LINEAR),
    ),
    example=lambda: LayerTrial(ConcatCondition((3,), embedding=2), (4,), batch_size=2, condition=CLASSES),
)
describe(
    InnerProduct,
    Theory(
        "Takes the inner product with the condition: of scores for all classes that of the example's own.",
        forward=("y[n] = <x[n], c[n]>",),
        backward=("dx[n] = dy[n] c[n]",),
        double_backward=("dP/d(dy)[n] = <v[n], c[n]>", LINEAR),
        source="Miyato & Koyama 2018, equation 3",
    ),
    example=lambda: LayerTrial(InnerProduct(3), (3,), batch_size=2, scale=3, condition=CLASSES),
)
describe(
    ConditionalAffine,
    Theory(
        "Scales and shifts each channel by numbers that belong to the example's class.",
        forward=("y = (c gamma) x + c beta",),
        backward=("dx = (c gamma) dy", "dgamma = c' sum(dy x)", "dbeta = c' sum(dy), the sums over pixels"),
        double_backward=("dP/d(dy) = (c gamma) v", "dP/dgamma = c' sum(v dy)", LINEAR),
    ),
    example=lambda: LayerTrial(ConditionalAffine(3), (4,), batch_size=2, condition=CLASSES),
)

# ------------------------------------------------------------------------------------------ augmentation

AFFINE = ("dx = A' dy",), ("dP/d(dy) = A v", LINEAR)
AUGMENTATION = "Zhao et al. 2020, section 3.2"
describe(
    Color,
    Theory(
        "Changes brightness, saturation and contrast of each image at random, in front of D, for real and fake alike.",
        ("y = A x + b,  A = Q + c (P - Q) + c s (I - P): P the mean over channels, Q over the image",),
        *AFFINE,
        source=AUGMENTATION,
    ),
    example=lambda: LayerTrial(Color(), (3, 3, 3), scale=1),
)
describe(
    Translation,
    Theory(
        "Moves each image by a random step, in front of D, for real and fake alike; what comes in is 0.",
        ("y[n,i,j] = x[n, i - down, j - right], 0 outside",),
        *AFFINE,
        remark="A' moves back.",
        source=AUGMENTATION,
    ),
    example=lambda: LayerTrial(Translation(), (8, 8, 1)),
)
describe(
    Cutout,
    Theory(
        "Sets a random rectangle of each image to 0, in front of D, for real and fake alike.",
        ("y = m x,  m = 0 in the rectangle, 1 elsewhere",),
        *AFFINE,
        source=AUGMENTATION,
    ),
    example=lambda: LayerTrial(Cutout(), (5, 5, 1)),
)

# ------------------------------------------------------------------------------------------ combinators

describe(
    Sequential,
    Theory(
        "Runs layers one after the other, and backwards for the gradients.",
        forward=("y = f_L(... f_2(f_1(x)))",),
        backward=("dx = the chain rule from the last layer to the first; each layer adds its own dw on the way",),
        double_backward=(
            "up-sweep: v goes through each layer's double backward, from the first to the last, adding dP/dw",
            "down-sweep: the layers' dP/dx go down by ordinary backward; skipped if all are 0",
        ),
        source="Rumelhart, Hinton & Williams 1986, equation 6; double backward: Drucker & LeCun 1992",
    ),
    example=lambda: LayerTrial(Sequential([Dense(4), Tanh(), Dense(2)]), (3,), batch_size=2, scale=0.9),
)
describe(
    Residual,
    Theory(
        "Adds what its layers compute to their input, so that gradients have a way around them.",
        forward=("y = f(x) + g(x),  g = the identity or a shortcut of layers",),
        backward=("dx = f's dx + g's dx",),
        double_backward=("dP/d(dy) = f's + g's", "dP/dx = f's + g's"),
    ),
    example=lambda: LayerTrial(Residual([Dense(3), Tanh()]), (3,), batch_size=2, scale=0.9),
)
describe(
    SkipConcat,
    Theory(
        "Joins its input to what its layers compute, along the channels: a level of a U-Net.",
        forward=("y = [x, f(x)]",),
        backward=("dx = dy's first part + f's dx of the second",),
        double_backward=("dP/d(dy) = [v, f's]", "dP/dx = f's"),
    ),
    example=lambda: LayerTrial(SkipConcat([Conv2D(1, 3)]), (4, 4, 1)),
)
describe(
    Parallel,
    Theory(
        "Runs networks side by side on the same input, and joins their outputs along the last axis.",
        forward=("y = [f_1(x), ..., f_K(x)]",),
        backward=("dx = the sum of the branches' dx",),
        double_backward=("dP/d(dy) = the branches', joined", "dP/dx = the sum of the branches'"),
        source="Durugkar et al. 2017, for several discriminators",
    ),
    example=lambda: LayerTrial(Parallel([[Dense(1)], [Dense(2), Tanh()]]), (3,), batch_size=2, scale=0.9),
)
describe(
    Inpainting,
    Theory(
        "Keeps the known pixels of an image and takes only those of the hole from its layers.",
        forward=("y = m f(x) + (1 - m) image,  x = [image, m]",),
        backward=("dx = f's dx of m dy, + (1 - m) dy for the image and dy (f(x) - image) for m",),
        double_backward=("dP/d(dy) and dP/dx by the product rule from the lines above",),
    ),
    example=lambda: LayerTrial(Inpainting([Conv2D(1, 3)]), (4, 4, 2), scale=0.9),
)
