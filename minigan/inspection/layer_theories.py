"""The mathematics of the layers with weights, of normalization and of activations, with a worked example of each."""

from minigan.inspection.layer_trials import LayerTrial
from minigan.inspection.theory import Theory, describe
from minigan.nn.layers import (
    BatchNorm,
    Bias,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DiscriminativeBasis,
    Dropout,
    EqualizedRate,
    GenerativeBasis,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LeakyReLU,
    Maxout,
    MinibatchStdDev,
    PixelNorm,
    ReLU,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
)

__all__: list[str] = []

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
    Bias,
    Theory(
        "Adds a number to each channel.",
        forward=("y[...,c] = x[...,c] + b[c]",),
        backward=("dx = dy", "db[c] = sum of dy[...,c]"),
        double_backward=("dP/d(dy) = v", LINEAR),
        source="none: a convolution's own bias, standing alone",
    ),
    example=lambda: LayerTrial(Bias(), (3, 3, 1)),
)
BASES = "Huang et al. 2024 (R3GAN), section 4"
describe(
    GenerativeBasis,
    Theory(
        "Turns each number of a vector into an image: a learned image for each channel, times that number.",
        forward=("y[n,h,w,c] = x[n,c] B[h,w,c]",),
        backward=("dx[n,c] = sum_{h,w} dy[n,h,w,c] B[h,w,c]", "dB[h,w,c] = sum_n dy[n,h,w,c] x[n,c]"),
        double_backward=("dP/d(dy)[n,h,w,c] = v[n,c] B[h,w,c]", "dP/dB[h,w,c] = sum_n dy[n,h,w,c] v[n,c]", LINEAR),
        remark="A dense layer to H W C numbers draws any image for each input; this one draws few, with fewer weights.",
        source=BASES,
    ),
    example=lambda: LayerTrial(GenerativeBasis(2), (2,), batch_size=2),
)
describe(
    DiscriminativeBasis,
    Theory(
        "Turns each channel's image into a number: how much of a learned image there is in it.",
        forward=("y[n,c] = sum_{h,w} x[n,h,w,c] B[h,w,c]",),
        backward=("dx[n,h,w,c] = dy[n,c] B[h,w,c]", "dB[h,w,c] = sum_n dy[n,c] x[n,h,w,c]"),
        double_backward=(
            "dP/d(dy)[n,c] = sum_{h,w} v[n,h,w,c] B[h,w,c]",
            "dP/dB[h,w,c] = sum_n dy[n,c] v[n,h,w,c]",
            LINEAR,
        ),
        remark="It is GenerativeBasis transposed.",
        source=BASES,
    ),
    example=lambda: LayerTrial(DiscriminativeBasis(), (2, 2, 2), batch_size=2),
)
describe(
    SpectralNorm,
    Theory(
        "Divides the weight of the layer inside by its largest singular value, which bounds how much it amplifies.",
        forward=("y = f(x; w / sigma),  sigma = v' W u", "v <- W u / |W u|,  u <- W' v / |W' v|, once a step"),
        backward=("dx = f's, with w / sigma", "dw = (G - <G, w / sigma> v u') / sigma,  G = f's gradient of w / sigma"),
        double_backward=("dP/d(dy) = f's, with w / sigma", "dP/dw = (G - <G, w / sigma> v u') / sigma, G = f's dP/dw"),
        remark="u and v count as constants. At their limit, where the example is, that is the exact derivative.",
    ),
    example=lambda: LayerTrial(SpectralNorm(Conv2D(1, 3)), (5, 5, 1)),
)
describe(
    EqualizedRate,
    Theory(
        "Scales the weight of the layer inside where it is used, so that Adam moves all weights at one relative speed.",
        forward=("y = m f(x; c w, b),  c = 1 / sqrt(fan in),  w from N(0, 1 / m^2)",),
        backward=("dx = m f's, with c w", "dw = m c dw_bar,  db = m f's,  dw_bar = f's gradient of its weight"),
        double_backward=("dP/d(dy) = m f's, with c w", "dP/dw = m c times f's dP/d(w_bar)", LINEAR),
        remark="A dense layer scales x in place of its larger w.",
    ),
    example=lambda: LayerTrial(EqualizedRate(Conv2D(1, 3)), (5, 5, 1)),
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
    PixelNorm,
    Theory(
        "Brings each vector, or each pixel's channels, to a mean square of 1: only its direction is left.",
        forward=("y = r x,  r = (E[x^2] + eps)^(-1/2), the mean over the last axis",),
        backward=("dx = r dy - r^3 E[x dy] x",),
        double_backward=(
            "dP/d(dy) = r v - r^3 E[x v] x",
            "dP/dx = -r^3 (E[v dy] x + E[x dy] v + E[x v] dy) + 3 r^5 E[x dy] E[x v] x",
        ),
    ),
    example=lambda: LayerTrial(PixelNorm(), (4,), batch_size=2),
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
        forward=("y = x where x > 0, slope x elsewhere; all times a gain, 1 unless told",),
        backward=("dx = dy where y > 0, slope dy elsewhere; all times the gain",),
        double_backward=("dP/d(dy) = v where y > 0, slope v elsewhere; all times the gain", PIECEWISE),
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
