"use strict";
// A generator in JavaScript: the operations of its graph, portable noise, and weights from packed base64. Images are
// [height][width][channels]. An operation takes its description, its inputs and the array to fill.

const f32 = Math.fround; // keeps sums and products in float32, as the engine has them

const operations = {
  // Filters, place by place: each number that goes out gathers what it sees, eight channels at a time.
  filter(op, [x], y) {
    const { C, K, W, P, Q, S, rows, columns, blocks, rest, b } = op.made, size = op.made.taps * C, whole = K - K % 8;
    for (let k = 0; k < whole; k += 8)
      for (let p = 0, at = k; p < P; p++)
        for (let q = 0; q < Q; q++, at += K) {
          let s0 = b[k], s1 = b[k + 1], s2 = b[k + 2], s3 = b[k + 3];
          let s4 = b[k + 4], s5 = b[k + 5], s6 = b[k + 6], s7 = b[k + 7];
          const down = rows[p], across = columns[q];
          for (let m = 0; m < down.length; m += 3)
            for (let n = 0; n < across.length; n += 3) {
              let i = (down[m + 1] * W + across[n + 1]) * C, j = k * size + (down[m] * S + across[n]) * C * 8;
              for (const end = i + across[n + 2] * C; i < end; i++, j += 8) {
                const v = x[i];
                s0 = f32(s0 + f32(v * blocks[j]));
                s1 = f32(s1 + f32(v * blocks[j + 1]));
                s2 = f32(s2 + f32(v * blocks[j + 2]));
                s3 = f32(s3 + f32(v * blocks[j + 3]));
                s4 = f32(s4 + f32(v * blocks[j + 4]));
                s5 = f32(s5 + f32(v * blocks[j + 5]));
                s6 = f32(s6 + f32(v * blocks[j + 6]));
                s7 = f32(s7 + f32(v * blocks[j + 7]));
              }
            }
          y[at] = s0; y[at + 1] = s1; y[at + 2] = s2; y[at + 3] = s3;
          y[at + 4] = s4; y[at + 5] = s5; y[at + 6] = s6; y[at + 7] = s7;
        }
    for (let k = whole; k < K; k++)
      for (let p = 0, at = k; p < P; p++)
        for (let q = 0; q < Q; q++, at += K) {
          let sum = b[k], other = 0;
          const down = rows[p], across = columns[q];
          for (let m = 0; m < down.length; m += 3)
            for (let n = 0; n < across.length; n += 3) {
              const i = (down[m + 1] * W + across[n + 1]) * C, count = across[n + 2] * C;
              const j = (k - whole) * size + (down[m] * S + across[n]) * C;
              let c = 0;
              for (; c + 1 < count; c += 2) {
                sum = f32(sum + f32(x[i + c] * rest[j + c]));
                other = f32(other + f32(x[i + c + 1] * rest[j + c + 1]));
              }
              if (c < count) sum = f32(sum + f32(x[i + c] * rest[j + c]));
            }
          y[at] = sum + other;
        }
  },
  // Each channel with a filter of its own.
  depthwise(op, [x], y) {
    const { rows, columns } = op.made, [P, Q, C] = op.shape, W = op.before[1], S = op.size[1];
    y.fill(0);
    for (let p = 0, at = 0; p < P; p++)
      for (let q = 0; q < Q; q++, at += C)
        for (let m = 0; m < rows[p].length; m += 3)
          for (let n = 0; n < columns[q].length; n += 3) {
            const i = (rows[p][m + 1] * W + columns[q][n + 1]) * C, j = (rows[p][m] * S + columns[q][n]) * C;
            for (let c = 0; c < C; c++) y[at + c] += op.w[j + c] * x[i + c];
          }
  },
  // The same where each group of channels is filtered by itself.
  filter_in_groups(op, [x], y) {
    const { C, K, W, P, Q, S, rows, columns, w, b } = op.made, deep = C / op.groups, wide = K / op.groups;
    for (let k = 0; k < K; k++) {
      const own = k * op.made.taps * deep, first = Math.floor(k / wide) * deep;
      for (let p = 0, at = k; p < P; p++)
        for (let q = 0; q < Q; q++, at += K) {
          let sum = b[k];
          const down = rows[p], across = columns[q];
          for (let m = 0; m < down.length; m += 3)
            for (let n = 0; n < across.length; n += 3) {
              const i = (down[m + 1] * W + across[n + 1]) * C + first, j = own + (down[m] * S + across[n]) * deep;
              for (let c = 0; c < deep; c++) sum = f32(sum + f32(x[i + c] * w[j + c]));
            }
          y[at] = sum;
        }
    }
  },
  affine(op, [x], y) {
    const C = op.scale.length;
    for (let i = 0; i < y.length; i++) y[i] = x[i] * op.scale[i % C] + op.shift[i % C];
  },
  // x (condition gamma) + condition beta, by channel, with tables [F][C].
  conditional_affine(op, [x, condition], y) {
    const C = op.gamma.length / condition.length, scale = new Float64Array(C), shift = new Float64Array(C);
    condition.forEach((value, f) => {
      for (let c = 0; c < C; c++) {
        scale[c] += value * op.gamma[f * C + c];
        shift[c] += value * op.beta[f * C + c];
      }
    });
    for (let i = 0; i < y.length; i++) y[i] = x[i] * scale[i % C] + shift[i % C];
  },
  // Each group of channels with mean 0 and variance 1, then a scale and a shift by channel.
  group_norm(op, [x], y) {
    const C = op.gamma.length, width = C / op.groups, count = x.length / op.groups;
    for (let first = 0; first < C; first += width) {
      const over = value => {
        let sum = 0;
        for (let i = first; i < x.length; i += C) for (let c = 0; c < width; c++) sum += value(x[i + c]);
        return sum / count;
      };
      const mean = over(v => v), factor = 1 / Math.sqrt(over(v => (v - mean) * (v - mean)) + op.eps);
      for (let i = first; i < x.length; i += C)
        for (let c = 0; c < width; c++) y[i + c] = (x[i + c] - mean) * factor * op.gamma[first + c] + op.beta[first + c];
    }
  },
  // Each channel times a number of its own.
  modulate(op, [x, s], y) { const C = s.length; for (let i = 0; i < y.length; i++) y[i] = x[i] * s[i % C]; },
  constant(op, inputs, y) { y.set(op.value); },
  // A constant image of one channel, added to each channel.
  add_image(op, [x], y) {
    const C = op.shape.at(-1);
    for (let i = 0; i < y.length; i++) y[i] = x[i] + op.image[Math.floor(i / C)];
  },
  rsqrt(op, [x], y) { for (let i = 0; i < y.length; i++) y[i] = 1 / Math.sqrt(x[i]); },
  // The channels of each pixel, or a vector, with a mean square of 1.
  pixel_norm(op, [x], y) {
    const C = op.shape.at(-1);
    for (let i = 0; i < x.length; i += C) {
      let squares = 0;
      for (let c = 0; c < C; c++) squares += x[i + c] * x[i + c];
      const factor = 1 / Math.sqrt(squares / C + op.eps);
      for (let c = 0; c < C; c++) y[i + c] = x[i + c] * factor;
    }
  },
  scale(op, [x], y) { for (let i = 0; i < y.length; i++) y[i] = op.factor * x[i] + op.offset; },
  relu(op, [x], y) { for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 ? x[i] : 0; },
  leaky_relu(op, [x], y) { for (let i = 0; i < y.length; i++) y[i] = Math.max(x[i], op.slope * x[i]); },
  tanh(op, [x], y) { for (let i = 0; i < y.length; i++) y[i] = Math.tanh(x[i]); },
  sigmoid(op, [x], y) { for (let i = 0; i < y.length; i++) y[i] = 0.5 * Math.tanh(0.5 * x[i]) + 0.5; },
  add(op, [x, other], y) { for (let i = 0; i < y.length; i++) y[i] = x[i] + other[i]; },
  // The largest of each output's pieces, which lie K channels apart.
  maxout(op, [x], y) {
    const K = op.shape.at(-1);
    for (let i = 0; i < y.length; i++) {
      const from = (i - i % K) * op.pieces + i % K;
      y[i] = x[from];
      for (let piece = 1; piece < op.pieces; piece++) y[i] = Math.max(y[i], x[from + piece * K]);
    }
  },
  // Each channel of each pixel from a place of the input, which the description lists once.
  move(op, [x], y) { for (let i = 0; i < y.length; i++) y[i] = x[op.made[i]]; },
  average_pool(op, [x], y) {
    const [P, Q, C] = op.shape, [down, across] = op.factor;
    for (let p = 0, at = 0; p < P; p++)
      for (let q = 0; q < Q; q++)
        for (let c = 0; c < C; c++, at++) {
          let sum = 0;
          for (let r = 0; r < down; r++)
            for (let s = 0; s < across; s++) sum += x[((p * down + r) * Q * across + q * across + s) * C + c];
          y[at] = sum / (down * across);
        }
  },
  // Joined along the channels; a vector stands at every pixel.
  concat(op, inputs, y) {
    const K = op.shape.at(-1);
    let first = 0;
    inputs.forEach((x, n) => {
      const C = op.widths[n], step = op.spread[n] ? 0 : C;
      for (let i = first, from = 0; i < y.length; i += K, from += step) for (let c = 0; c < C; c++) y[i + c] = x[from + c];
      first += C;
    });
  },
  // The drawn image in the hole, the given one elsewhere; `given` has one more channel, a mask that is 1 in the hole.
  fill(op, [drawn, given], y) {
    const C = op.shape.at(-1);
    for (let i = 0, from = 0; i < y.length; i += C, from += C + 1)
      for (let c = 0; c < C; c++)
        y[i + c] = given[from + C] * drawn[i + c] + (1 - given[from + C]) * given[from + c];
  },
  // Self-attention: each pixel adds the h of all pixels, weighted by how well their f fits its g.
  attend(op, [x, f, g, h], y) {
    const C = op.shape.at(-1), pixels = y.length / C, F = f.length / pixels, looks = new Float64Array(pixels);
    y.set(x);
    for (let p = 0; p < pixels; p++) {
      let sum = 0;
      for (let q = 0; q < pixels; q++) {
        looks[q] = 0;
        for (let i = 0; i < F; i++) looks[q] += g[p * F + i] * f[q * F + i];
      }
      const largest = looks.reduce((a, b) => Math.max(a, b));
      for (let q = 0; q < pixels; q++) sum += looks[q] = Math.exp(looks[q] - largest);
      for (let c = 0; c < C; c++) {
        let seen = 0;
        for (let q = 0; q < pixels; q++) seen += looks[q] * h[q * C + c];
        y[p * C + c] = x[p * C + c] + op.gamma * seen / sum;
      }
    }
  },
};

