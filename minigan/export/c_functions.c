/* Functions of a generator in C; a file gets those that it calls, with a prefix of its own in the place of net_.
   Images are [height][width][channels], and filters as net_filter says. A blank line ends a function. */

/* A convolution, a transposed convolution or a dense layer (an image of one pixel): sizes, then its numbers. The weights
   are [groups][R][S][C][K], a group's C rounded up to fours by zeros; for fewer than eight K, [groups][R][S][K][C]. */
typedef struct {
    int H, W, C;       /* the image that comes in */
    int P, Q, K;       /* the image that goes out */
    int R, S, groups;  /* filter; and groups of channels */
    int down, across;  /* stride */
    int top, left;     /* zeros around the image that comes in; of a transposed one, the margin cut off what goes out */
    const net_weight *w;
    const float *scale, *b; /* by channel K; or none */
} net_filter;

/* A half-precision number: its exponent is too small by 112 after a shift. */
static float net_weight_value(uint16_t half)
{
    union { uint32_t word; float number; } bits;
    bits.word = (uint32_t)(half & 0x8000u) << 16 | (uint32_t)(half & 0x7fffu) << 13;
    return bits.number * 5.192296858534828e33f;
}

/* y += x w for two pixels and four channels of each: one loop, which compilers turn into vectors. */
static void net_two_pixels(const float *a, const float *b, const net_weight *NET_RESTRICT w, int K,
                           float *NET_RESTRICT y, float *NET_RESTRICT z)
{
    const net_weight *w1 = w + K, *w2 = w1 + K, *w3 = w2 + K;
    const float a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], b0 = b[0], b1 = b[1], b2 = b[2], b3 = b[3];
    for (int k = 0; k < K; k++) {
        const float v0 = NET_VALUE(w[k]), v1 = NET_VALUE(w1[k]), v2 = NET_VALUE(w2[k]), v3 = NET_VALUE(w3[k]);
        y[k] += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3;
        z[k] += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3;
    }
}

/* The same for one pixel. */
static void net_one_pixel(const float *a, const net_weight *NET_RESTRICT w, int K, float *NET_RESTRICT y)
{
    const net_weight *w1 = w + K, *w2 = w1 + K, *w3 = w2 + K;
    const float a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    for (int k = 0; k < K; k++)
        y[k] += a0 * NET_VALUE(w[k]) + a1 * NET_VALUE(w1[k]) + a2 * NET_VALUE(w2[k]) + a3 * NET_VALUE(w3[k]);
}

/* y += x w for a row of pixels, x_step and y_step numbers apart, and the weights [C][K] of one place of a filter. */
static void net_many(const float *x, int x_step, int C, const net_weight *w, float *y, int y_step, int K, int pixels)
{
    for (int c = 0; c < C; c += 4, w += 4 * K)
        for (int m = 0; m < pixels; m += 2) {
            const float *a = x + m * x_step + c;
            float *to = y + m * y_step, pair[8] = {0};
            const int last = m + 1 == pixels, rest = C - c;
            if (rest < 4) { /* fewer channels than four: zeros for the others */
                for (int i = 0; i < rest; i++) {
                    pair[i] = a[i];
                    pair[4 + i] = last ? 0 : a[x_step + i];
                }
                a = pair;
            }
            if (last)
                net_one_pixel(a, w, K, to);
            else
                net_two_pixels(a, rest < 4 ? a + 4 : a + x_step, w, K, to, to + y_step);
        }
}

/* As net_many, for few channels out, with weights [K][C]: in eight sums, which fit into a vector register. */
static void net_few(const float *x, int x_step, int C, const net_weight *w, float *y, int y_step, int K, int pixels)
{
    for (int m = 0; m < pixels; m++, x += x_step)
        for (int k = 0; k < K; k++) {
            const net_weight *v = w + k * C;
            float sums[8] = {0}, *total = y + m * y_step + k;
            int c = 0;
            for (; c + 8 <= C; c += 8)
                for (int lane = 0; lane < 8; lane++)
                    sums[lane] += x[c + lane] * NET_VALUE(v[c + lane]);
            for (; c < C; c++)
                sums[c % 8] += x[c] * NET_VALUE(v[c]);
            for (int lane = 0; lane < 8; lane++)
                *total += sums[lane];
        }
}

/* y = filter(x), group by group and place by place of the filter. At each, a coarse image meets every stride-th pixel of a fine one: in a
   convolution the fine image comes in, in a transposed one it goes out. No zero is multiplied. */
