// The page around the generator: what is chosen, drawn and saved.
(async () => {
  if (typeof document === "undefined") return; // a worker
  const script = document.currentScript.textContent, at = id => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  if (!globalThis.DecompressionStream) {
    at("check").textContent = "This browser is too old to unpack the weights: it lacks DecompressionStream.";
    return;
  }
  const bytes = await unpacked(bytesOf(at("weights").textContent)), paint = painter(data, bytes, script);
  at("weights").remove();
  const [HEIGHT, WIDTH] = data.image;
  let spent = 0, quickest = Infinity; // ms of the last picture, and of the quickest

  // The outputs for inputs; what the chosen layer computes for the first one is shown, if that is asked for.
  const draw = async (given, layers) => {
    const layer = layers ? chosen : null, answer = await paint(given, layer && layer.out);
    spent = answer.spent;
    quickest = Math.min(quickest, spent);
    if (layer) showLayer(layer, answer.values);
    return answer.outputs;
  };
  const hot = label => Float32Array.from({ length: data.classes }, (_, i) => (i === label ? 1 : 0));
  const level = value => (Math.min(1, Math.max(-1, value / data.extent)) + 1) * 127.5;
  const color = name => {
    const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return [1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16));
  };

  // A picture from numbers from -1 to 1, of which each pixel has at least so many.
  const pixels = (numbers, [H, W, C], shown = C) => {
    const image = new ImageData(W, H);
    for (let i = 0; i < H * W; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(level(numbers[i * C + (shown === 1 ? 0 : c)]));
      image.data[4 * i + 3] = 255;
    }
    return image;
  };
  // Points of the plane as dots, a denser place darker; the first one stands out.
  const dots = (points, side) => {
    const image = new ImageData(side, side), paper = color("--tint"), ends = [color("--low"), color("--high")];
    const dense = new Float32Array(side * side), reach = Math.max(1, Math.round(side / 224));
    const place = value => Math.round((value / data.extent + 1) / 2 * (side - 1));
    const each = ([x, y], work, reach) => {
      for (let q = -reach; q <= reach; q++)
        for (let p = -reach; p <= reach; p++) {
          const column = place(x) + q, row = place(-y) + p, inside = q * q + p * p <= reach * reach;
          if (inside && column >= 0 && column < side && row >= 0 && row < side) work(row * side + column);
        }
    };
    for (const point of points) each(point, i => dense[i]++, reach);
    for (let i = 0; i < dense.length; i++) {
      const share = 1 - Math.exp(-dense[i] / 2);
      image.data.set([...paper.map((from, c) => from + (ends[0][c] - from) * share), 255], 4 * i);
    }
    each(points[0], i => image.data.set(ends[1], 4 * i), 2 * reach);
    return image;
  };
  const put = (canvas, image) => {
    if (canvas.width !== image.width || canvas.height !== image.height) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  // ------------------------------------------------------------------------------------------ self-check

  const check = async () => {
    const { size, count, levels, most } = data.check, expected = bytesOf(levels);
    const pattern = Float32Array.from({ length: data.latent }, (_, i) => (i * 37 % 64 - 32) / 32);
    const given = [{ z: data.noise ? noise(0, 0, data.latent, 1) : pattern, c: data.classes ? hot(0) : null }];
    const [y] = await draw(given);
    let largest = 0;
    for (let i = 0; i < count; i++) {
      const place = count === size ? i : Math.floor(i * (size - 1) / Math.max(1, count - 1));
      const off = Math.abs(level(y[place]) - expected[i]);
      largest = off <= largest ? largest : off;
    }
    const until = performance.now() + 300; // the first ones are compiled on their way
    for (let n = 0; n < 8 && performance.now() < until; n++) await draw(given);
    const ok = largest <= most + 0.5;
    at("check").className = ok ? "check ok" : "check failed";
    at("check").textContent = ok
      ? `Self-check passed: JavaScript draws minigan's picture, to ${largest.toFixed(1)} of 255, in ${quickest.toFixed(1)} ms.`
      : `Self-check failed: JavaScript draws another picture than minigan, by ${largest.toFixed(1)} of 255.`;
  };

  // ------------------------------------------------------------------------------------------ layers

  let chosen = null;
  const showLayer = ({ name, shape }, values) => {
    const [H, W, C] = shape.length === 3 ? shape : [1, 1, shape.at(-1)], tiles = Math.min(C, 64);
    const across = Math.min(tiles, Math.ceil(Math.sqrt(tiles * 1.6))), down = Math.ceil(tiles / across);
    const gap = H * W > 1 ? 1 : 0;
    let low = Infinity, high = -Infinity;
    for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    const most = Math.max(-low, high) || 1, paper = color("--tint"), ends = [color("--low"), color("--high")];
    const image = new ImageData(across * (W + gap) - gap, down * (H + gap) - gap);
    for (let tile = 0; tile < tiles; tile++)
      for (let p = 0; p < H; p++)
        for (let q = 0; q < W; q++) {
          const x = tile % across * (W + gap) + q, y = Math.floor(tile / across) * (H + gap) + p;
          const value = values[(p * W + q) * C + tile] / most, end = ends[value < 0 ? 0 : 1], to = 4 * (y * image.width + x);
          for (let c = 0; c < 3; c++) image.data[to + c] = paper[c] + (end[c] - paper[c]) * Math.abs(value);
          image.data[to + 3] = 255;
        }
    put(at("maps"), image);
    at("maps").style.width = Math.min(16 * image.width, 960, Math.max(image.width, 16 * across, 640)) + "px";
    const what = H * W > 1 ? `${tiles < C ? `the first ${tiles} of ` : ""}${C} channels` : `${tiles < C ? `the first ${tiles} of ` : ""}${C} numbers`;
    at("shown").textContent = `${name}: ${what}, from ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
  };
  const listLayers = redraw => {
    for (const op of data.ops) {
      if (op.op === "reshape") continue;
      const button = document.createElement("button"), size = document.createElement("small");
      button.textContent = op.name.split(".").at(-1);
      button.title = op.name;
      size.textContent = op.shape.join("×");
      button.append(size);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        chosen = chosen === op ? null : op;
        for (const other of at("layers").querySelectorAll("button")) {
          other.setAttribute("aria-pressed", String(chosen !== null && other === button));
        }
        at("activations").hidden = chosen === null;
        redraw();
      });
      const item = document.createElement("li");
      item.append(button);
      at("layers").append(item);
    }
  };

  // ------------------------------------------------------------------------------------------ files

  const save = name => {
    const scale = Math.max(1, Math.round(512 / Math.max(WIDTH, HEIGHT))), large = document.createElement("canvas");
    large.width = WIDTH * scale;
    large.height = HEIGHT * scale;
    const context = large.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(at("picture"), 0, 0, large.width, large.height);
    large.toBlob(blob => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name + ".png";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  };

  // Many wishes to draw before the next frame are one.
  let waiting = 0;
  const soon = work => {
    if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; work(); });
  };

  // The work, such that a wish while it goes on is one more turn, whatever their number. It says when it takes long.
  const latest = work => {
    let running = null, again = false;
    const turns = async () => {
      const late = setTimeout(() => { at("status").textContent = "Drawing ..."; }, 500);
      do { again = false; await work(); } while (again);
      clearTimeout(late);
      running = null;
    };
    return () => {
      again = true;
      return running ||= turns();
    };
  };

  // ------------------------------------------------------------------------------------------ from noise

  const fromNoise = async () => {
    const FAR = 4, MOST = Number.MAX_SAFE_INTEGER - 8, ways = data.directions === null ? [] : numbersOf(bytes, data.tensors[data.directions]);
    const count = ways.length / data.latent;
    const fresh = () => ({ x: 0, y: 0, truncation: 1, walked: 0, along: new Array(count).fill(0) });
    const state = { seed: 0, label: -1, ...fresh() };

    // What a seed's picture is drawn from: its first sample; of points, a cloud of samples.
    const source = seed => Array.from({ length: data.points || 1 }, (_, n) => ({
      z: noise(seed, n, data.latent, state.truncation),
      c: data.classes ? hot(state.label < 0 ? randomClass(seed, n, data.classes) : state.label) : null,
    }));
    const mix = (a, b, t) => a.map(({ z, c }, n) => (
      { z: between(z, b[n].z, t), c: c && c.map((value, i) => (1 - t) * value + t * b[n].c[i]) }));
    const blend = (corners, x, y) => mix(mix(corners[0], corners[1], x), mix(corners[2], corners[3], x), y);
    const painted = async (given, along, side, layers) => {
      const outputs = await draw(given.map(({ z, c }) => {
        const there = z.slice();
        along.forEach((far, n) => {
          if (far) for (let i = 0; i < there.length; i++) there[i] += far * ways[n * data.latent + i];
        });
        return { z: there, c };
      }), layers);
      return data.points ? dots(outputs, side) : pixels(outputs[0], data.image);
    };
    const thumb = data.points ? 96 : HEIGHT; // the side of a small picture of points
    const corners = () => [0, 1, 2, 3].map(n => source(state.seed + n));
    const here = () => (state.walked
      ? mix(source(state.seed), source(state.seed + 1), state.walked)
      : blend(corners(), state.x, state.y));

    // The address holds what is chosen.
    const read = () => {
      const given = new URLSearchParams(location.hash.slice(1));
      const number = (name, low, high, otherwise) => {
        const value = given.get(name) ? Number(given.get(name)) : NaN;
        return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
      };
      Object.assign(state, fresh());
      state.seed = Math.floor(number("seed", 0, MOST, 0));
      state.label = Math.floor(number("class", 0, data.classes - 1, -1));
      state.truncation = number("truncation", 0, 1, 1);
      state.x = number("x", 0, 1, 0);
      state.y = number("y", 0, 1, 0);
      state.along = state.along.map((_, n) => number("d" + (n + 1), -FAR, FAR, 0));
    };
    const write = () => {
      const parts = [["seed", state.seed]];
      if (state.label >= 0) parts.push(["class", state.label]);
      if (state.truncation !== 1) parts.push(["truncation", state.truncation]);
      if (state.x) parts.push(["x", state.x.toFixed(2)]);
      if (state.y) parts.push(["y", state.y.toFixed(2)]);
      state.along.forEach((far, n) => { if (far) parts.push(["d" + (n + 1), far]); });
      history.replaceState(null, "", "#" + new URLSearchParams(parts));
    };

    // -------------------------------------------------------------------------------- what is seen

    const say = () => {
      const any = data.points || !data.classes ? -1 : randomClass(state.seed, 0, data.classes);
      const label = state.label >= 0 ? state.label : any;
      const what = `${state.seed}${label < 0 ? "" : `, class ${data.names[label]}`}`;
      at("picture").setAttribute("aria-label", `${data.points ? `${data.points} points` : "Picture"} of seed ${what}`);
      at("status").textContent = `Seed ${what}, drawn in ${spent.toFixed(1)} ms`;
    };
    const show = latest(async () => {
      put(at("picture"), await painted(here(), state.along, WIDTH, true));
      if (!timer) say();
    });
    const settle = () => {
      at("handle").style.left = 100 * state.x + "%";
      at("handle").style.top = 100 * state.y + "%";
      const across = Math.round(100 * state.x), down = Math.round(100 * state.y);
      at("pad").setAttribute("aria-valuenow", across);
      at("pad").setAttribute("aria-valuetext", `${across} % across, ${down} % down`);
      at("seed").value = state.seed;
      at("truncation").value = state.truncation;
      at("truncated").textContent = state.truncation.toFixed(2);
      state.along.forEach((far, n) => {
        at("direction" + n).value = far;
        at("direction" + n).parentNode.lastChild.textContent = far.toFixed(1);
      });
      for (const input of at("classes").querySelectorAll("input")) input.checked = Number(input.value) === state.label;
    };

    // The small pictures, one at a time, so that a wish waits for no more than one.
    let filling = 0, filled = "";
    const fill = async () => {
      const key = JSON.stringify(state);
      if (key === filled || timer) return;
      filled = key;
      const mine = ++filling;
      const side = quickest < 12 ? 5 : quickest < 40 ? 3 : 2, all = corners(), from = here(), works = [];
      const [wide, high] = data.points ? [thumb, thumb] : [WIDTH, HEIGHT], canvas = at("blends");
      canvas.width = side * wide;
      canvas.height = side * high;
      for (let p = 0; p < side; p++)
        for (let q = 0; q < side; q++)
          works.push(async () => canvas.getContext("2d").putImageData(
            await painted(blend(all, q / (side - 1), p / (side - 1)), state.along, thumb), q * wide, p * high));
      for (const end of at("directions").querySelectorAll("canvas")) {
        end.hidden = quickest >= 40;
        if (end.hidden) continue;
        const along = state.along.slice();
        along[end.dataset.direction] = Number(end.dataset.far);
        works.push(async () => put(end, await painted(from, along, thumb)));
      }
      const drawing = spent; // what is said is about the large picture
      for (const work of works) {
        if (mine !== filling) return;
        await work();
        spent = drawing;
      }
    };
    let settled = 0;
    const changed = () => soon(() => {
      settle();
      show();
      if (timer) return;
      write();
      clearTimeout(settled);
      settled = setTimeout(fill, 120);
    });

    // -------------------------------------------------------------------------------- controls

    let timer = 0, walks = 0;
    const stop = () => {
      if (!timer) return;
      cancelAnimationFrame(timer);
      timer = 0;
      at("walk").textContent = "Walk";
      at("walk").setAttribute("aria-pressed", "false");
    };
    const go = () => {
      const mine = ++walks;
      let before = performance.now();
      state.x = state.y = 0;
      settle();
      at("walk").textContent = "Pause";
      at("walk").setAttribute("aria-pressed", "true");
      const step = async now => {
        state.walked += Math.min(0.1, Math.max(0, now - before) / 2500);
        before = now;
        if (state.walked >= 1) {
          state.walked -= 1;
          state.seed = state.seed < MOST ? state.seed + 1 : 0;
          at("seed").value = state.seed;
        }
        await show();
        if (timer && mine === walks) timer = requestAnimationFrame(step);
      };
      timer = requestAnimationFrame(step);
    };
    const jump = seed => {
      stop();
      Object.assign(state, { seed, x: 0, y: 0, walked: 0 });
      changed();
    };
    at("walk").addEventListener("click", () => {
      if (timer) { stop(); changed(); } else go();
    });
    at("new").addEventListener("click", () => jump(Math.floor(Math.random() * 1e6)));
    at("seed").addEventListener("input", () => {
      const seed = at("seed").valueAsNumber;
      if (Number.isInteger(seed) && seed >= 0 && seed <= MOST) jump(seed);
    });
    at("seed").addEventListener("change", settle);
    at("save").addEventListener("click", () => save(`${data.name}-seed-${state.seed}`));
    at("truncation").addEventListener("input", () => { state.truncation = at("truncation").valueAsNumber; changed(); });
    at("reset").addEventListener("click", () => { stop(); Object.assign(state, fresh()); changed(); });

    const place = (x, y) => {
      stop();
      Object.assign(state, { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)), walked: 0 });
      changed();
    };
    const follow = event => {
      const box = at("pad").getBoundingClientRect();
      place((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    at("pad").addEventListener("pointerdown", event => {
      if (event.button) return;
      at("pad").setPointerCapture(event.pointerId);
      follow(event);
    });
    at("pad").addEventListener("pointermove", event => { if (event.buttons & 1) follow(event); });
    at("pad").addEventListener("keydown", event => {
      const by = event.shiftKey ? 0.25 : 0.05;
      const ways = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
      if (event.key === "Home") place(0, 0);
      else if (event.key === "End") place(1, 1);
      else if (ways[event.key]) place(state.x + ways[event.key][0], state.y + ways[event.key][1]);
      else return;
      event.preventDefault();
    });

    for (let n = 0; n < count; n++) {
      const label = document.createElement("label"), input = document.createElement("input");
      const output = document.createElement("output");
      Object.assign(input, { type: "range", min: -FAR, max: FAR, step: 0.1, value: 0, id: "direction" + n });
      input.setAttribute("aria-label", `Direction ${n + 1}`);
      input.addEventListener("input", () => { state.along[n] = input.valueAsNumber; changed(); });
      const ends = [-FAR, FAR].map(far => {
        const end = document.createElement("canvas");
        Object.assign(end.dataset, { direction: n, far });
        end.setAttribute("aria-hidden", "true");
        return end;
      });
      label.append(String(n + 1), ends[0], input, ends[1], output);
      at("directions").append(label);
    }
    if (data.classes) {
      at("classes").hidden = false;
      for (let label = -1; label < data.classes; label++) {
        const around = document.createElement("label"), input = document.createElement("input");
        Object.assign(input, { type: "radio", name: "class", value: label });
        input.addEventListener("change", () => { state.label = label; changed(); });
        around.append(input, label < 0 ? "any" : data.names[label]);
        at("classes").append(around);
      }
    }
    addEventListener("hashchange", () => { stop(); read(); changed(); });
    listLayers(show);
    if (data.points) at("layers-of").textContent = "Choose one to see what it computes for the orange point.";
    read();
    settle();
    write();
    await check();
    await show();
    fill();
  };

  // ------------------------------------------------------------------------------------------ from pictures

  const fromPictures = async () => {
    const [H, W, C] = data.input, shown = data.mask ? C - 1 : C, sizes = [Math.round(0.4 * H), Math.round(0.4 * W)];
    let picture = null, hole = [Math.round((H - sizes[0]) / 2), Math.round((W - sizes[1]) / 2)], called = "a test picture";

    // Numbers from -1 to 1, in which a hole has the mean color of the rest, and its mask.
    const numbers = () => {
      const x = new Float32Array(H * W * C), within = (p, q) => data.mask && p >= hole[0] && p < hole[0] + sizes[0]
        && q >= hole[1] && q < hole[1] + sizes[1];
      for (let i = 0; i < H * W; i++) {
        const [r, g, b] = picture.data.slice(4 * i, 4 * i + 3);
        const tones = shown === 1 ? [0.299 * r + 0.587 * g + 0.114 * b] : [r, g, b];
        tones.forEach((tone, c) => { x[i * C + c] = tone / 127.5 - 1; });
      }
      if (!data.mask) return x;
      for (let c = 0; c < shown; c++) {
        let sum = 0, known = 0;
        for (let i = 0; i < H * W; i++) if (!within(Math.floor(i / W), i % W)) { sum += x[i * C + c]; known++; }
        for (let i = 0; i < H * W; i++) if (within(Math.floor(i / W), i % W)) x[i * C + c] = sum / known;
      }
      for (let i = 0; i < H * W; i++) x[i * C + shown] = within(Math.floor(i / W), i % W) ? 1 : 0;
      return x;
    };
    const show = latest(async () => {
      const x = numbers(), given = called;
      put(at("source"), pixels(x, data.input, shown));
      const [y] = await draw([{ z: x, c: null }], true);
      put(at("picture"), pixels(y, data.image));
      at("status").textContent = `From ${given}, drawn in ${spent.toFixed(1)} ms`;
    });

    // A picture is scaled until it covers the network's input, and cut at its sides.
    const take = async blob => {
      try {
        const image = await createImageBitmap(blob), scale = Math.max(W / image.width, H / image.height);
        const canvas = document.createElement("canvas"), width = image.width * scale, height = image.height * scale;
        canvas.width = W;
        canvas.height = H;
        const context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.fillStyle = "#fff";
        context.fillRect(0, 0, W, H);
        context.drawImage(image, (W - width) / 2, (H - height) / 2, width, height);
        picture = context.getImageData(0, 0, W, H);
        called = blob.name || "a picture";
        show();
      } catch {
        at("status").textContent = `${blob.name || "This"} is not a picture that the browser can read.`;
      }
    };
    const testPicture = () => {
      const image = new ImageData(W, H);
      for (let i = 0; i < H * W; i++) {
        const u = (i % W + 0.5) / W, v = (Math.floor(i / W) + 0.5) / H, far = Math.hypot(u - 0.5, v - 0.5) * 2;
        const tones = far < 0.6 ? [240 - 60 * v, 140 + 60 * u, 90] : [70 + 70 * u, 90 + 60 * v, 150];
        image.data.set([...tones, 255], 4 * i);
      }
      return image;
    };

    const first = list => Array.from(list).find(file => file.type.startsWith("image/")) || list[0];
    at("file").addEventListener("change", () => { if (at("file").files.length) take(first(at("file").files)); });
    addEventListener("dragover", event => { event.preventDefault(); at("drop").classList.add("over"); });
    addEventListener("dragleave", event => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
    addEventListener("drop", event => {
      event.preventDefault();
      at("drop").classList.remove("over");
      if (event.dataTransfer.files.length) take(first(event.dataTransfer.files));
    });
    addEventListener("paste", event => {
      if (event.clipboardData.files.length) take(first(event.clipboardData.files));
    });
    at("save").addEventListener("click", () => save(data.name));
    if (data.mask) {
      const move = (top, left) => {
        hole = [Math.min(H - sizes[0], Math.max(0, top)), Math.min(W - sizes[1], Math.max(0, left))];
        soon(show);
      };
      const follow = event => {
        const box = at("source").getBoundingClientRect();
        move(Math.round((event.clientY - box.top) / box.height * H - sizes[0] / 2),
          Math.round((event.clientX - box.left) / box.width * W - sizes[1] / 2));
      };
      at("hole").hidden = false;
      at("source").tabIndex = 0;
      at("source").addEventListener("pointerdown", follow);
      at("source").addEventListener("pointermove", event => { if (event.buttons & 1) follow(event); });
      at("source").addEventListener("keydown", event => {
        const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
        if (!ways) return;
        event.preventDefault();
        move(hole[0] + ways[0], hole[1] + ways[1]);
      });
    }
    listLayers(show);
    picture = testPicture();
    await check();
    show();
  };

  if (data.noise) fromNoise(); else fromPictures();
})();