// What is computed once, before the first picture, by the operation's name.
const preparations = {
  filter(op) {
    const [H, W, C] = op.before, [P, Q, K] = op.after, [R, S] = op.size, taps = R * S, whole = K - K % 8;
    const blocks = new Float32Array(whole * taps * C), rest = new Float32Array((K - whole) * taps * C);
    for (let i = 0, at = 0; i < taps * C; i++)
      for (let k = 0; k < K; k++, at++) {
        if (k < whole) blocks[(k - k % 8) * taps * C + i * 8 + k % 8] = op.w[at];
        else rest[(k - whole) * taps * C + i] = op.w[at];
      }
    const rows = seen(P, R, H, op.stride[0], op.cut[0], op.transposed, false);
    const columns = seen(Q, S, W, op.stride[1], op.cut[1], op.transposed, true);
    op.w = null;
    return { C, K, W, P, Q, S, taps, rows, columns, blocks, rest, b: op.b || new Float32Array(K) };
  },
  depthwise(op) {
    const [H, W] = op.before, [P, Q] = op.shape, [R, S] = op.size;
    return {
      rows: seen(P, R, H, op.stride[0], op.cut[0], op.transposed, false),
      columns: seen(Q, S, W, op.stride[1], op.cut[1], op.transposed, false),
    };
  },
  filter_in_groups(op) {
    const [H, W, C] = op.before, [P, Q, K] = op.after, [R, S] = op.size, taps = R * S;
    const w = op.w.map((_, at) => op.w[(at % (op.w.length / K)) * K + Math.floor(at / (op.w.length / K))]);
    const rows = seen(P, R, H, op.stride[0], op.cut[0], op.transposed, false);
    const columns = seen(Q, S, W, op.stride[1], op.cut[1], op.transposed, false);
    op.w = null;
    return { C, K, W, P, Q, S, taps, rows, columns, w, b: op.b || new Float32Array(K) };
  },
  move(op) {
    const [P, Q, C] = op.shape, [H, W, D] = op.before, [down, across] = op.factor || [1, 1];
    const mirrored = (n, size) => (n < 0 ? -n : n >= size ? 2 * size - 2 - n : n);
    const from = {
      repeat: (p, q, c) => (Math.floor(p / down) * W + Math.floor(q / across)) * D + c,
      shuffle: (p, q, c) => (Math.floor(p / down) * W + Math.floor(q / across)) * D
        + (p % down * across + q % across) * C + c,
      reflect: (p, q, c) => (mirrored(p - op.cut[0], H) * W + mirrored(q - op.cut[1], W)) * D + c,
    }[op.how];
    return Int32Array.from({ length: P * Q * C }, (_, i) => from(Math.floor(i / C / Q), Math.floor(i / C) % Q, i % C));
  },
};