static void net_convolve(const float *x, float *y, const net_filter *f, int transposed)
{
    const int rows = transposed ? f->H : f->P, columns = transposed ? f->W : f->Q;
    const int fine_rows = transposed ? f->P : f->H, fine_columns = transposed ? f->Q : f->W;
    const int deep = f->C / f->groups, wide = f->K / f->groups, together = wide < 8 ? deep : (deep + 3) / 4 * 4;
    const net_weight *w = f->w;
    for (int i = 0; i < f->P * f->Q * f->K; i++)
        y[i] = 0;
    for (int place = 0; place < f->groups * f->R * f->S; place++, w += together * wide) {
        const int group = place / f->S / f->R, r = place / f->S % f->R, s = place % f->S;
        int from = 0, to = columns; /* of the coarse image, those that meet the fine one */
        while (from < to && from * f->across + s < f->left)
            from++;
        while (from < to && (to - 1) * f->across + s - f->left >= fine_columns)
            to--;
        for (int n = 0; n < rows; n++) {
            const int row = n * f->down + r - f->top, coarse = n * columns + from;
            const int fine = row * fine_columns + from * f->across + s - f->left;
            if (row < 0 || row >= fine_rows || from == to)
                continue;
            const float *source = x + (transposed ? coarse : fine) * f->C + group * deep;
            float *target = y + (transposed ? fine : coarse) * f->K + group * wide;
            const int x_step = transposed ? f->C : f->across * f->C, y_step = transposed ? f->across * f->K : f->K;
            (wide < 8 ? net_few : net_many)(source, x_step, deep, w, target, y_step, wide, to - from);
        }
    }
    for (int i = 0; i < f->P * f->Q * f->K; i += f->K)
        for (int k = 0; k < f->K; k++)
            y[i + k] = y[i + k] * (f->scale ? f->scale[k] : 1) + (f->b ? f->b[k] : 0);
}

/* x = scale x + shift, by channel. */
static void net_affine(float *x, int pixels, int C, const float *scale, const float *shift)
{
    for (int i = 0; i < pixels; i++, x += C)
        for (int c = 0; c < C; c++)
            x[c] = x[c] * scale[c] + shift[c];
}

/* x = (condition gamma) x + condition beta, by channel, with tables [F][C]. */
static void net_conditional_affine(float *x, int pixels, int C, const float *condition, int F, const float *gamma,
                                   const float *beta)
{
    for (int c = 0; c < C; c++) {
        float scale = 0, shift = 0;
        for (int f = 0; f < F; f++) {
            scale += condition[f] * gamma[f * C + c];
            shift += condition[f] * beta[f * C + c];
        }
        for (int i = 0; i < pixels; i++)
            x[i * C + c] = x[i * C + c] * scale + shift;
    }
}

/* The mean of (x - center)^power over an image's channels from `first` to `end`, for power 1 or 2; summed row by row. */
static float net_mean(const float *x, int H, int W, int C, int first, int end, float center, int power)
{
    float total = 0;
    for (int h = 0; h < H; h++) {
        float row = 0;
        for (int w = 0; w < W; w++, x += C)
            for (int c = first; c < end; c++)
                row += power == 1 ? x[c] - center : (x[c] - center) * (x[c] - center);
        total += row;
    }
    return total / (float)(H * W * (end - first));
}

/* Each group of channels with mean 0 and variance 1, then a scale and a shift by channel. */
static void net_group_norm(float *x, int H, int W, int C, int groups, const float *gamma, const float *beta, float eps)
{
    for (int first = 0; first < C; first += C / groups) {
        const int end = first + C / groups;
        const float mean = net_mean(x, H, W, C, first, end, 0, 1);
        const float factor = 1 / sqrtf(net_mean(x, H, W, C, first, end, mean, 2) + eps);
        for (int i = 0; i < H * W; i++)
            for (int c = first; c < end; c++)
                x[i * C + c] = (x[i * C + c] - mean) * factor * gamma[c] + beta[c];
    }
}

/* Each channel times a number of its own. */
static void net_modulate(float *x, int pixels, int C, const float *s)
{
    for (int i = 0; i < pixels; i++)
        for (int c = 0; c < C; c++)
            x[i * C + c] = x[i * C + c] * s[c];
}

/* A constant image of one channel, added to each channel. */
static void net_add_image(float *x, int pixels, int C, const float *image)
{
    for (int i = 0; i < pixels; i++)
        for (int c = 0; c < C; c++)
            x[i * C + c] += image[i];
}

static void net_rsqrt(float *x, int size)
{
    for (int i = 0; i < size; i++)
        x[i] = 1 / sqrtf(x[i]);
}

/* The channels of each pixel, or a vector, with a mean square of 1. */
static void net_pixel_norm(float *x, int pixels, int C, float eps)
{
    for (int i = 0; i < pixels; i++, x += C) {
        float squares = 0;
        for (int c = 0; c < C; c++)
            squares += x[c] * x[c];
        const float factor = 1 / sqrtf(squares / (float)C + eps);
        for (int c = 0; c < C; c++)
            x[c] *= factor;
    }
}

