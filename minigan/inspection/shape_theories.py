"""The mathematics of layers that move numbers, of conditions, augmentation and combinators, worked out."""

import numpy as np

from minigan.inspection.layer_trials import LayerTrial
from minigan.inspection.theory import Theory, describe
from minigan.nn.layers import (
    AveragePooling2D,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    Dense,
    FIRDownSampling2D,
    FIRUpSampling2D,
    Flatten,
    GlobalAveragePooling2D,
    GlobalSumPooling2D,
    InnerProduct,
    PixelShuffle,
    ReflectionPadding2D,
    Reshape,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import (
    AdaptiveAugmentation,
    Color,
    Cutout,
    Flip,
    QuarterTurns,
    ScheduledAugmentation,
    Translation,
)
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.mapping import MappedCondition, MappingNetwork

__all__: list[str] = []

AS_FORWARD = "dP/d(dy) = the same map of v: the layer is linear"
LINEAR = "dP/dx = 0: backward does not depend on x"

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
FIR_SOURCE = "Zhang 2019, section 3.2; [1, 3, 3, 1]: Karras et al. 2020, appendix B"
describe(
    FIRDownSampling2D,
    Theory(
        "Reduces an image by a low-pass filter and a stride, so that frequencies too high for it do not alias.",
        forward=("y[n,p,q,c] = sum_{r,s} f[r] f[s] x[n, p*factor+r-top, q*factor+s-left, c],  f = taps / sum(taps)",),
        backward=("dx[n,i,j,c] = sum f[r] f[s] dy[n,p,q,c] over p*factor+r-top = i, q*factor+s-left = j",),
        double_backward=(AS_FORWARD, LINEAR),
        source=FIR_SOURCE,
    ),
    example=lambda: LayerTrial(FIRDownSampling2D(), (4, 4, 1)),
)
describe(
    FIRUpSampling2D,
    Theory(
        "Enlarges an image by zeros between its pixels and a low-pass filter: linear interpolation with 1 3 3 1.",
        forward=(
            "y[n,i,j,c] = factor^2 sum f[r] f[s] x[n,p,q,c] over p*factor+r-top = i, q*factor+s-left = j",
            "f = taps / sum(taps)",
        ),
        backward=("dx[n,p,q,c] = factor^2 sum_{r,s} f[r] f[s] dy[n, p*factor+r-top, q*factor+s-left, c]",),
        double_backward=(AS_FORWARD, LINEAR),
        remark="It is FIRDownSampling2D transposed, times factor^2, the new pixels for each old one.",
        source=FIR_SOURCE,
    ),
    example=lambda: LayerTrial(FIRUpSampling2D(), (3, 3, 1)),
)
describe(
    ReflectionPadding2D,
    Theory(
        "Continues an image beyond its borders by its mirror image, so that a convolution sees no zeros there.",
        forward=("y[n,p,q,c] = x[n, m(p - top), m(q - left), c],  m(i) = |i|, mirrored at the other end as well",),
        backward=("dx = dy of each pixel + dy of its mirror images",),
        double_backward=(AS_FORWARD, LINEAR),
        source="Zhu et al. 2017, appendix 7.2",
    ),
    example=lambda: LayerTrial(ReflectionPadding2D(1), (3, 3, 1)),
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
describe(
    Flip,
    Theory(
        "Mirrors half of the images, in front of D, for real and fake alike.",
        ("y[n,i,j] = x[n, i, W - 1 - j] or x[n,i,j], each with probability 1/2",),
        *AFFINE,
        remark="A' = A.",
        source="Karras et al. 2020a, appendix B",
    ),
    example=lambda: LayerTrial(Flip(), (3, 4, 1), batch_size=2),
)
describe(
    QuarterTurns,
    Theory(
        "Turns each image by a random number of quarter turns, in front of D, for real and fake alike.",
        ("y = x turned by 0, 90, 180 or 270 degrees",),
        *AFFINE,
        remark="A' turns back.",
        source="Karras et al. 2020a, appendix B",
    ),
    example=lambda: LayerTrial(QuarterTurns(), (3, 3, 1), batch_size=2),
)

describe(
    ScheduledAugmentation,
    Theory(
        "Applies each of its augmentations to each image with a probability p that follows a plan.",
        (
            "y = x, then for each augmentation (A, b): y <- m (A y + b) + (1 - m) y,  m = 1 with probability p",
            "p = start + (end - start) (1 - cos(pi t / steps)) / 2 after t updates of D, end after steps",
        ),
        *AFFINE,
        source="Huang et al. 2024 (R3GAN), appendix",
    ),
    example=lambda: LayerTrial(ScheduledAugmentation([Translation(), Cutout()], start=0.5), (8, 8, 1)),
)
describe(
    AdaptiveAugmentation,
    Theory(
        "Applies each of its augmentations to each image with probability p, which rises while D overfits.",
        (
            "y = x, then for each augmentation (A, b): y <- m (A y + b) + (1 - m) y,  m = 1 with probability p",
            "after 4 updates of D: p <- p + sign(r - target) * their real images / over,  r = mean sign D(real)",
        ),
        *AFFINE,
        remark="p begins at 0, and is kept in checkpoints.",
        source="Karras et al. 2020a, section 3",
    ),
    example=lambda: LayerTrial(AdaptiveAugmentation([Translation(), Cutout()]), (8, 8, 1)),
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
describe(
    MappingNetwork,
    Theory(
        "Maps noise z to a style w, and repeats it in a row for each layer of the synthesis.",
        forward=("y[n,l] = f(z)[n];  in training some last rows are the f of another z (style mixing)",),
        backward=("dz = f's dz of the sum of dy's rows",),
        double_backward=("dP/d(dy) = f's, in each row", "dP/dx = f's"),
        remark="In evaluation w may be taken nearer to its mean: w_avg + truncation (w - w_avg).",
    ),
    example=lambda: LayerTrial(MappingNetwork([Dense(2), Tanh()], rows=3), (3,), batch_size=2, scale=0.9),
)
describe(
    MappedCondition,
    Theory(
        "Gives its layers a function of the condition, such as an embedding of the class.",
        forward=("y = g(x | f(c))",),
        backward=("dx = g's", "de = g's gradient of its condition e = f(c), which goes back through f to its weights"),
        double_backward=("dP/d(dy) = g's", "dP/dx = g's", "dP/dw of f = its backward of dP/de"),
    ),
    example=lambda: LayerTrial(
        MappedCondition((2,), [Dense(3)], [InnerProduct(3)]), (3,), batch_size=2, condition=np.eye(2)
    ),
)