// What each place along one side sees: for a run of neighbors the first place in the filter, the first in the input,
// and how many. A transposed filter is stamped a stride apart, and a margin `cut` is lost.
function seen(places, size, before, stride, cut, transposed, joined) {
  return Array.from({ length: places }, (_, p) => {
    const runs = [];
    for (let r = 0; r < size; r++) {
      const at = transposed ? (p + cut - r) / stride : p * stride + r - cut;
      if (at < 0 || at >= before || at % 1) continue;
      const last = runs.length - 3;
      if (joined && last >= 0 && r === runs[last] + runs[last + 2] && at === runs[last + 1] + runs[last + 2]) runs[last + 2]++;
      else runs.push(r, at, 1);
    }
    return Int32Array.from(runs);
  });
}

// Bytes of base64, in pieces: one long text would need twice the memory at once.
function bytesOf(text) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0, piece = 1 << 18;
  const bytes = new Uint8Array(text.length / 4 * 3 - padding);
  for (let from = 0, at = 0; from < text.length; from += piece) {
    const part = atob(text.slice(from, from + piece));
    for (let i = 0; i < part.length; i++) bytes[at++] = part.charCodeAt(i);
  }
  return bytes;
}

// The content of zlib's format.
async function unpacked(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A stored array as Float32Array. Half-precision numbers have an exponent that is too small by 112 after a shift.
function numbersOf(bytes, { at, size, type }, scale) {
  const numbers = new Float32Array(size), words = new Uint32Array(numbers.buffer);
  const view = new DataView(bytes.buffer, at);
  for (let i = 0; i < size; i++) {
    if (type === "fp32") numbers[i] = view.getFloat32(4 * i, true);
    else if (type === "int8") numbers[i] = view.getInt8(i) * scale[i % scale.length];
    else {
      const half = view.getUint16(2 * i, true);
      words[i] = (half & 0x8000) << 16 | (half & 0x7fff) << 13;
      numbers[i] *= 2 ** 112;
    }
  }
  return numbers;
}

// A generator: `values` has all that it has computed last, by number; `run` draws.
class Generator {
  constructor(data, bytes) {
    this.tensors = [];
    for (const kept of data.tensors) this.tensors.push(numbersOf(bytes, kept, this.tensors[kept.scale]));
    this.output = data.output;
    this.values = new Map();
    this.ops = data.ops;
    for (const op of this.ops) {
      for (const name of op.arrays) op[name] = this.tensors[op[name]];
      if (preparations[op.op]) op.made = preparations[op.op](op);
      if (op.op !== "reshape") this.values.set(op.out, new Float32Array(op.shape.reduce((a, b) => a * b, 1)));
    }
  }

  run(input, condition) {
    this.values.set(0, input).set(1, condition);
    for (const op of this.ops) {
      const inputs = op.inputs.map(value => this.values.get(value));
      if (op.op === "reshape") this.values.set(op.out, inputs[0]);
      else operations[op.op](op, inputs, this.values.get(op.out));
    }
    return this.values.get(this.output);
  }
}

// Two random words of 32 bits of a place of a sample: Threefry-2x32 with 20 rounds (Salmon et al. 2011).
function randomWords(seed, sample, place) {
  const low = seed % 2 ** 32, high = Math.floor(seed / 2 ** 32);
  const keys = [low, high, low ^ high ^ 0x1bd11bda];
  let a = (place + low) | 0, b = (sample + high) | 0;
  for (let turn = 0; turn < 5; turn++) {
    for (const bits of [[13, 15, 26, 6], [17, 29, 16, 24]][turn % 2]) {
      a = (a + b) | 0;
      b = ((b << bits) | (b >>> (32 - bits))) ^ a;
    }
    a = (a + keys[(turn + 1) % 3]) | 0;
    b = (b + keys[(turn + 2) % 3] + turn + 1) | 0;
  }
  return [a >>> 0, b >>> 0];
}

// A number from N(0, 1) by Wichura's inverse of its distribution (1988, AS 241); truncated, from its middle alone.
function normal(word, truncation) {
  const middle = (2 * (word >>> 9) + 1) / 2 ** 24 - 0.5, q = truncation * middle;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return q * (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179)
      / (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1);
  }
  const t = Math.sqrt(-Math.log(0.5 - Math.abs(q))) - 1.6;
  const z = (((0.17023821103 * t + 1.3067284816) * t + 2.75681539) * t + 1.4234372777)
    / ((0.12021132975 * t + 0.7370016425) * t + 1);
  return Math.sign(q) * z;
}

function noise(seed, sample, size, truncation) {
  return Float32Array.from({ length: size }, (_, i) => normal(randomWords(seed, sample, i >> 1)[i & 1], truncation));
}

function randomClass(seed, sample, classes) {
  return Math.floor((randomWords(seed, sample, 2 ** 32 - 1)[0] * classes) / 2 ** 32);
}

// A vector on the arc from a to b; a straight line where there is no arc.
function between(a, b, t) {
  if (t === 0 || t === 1) return t ? b : a;
  let product = 0, one = 0, other = 0;
  a.forEach((value, i) => { product += value * b[i]; one += value * value; other += b[i] * b[i]; });
  const lengths = Math.sqrt(one * other), angle = lengths ? Math.acos(Math.min(1, Math.max(-1, product / lengths))) : 0;
  const sine = Math.sin(angle), from = sine < 1e-6 ? 1 - t : Math.sin((1 - t) * angle) / sine;
  const to = sine < 1e-6 ? t : Math.sin(t * angle) / sine;
  return a.map((value, i) => from * value + to * b[i]);
}