static void net_scale(float *x, int size, float factor, float offset)
{
    for (int i = 0; i < size; i++)
        x[i] = factor * x[i] + offset;
}

static void net_relu(float *x, int size)
{
    for (int i = 0; i < size; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
}

static void net_leaky_relu(float *x, int size, float slope)
{
    for (int i = 0; i < size; i++)
        x[i] = x[i] > slope * x[i] ? x[i] : slope * x[i];
}

static void net_tanh(float *x, int size)
{
    for (int i = 0; i < size; i++)
        x[i] = tanhf(x[i]);
}

/* 1 / (1 + exp(-x)), without its overflow. */
static void net_sigmoid(float *x, int size)
{
    for (int i = 0; i < size; i++)
        x[i] = 0.5f * tanhf(0.5f * x[i]) + 0.5f;
}

/* The largest of each output's pieces, which lie K channels apart. */
static void net_maxout(const float *x, float *y, int pixels, int K, int pieces)
{
    for (int i = 0; i < pixels; i++, x += K * pieces, y += K)
        for (int k = 0; k < K; k++) {
            y[k] = x[k];
            for (int piece = 1; piece < pieces; piece++)
                if (x[piece * K + k] > y[k])
                    y[k] = x[piece * K + k];
        }
}

/* Each channel convolved with a filter of its own, w[R][S][C]: [H][W][C] to [P][Q][C]. */
static void net_depthwise(const float *x, float *y, const float *w, int H, int W, int C, int P, int Q, int R, int S,
                          int down, int across, int top, int left)
{
    for (int p = 0; p < P; p++)
        for (int q = 0; q < Q; q++, y += C) {
            for (int c = 0; c < C; c++)
                y[c] = 0;
            for (int r = 0; r < R; r++)
                for (int s = 0; s < S; s++) {
                    const int i = p * down + r - top, j = q * across + s - left;
                    if (i < 0 || i >= H || j < 0 || j >= W)
                        continue;
                    for (int c = 0; c < C; c++)
                        y[c] += w[(r * S + s) * C + c] * x[(i * W + j) * C + c];
                }
        }
}

/* Each channel's pixels stamp a filter of its own, w[R][S][C], a stride apart: [H][W][C] to [P][Q][C], which begins
   below `top` and right of `left`. */
static void net_depthwise_transpose(const float *x, float *y, const float *w, int H, int W, int C, int P, int Q, int R,
                                    int S, int down, int across, int top, int left)
{
    for (int i = 0; i < P * Q * C; i++)
        y[i] = 0;
    for (int p = 0; p < H; p++)
        for (int q = 0; q < W; q++, x += C)
            for (int r = 0; r < R; r++)
                for (int s = 0; s < S; s++) {
                    const int i = p * down + r - top, j = q * across + s - left;
                    if (i < 0 || i >= P || j < 0 || j >= Q)
                        continue;
                    for (int c = 0; c < C; c++)
                        y[(i * Q + j) * C + c] += w[(r * S + s) * C + c] * x[c];
                }
}

/* Each pixel repeated. */
static void net_upsample(const float *x, float *y, int H, int W, int C, int down, int across)
{
    for (int p = 0; p < H * down; p++)
        for (int q = 0; q < W * across; q++)
            for (int c = 0; c < C; c++)
                *y++ = x[(p / down * W + q / across) * C + c];
}

/* Borders added that mirror what lies inside, without the edge itself: to [P][Q][C]. */
static void net_reflect_pad(const float *x, float *y, int H, int W, int C, int P, int Q, int top, int left)
{
    for (int p = 0; p < P; p++)
        for (int q = 0; q < Q; q++) {
            const int down = p < top ? top - p : p - top, across = q < left ? left - q : q - left;
            const int row = down < H ? down : 2 * H - 2 - down, column = across < W ? across : 2 * W - 2 - across;
            for (int c = 0; c < C; c++)
                *y++ = x[(row * W + column) * C + c];
        }
}

/* Channels become pixels: [H][W][down * across * C] becomes [H * down][W * across][C]. */
static void net_depth_to_space(const float *x, float *y, int H, int W, int C, int down, int across)
{
    for (int p = 0; p < H * down; p++)
        for (int q = 0; q < W * across; q++)
            for (int c = 0; c < C; c++) {
                const int pixel = p / down * W + q / across, place = p % down * across + q % across;
                *y++ = x[(pixel * down * across + place) * C + c];
            }
}

/* Each block of pixels averaged, to [P][Q][C]. */
static void net_average_pool(const float *x, float *y, int P, int Q, int C, int down, int across)
{
    for (int p = 0; p < P; p++)
        for (int q = 0; q < Q; q++, y += C)
            for (int c = 0; c < C; c++) {
                float sum = 0;
                for (int r = 0; r < down; r++)
                    for (int s = 0; s < across; s++)
                        sum += x[((p * down + r) * Q * across + q * across + s) * C + c];
                y[c] = sum / (float)(down * across);
            }
}

/* C channels of each pixel copied among the K of another image; x_step is 0 for a vector that stands at every pixel. */
static void net_place(const float *x, int x_step, int C, float *y, int K, int pixels)
{
    for (int i = 0; i < pixels; i++, x += x_step, y += K)
        for (int c = 0; c < C; c++)
            y[c] = x[c];
}

static void net_add(float *x, const float *other, int size)
{
    for (int i = 0; i < size; i++)
        x[i] += other[i];
}

/* The drawn image in the hole, the given one elsewhere; `given` has one more channel, a mask that is 1 in the hole. */
static void net_fill(float *drawn, const float *given, int pixels, int C)
{
    for (int i = 0; i < pixels; i++, drawn += C, given += C + 1)
        for (int c = 0; c < C; c++)
            drawn[c] = given[C] * drawn[c] + (1 - given[C]) * given[c];
}

/* Self-attention: each pixel adds the h of all pixels, weighted by how well their f fits its g. `looks` has a number for
   each pixel. */
static void net_attend(float *x, const float *f, const float *g, const float *h, float *looks, int pixels, int F, int C,
                       float gamma)
{
    for (int p = 0; p < pixels; p++, g += F, x += C) {
        float largest = 0, sum = 0;
        for (int q = 0; q < pixels; q++) {
            looks[q] = 0;
            for (int i = 0; i < F; i++)
                looks[q] += g[i] * f[q * F + i];
            if (q == 0 || looks[q] > largest)
                largest = looks[q];
        }
        for (int q = 0; q < pixels; q++) {
            looks[q] = expf(looks[q] - largest);
            sum += looks[q];
        }
        for (int q = 0; q < pixels; q++)
            for (int c = 0; c < C; c++)
                x[c] += gamma * looks[q] / sum * h[q * C + c];
    }
}

/* Two random words for a place of a sample, from a seed: Threefry-2x32 with 20 rounds (Salmon et al. 2011). */
static void net_random_words(uint64_t seed, uint32_t sample, uint32_t place, uint32_t words[2])
{
    static const int bits[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    const uint32_t low = (uint32_t)(seed & 0xffffffffu), high = (uint32_t)(seed >> 32);
    const uint32_t keys[3] = {low, high, low ^ high ^ 0x1BD11BDAu};
    uint32_t a = place + low, b = sample + high;
    for (uint32_t turn = 0; turn < 5; turn++) {
        for (int i = 0; i < 4; i++) {
            const int n = bits[turn % 2][i];
            a += b;
            b = (b << n | b >> (32 - n)) ^ a;
        }
        a += keys[(turn + 1) % 3];
        b += keys[(turn + 2) % 3] + turn + 1;
    }
    words[0] = a;
    words[1] = b;
}

/* A number from N(0, 1) for a random word: Wichura's inverse of its distribution (1988, AS 241). */
static float net_normal(uint32_t word)
{
    const float p = (2 * (float)(word >> 9) + 1) / 16777216, q = p - 0.5f; /* both exact */
    if (q >= -0.425f && q <= 0.425f) {
        const float r = 0.180625f - q * q;
        return q * (((59.10937472f * r + 159.29113202f) * r + 50.434271938f) * r + 3.3871327179f)
               / (((67.1875636f * r + 78.757757664f) * r + 17.895169469f) * r + 1);
    } else {
        const float t = sqrtf(-logf(q < 0 ? p : 1 - p)) - 1.6f;
        const float z = (((0.17023821103f * t + 1.3067284816f) * t + 2.75681539f) * t + 1.4234372777f)
                        / ((0.12021132975f * t + 0.7370016425f) * t + 1);
        return q < 0 ? -z : z;
    }
}

/* The noise of a sample: portable, the same in every language to rounding. */
static void net_noise(uint64_t seed, uint32_t sample, float *z, int size)
{
    uint32_t words[2];
    for (int i = 0; i < size; i += 2) {
        net_random_words(seed, sample, (uint32_t)(i / 2), words);
        z[i] = net_normal(words[0]);
        if (i + 1 < size)
            z[i + 1] = net_normal(words[1]);
    }
}

/* A random class of a sample: from the last place's word. */
static int net_random_class(uint64_t seed, uint32_t sample, int classes)
{
    uint32_t words[2];
    net_random_words(seed, sample, 0xffffffffu, words);
    return (int)((uint64_t)words[0] * (uint64_t)classes >> 32);
}
