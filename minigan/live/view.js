"use strict";
// Draws the frames of a run: points of the plane or pictures, curves, and a layer's units. Used by the live page and by
// the replay in a report. Everything that is drawn comes from the engine; nothing is computed here but colors.
const liveView = (root, { onLayers, onUnit }) => {
  const make = (tag, parent, { name = "", text = "" } = {}) => {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text) node.textContent = text;
    parent.append(node);
    return node;
  };
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const points = packed => {
    const numbers = new Int16Array(bytes(packed.data).buffer);
    return Float32Array.from(numbers, n => n * packed.unit / 8192);
  };
  const short = value => value === null || value === undefined ? "–"
    : value && Math.abs(value) < 1e-4 ? value.toExponential(0) : String(Number(value.toPrecision(3)));
  let colors = {};
  const sprites = new Map();  // dots, drawn once by size and color
  const rgb = text => {
    const n = parseInt(text.trim().slice(1), 16);
    return [n >> 16, (n >> 8) & 255, n & 255];
  };
  const readColors = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["real", "fake", "realtint", "faketint", "mid", "net", "heat", "ink", "soft", "line", "paper"])
      colors[name] = style.getPropertyValue("--" + name).trim();
    colors.map = {};
    const [low, mid, high] = [rgb(colors.faketint), rgb(colors.mid), rgb(colors.realtint)];
    const mix = (a, b, t) => a.map((v, i) => v + (b[i] - v) * t);
    const map = color => {  // the four bytes of a pixel as one number, by value
      const pixels = new Uint8ClampedArray(1024);
      for (let v = 0; v < 256; v++) pixels.set([...color(v), 255], 4 * v);
      return new Uint32Array(pixels.buffer);
    };
    colors.map.sides = map(v => v < 128 ? mix(low, mid, v / 128) : mix(mid, high, (v - 128) / 127));
    const heat = rgb(colors.heat);
    colors.map.heat = map(v => mix(mid, heat, Math.sqrt(v / 255)));
    colors.map.gray = map(v => [v, v, v]);
    sprites.clear();
  };

  const titles = {
    surface: "D", slope: "|∇D|", optimal: "the best D", manifold: "G's manifold", arrows: "pull on the fakes",
    penalty: "penalty points", pull: "D's pull on each fake",
  };
  const longer = {
    surface: "D's surface", slope: "D's slope, which a gradient penalty holds down",
    optimal: "the best D against this G: p / (p + q), with the mixture's exact p", manifold: "a net of noise, carried over by G",
    arrows: "-dL/dx: the way G's loss asks each fake to go", penalty: "points at which the penalty is taken",
    pull: "-dL/dpixel: the change that G's loss asks for",
  };
  let about = null, last = null, chosen = [], unit = null, stages = [], marks = [], curves = [], kept = false, charted = 0, written = 0, writes = true;
  const chips = make("div", root, { name: "chips" });
  const legend = make("p", root, { name: "key" });
  const area = make("div", root, { name: "runs" });
  const charts = make("div", root, { name: "charts" });
  const units = make("div", root, { name: "units" });

  // ---------------------------------------------------------------------------------------- canvases

  const fitted = (canvas, height) => {
    const ratio = Math.min(devicePixelRatio || 1, 2), width = Math.max(canvas.clientWidth, 50);
    const w = Math.round(width * ratio), h = Math.round((height || width) * ratio);
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    const context = canvas.getContext("2d", { alpha: false });  // one that hides what is below is quicker to show
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colors.mid;
    context.fillRect(0, 0, width, height || width);
    return [context, width, height || width];
  };
  const scratch = document.createElement("canvas");
  // A field of bytes, stretched over a square; the first row is the lowest.
  const paint = (context, field, map, x, y, size, { smooth = true, flip = true, at = 0 } = {}) => {
    const [rows, columns] = field.shape.slice(-2), data = field.bytes || (field.bytes = bytes(field.data));
    scratch.width = columns; scratch.height = rows;
    const ink = scratch.getContext("2d"), image = ink.createImageData(columns, rows), pixels = new Uint32Array(image.data.buffer);
    for (let r = 0; r < rows; r++) for (let c = 0, to = (flip ? rows - 1 - r : r) * columns; c < columns; c++)
      pixels[to + c] = map[data[at + r * columns + c]];
    ink.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = smooth;
    context.drawImage(scratch, x, y, size, size * rows / columns);
  };
  const dots = (context, xy, place, radius, color, alpha) => {
    const dot = sprite(radius, color, alpha), half = Math.ceil(radius) + 1;
    for (let i = 0; i < xy.length; i += 2) {
      const [x, y] = place(xy[i], xy[i + 1]);
      context.drawImage(dot, x - half, y - half, 2 * half, 2 * half);
    }
  };
  // A picture of so many points each way, drawn once.
  const once = (name, points, act) => {
    const ratio = Math.min(devicePixelRatio || 1, 2), key = [name, points, ratio].join();
    if (!sprites.has(key)) {
      const canvas = new OffscreenCanvas(Math.round(points * ratio), Math.round(points * ratio)), ink = canvas.getContext("2d");
      ink.scale(ratio, ratio);
      act(ink);
      sprites.set(key, canvas.transferToImageBitmap());
    }
    return sprites.get(key);
  };
  // A disc as a picture: copied hundreds of times, that is quicker than as many arcs.
  const sprite = (radius, color, alpha) => once([radius, color, alpha], 2 * Math.ceil(radius) + 2, ink => {
    ink.fillStyle = color; ink.globalAlpha = alpha;
    ink.arc(Math.ceil(radius) + 1, Math.ceil(radius) + 1, radius, 0, 7);
    ink.fill();
  });

  // ---------------------------------------------------------------------------------------- the plane

  const drawNet = (context, xy, n, place) => {
    context.strokeStyle = colors.net;
    context.globalAlpha = .75;
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 0; i < n; i++) for (const [stride, start] of [[1, i * n], [n, i]])
      for (let j = 0; j < n; j++) {
        const k = 2 * (start + j * stride), [x, y] = place(xy[k], xy[k + 1]);
        j ? context.lineTo(x, y) : context.moveTo(x, y);
      }
    context.stroke();
    context.globalAlpha = 1;
  };
  const drawArrows = (context, fakes, pull, place) => {
    const v = points(pull);
    context.strokeStyle = colors.ink;
    context.lineWidth = 1.3;
    context.beginPath();
    for (let i = 0; i < v.length; i += 2) {
      const length = Math.hypot(v[i], v[i + 1]) / pull.unit;
      if (length < 1e-3) continue;
      const [x, y] = place(fakes[i], fakes[i + 1]), reach = 6 + 22 * Math.sqrt(length);
      const a = Math.atan2(-v[i + 1], v[i]), [p, q] = [x + reach * Math.cos(a), y + reach * Math.sin(a)];
      context.moveTo(x, y); context.lineTo(p, q);
      for (const turn of [2.6, -2.6]) { context.moveTo(p, q); context.lineTo(p + 5 * Math.cos(a + turn), q + 5 * Math.sin(a + turn)); }
    }
    context.stroke();
  };
  const drawModes = (context, modes, place) => {
    about.centers.forEach(([cx, cy], i) => {
      const [x, y] = place(cx, cy);
      context.strokeStyle = modes && modes.hit[i] ? colors.real : colors.soft;
      context.setLineDash(modes && modes.hit[i] ? [] : [3, 3]);
      context.lineWidth = modes && modes.hit[i] ? 2 : 1.2;
      context.beginPath();
      context.arc(x, y, 11, 0, 7);
      context.stroke();
    });
    context.setLineDash([]);
  };
  const say = (caption, name, text) => {
    if (!writes || caption.textContent === name + " " + text) return;
    caption.textContent = "";
    make("b", caption, { text: name });
    caption.append(" " + text);
  };
  const label = (canvas, text) => { if (canvas.getAttribute("aria-label") !== text) canvas.setAttribute("aria-label", text); };
  const planePanels = run => [
    ["surface", "D", run.surface ? `${run.words}, ${short(run.surface.low)} to ${short(run.surface.high)}` : "", run.surface, "sides"],
    ...(run.slope ? [["slope", "|∇D|", `from 0 to ${short(run.slope.high)}`, run.slope, "heat"]] : []),
    ...("optimal" in run ? [["optimal", "the best D", run.optimal ? `against this G, blurred by ${short(run.optimal.blur)}`
      : "this loss has no formula for it", run.optimal, "sides"]] : []),
  ];
  const drawPlane = (stage, run) => {
    const shown = planePanels(run);
    stage.need(shown.map(([name]) => name));
    const fakes = points(run.fake), real = about.realPoints || (about.realPoints = points(about.real));
    shown.forEach(([name, title, text, field, map], index) => {
      const panel = stage.panels[index], [context, size] = fitted(panel.canvas);
      const place = (x, y) => [(x / about.extent + 1) * size / 2, (1 - y / about.extent) * size / 2];
      say(panel.caption, title, text);
      if (field) paint(context, field, colors.map[map], 0, 0, size);
      if (run.manifold && name === "surface") drawNet(context, points(run.manifold), about.mesh, place);
      const layer = once("real", size, ink => dots(ink, real, place, 2, colors.real, .55));  // they never move
      context.drawImage(layer, 0, 0, size, size);
      if (about.centers) drawModes(context, run.modes, place);
      dots(context, fakes, place, name === "surface" ? 2.4 : 1.8, colors.fake, .85);
      if (run.penalty && run.penalty.at && name !== "optimal") dots(context, points(run.penalty.at), place, 2.2, colors.net, .9);
      if (run.arrows && name === "surface") drawArrows(context, fakes, run.arrows, place);
    });
    const modes = run.modes ? `${run.modes.modes} of ${run.modes.of} modes reached, ${Math.round(100 * run.modes.high_quality)} % of fakes near one` : "";
    label(stage.panels[0].canvas, `the plane: real points, fakes and D's surface. ${modes}`);
    stage.facts(run, run.modes ? [["real", `${run.modes.modes} of ${run.modes.of}`, "modes"], ["fake", `${Math.round(100 * run.modes.high_quality)} %`, "near one"]] : []);
  };

  // ---------------------------------------------------------------------------------------- pictures

  const drawGrid = (canvas, packed, { opinions = null, signed = false, picked = -1 } = {}) => {
    const [count, H, W, C = 1] = packed.shape, data = packed.bytes || (packed.bytes = bytes(packed.data));
    const columns = Math.ceil(Math.sqrt(count)), rows = Math.ceil(count / columns);
    const room = Math.max(canvas.clientWidth, 50), cell = room / columns, bar = opinions ? 5 : 0;
    const [context] = fitted(canvas, rows * (cell * H / W + bar));
    scratch.width = W; scratch.height = H;
    const ink = scratch.getContext("2d"), image = ink.createImageData(W, H), sides = new Uint8Array(colors.map.sides.buffer);
    context.imageSmoothingEnabled = false;
    for (let n = 0; n < count; n++) {
      for (let i = 0; i < H * W; i++) for (let c = 0; c < 3; c++) {
        const v = data[(n * H * W + i) * C + (C === 3 ? c : 0)];
        image.data[4 * i + c] = signed && C === 1 ? sides[4 * v + c] : v;
        image.data[4 * i + 3] = 255;
      }
      ink.putImageData(image, 0, 0);
      const x = (n % columns) * cell, y = Math.floor(n / columns) * (cell * H / W + bar);
      context.drawImage(scratch, x + 1, y + 1, cell - 2, cell * H / W - 2);
      if (opinions && opinions[n] !== undefined) {
        context.fillStyle = colors.fake;
        context.fillRect(x + 1, y + cell * H / W, cell - 2, bar - 2);
        context.fillStyle = colors.real;
        context.fillRect(x + 1, y + cell * H / W, (cell - 2) * (opinions[n] || 0), bar - 2);
      }
      if (n === picked) { context.strokeStyle = colors.net; context.lineWidth = 3; context.strokeRect(x + 1.5, y + 1.5, cell - 3, cell * H / W - 3); }
    }
  };
  const drawPictures = (stage, run) => {
    stage.need(run.pull ? ["images", "pull", "real"] : ["images", "real"]);
    stage.panels.forEach(panel => {
      if (panel.name === "images") {
        say(panel.caption, "fakes", `with D's opinion below each, blue for real${onUnit ? "; click one" : ""}`);
        drawGrid(panel.canvas, run.images, { opinions: run.opinions, picked: unit ? unit.sample : -1 });
        label(panel.canvas, "a grid of fakes, always of the same noise");
      } else if (panel.name === "pull") {
        say(panel.caption, "pull", "-dL/dpixel: blue is asked to be brighter, orange darker");
        drawGrid(panel.canvas, run.pull, { signed: true });
      } else {
        say(panel.caption, "real", "training examples");
        drawGrid(panel.canvas, about.real);
      }
    });
    stage.facts(run, []);
  };

  // ---------------------------------------------------------------------------------------- units of a layer

  const unitCanvas = [];
  const drawUnits = () => {
    const shown = last ? last.runs.filter(run => run.units) : [];
    if (!unit || !shown.length) { unitCanvas.forEach(one => one.hidden = true); return; }
    shown.forEach((run, index) => {
      const canvas = unitCanvas[index] || (unitCanvas[index] = make("canvas", units));
      canvas.hidden = false;
      const [count, H, W] = run.units.shape, wide = Math.max(canvas.clientWidth, 50);
      const columns = count === 1 ? 1 : Math.min(count, wide > 700 ? 16 : 8);
      const cell = wide / columns, rows = Math.ceil(count / columns);
      const [context] = fitted(canvas, rows * cell * H / W);
      for (let n = 0; n < count; n++)
        paint(context, run.units, about.kind === "plane" ? colors.map.sides : colors.map.gray, (n % columns) * cell + 1,
          Math.floor(n / columns) * cell * H / W + 1, cell - 2, { smooth: about.kind === "plane", flip: about.kind === "plane", at: n * H * W });
    });
  };
  const pick = next => {
    unit = next;
    if (onUnit) onUnit(unit);
    nameButtons();
  };
  const nameButtons = () => {
    units.querySelectorAll(".names,h2,p").forEach(node => node.remove());
    if (!onUnit || !about.networks) return;
    const text = about.kind === "plane" ? "Each unit of a layer, as a function on the plane" : "A layer's channels, for the fake that you click";
    const names = document.createElement("div");
    names.className = "names";
    for (const [network, layers] of Object.entries(about.networks)) layers.forEach((layer, index) => {
      const button = make("button", names, { text: `${network} ${layer.name} ${layer.shape.join("×")}` });
      const on = unit && unit.network === network && unit.layer === index;
      button.setAttribute("aria-pressed", String(Boolean(on)));
      button.addEventListener("click", () => pick(on ? null : { network, layer: index, sample: unit ? unit.sample : 0 }));
    });
    units.prepend(names);
    const heading = document.createElement("h2");
    heading.textContent = text;
    units.prepend(heading);
  };

  // ---------------------------------------------------------------------------------------- curves

  const kinds = [
    { title: "losses", lines: [[1, "D's loss", "real"], [2, "G's loss", "fake"]] },
    { title: "D's opinion", lines: [[3, "of real", "real"], [4, "of fake", "fake"]] },
  ];
  const chartCanvas = [];
  const drawCharts = () => kinds.forEach((kind, index) => {
    if (!chartCanvas[index]) {
      const figure = make("figure", charts), caption = make("figcaption", figure, { name: "key", text: kind.title });
      for (const [, name, color] of kind.lines) { make("i", caption).style.background = `var(--${color})`; caption.append(name); }
      chartCanvas[index] = make("canvas", figure);
      chartCanvas[index].setAttribute("role", "img");
      chartCanvas[index].setAttribute("aria-label", kind.title);
    }
    const [context, width, height] = fitted(chartCanvas[index], 120);
    const all = curves.flatMap(rows => rows.flatMap(row => kind.lines.map(([column]) => row[column]))).filter(v => v !== null).sort((a, b) => a - b);
    if (!all.length) return;
    let low = all[Math.floor(.01 * (all.length - 1))], high = all[Math.ceil(.99 * (all.length - 1))];
    const pad = .08 * (high - low) || .5;
    low -= pad; high += pad;
    const ends = curves.flatMap(rows => rows.length ? [rows[0][0], rows[rows.length - 1][0]] : []);
    const first = Math.min(...ends), end = Math.max(...ends, first + 1);
    const X = step => 40 + (width - 46) * (step - first) / (end - first), Y = v => 6 + (height - 24) * (1 - (Math.min(Math.max(v, low), high) - low) / (high - low));
    context.font = "11px system-ui,sans-serif";
    context.fillStyle = colors.soft;
    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    for (const v of [low + pad, (low + high) / 2, high - pad]) {
      context.beginPath(); context.moveTo(40, Y(v)); context.lineTo(width - 6, Y(v)); context.stroke();
      context.fillText(short(v), 2, Y(v) + 4);
    }
    context.fillText(first.toLocaleString("en"), 40, height - 4);
    context.textAlign = "right";
    context.fillText(end.toLocaleString("en"), width - 6, height - 4);
    context.textAlign = "left";
    context.setLineDash([2, 3]);
    context.strokeStyle = colors.net;
    for (const step of marks) if (step >= first && step <= end) { context.beginPath(); context.moveTo(X(step), 4); context.lineTo(X(step), height - 18); context.stroke(); }
    if (kept && last) {
      context.setLineDash([]);
      context.strokeStyle = colors.ink;
      context.beginPath(); context.moveTo(X(last.step), 4); context.lineTo(X(last.step), height - 18); context.stroke();
    }
    curves.forEach((rows, run) => {
      context.setLineDash(run ? [5, 3] : []);
      context.lineWidth = 1.6;
      for (const [column, , color] of kind.lines) {
        context.strokeStyle = colors[color];
        context.beginPath();
        let on = false;
        for (const row of rows) if (row[column] !== null) { on ? context.lineTo(X(row[0]), Y(row[column])) : context.moveTo(X(row[0]), Y(row[column])); on = true; }
        context.stroke();
      }
    });
    context.setLineDash([]);
  });
  const remember = frame => !kept && frame.runs.forEach((run, index) => {
    let rows = curves[index] || (curves[index] = []);
    while (rows.length && rows[rows.length - 1][0] >= frame.step) rows.pop();
    if (run.values && run.values[0] <= frame.step) rows.push(run.values);
    if (rows.length > 900) curves[index] = rows.filter((row, i) => i % 2 === 0 || i > rows.length - 5);
  });

  // ---------------------------------------------------------------------------------------- stages

  const newStage = index => {
    const box = make("section", area, { name: "run" }), title = make("h3", box), figures = make("div", box, { name: "panels" });
    const line = make("div", box, { name: "facts" }), stage = { panels: [], title };
    title.hidden = true;
    stage.need = names => {
      if (names.join() === stage.panels.map(panel => panel.name).join()) return;
      figures.textContent = "";
      stage.panels = names.map(name => {
        const figure = make("figure", figures), caption = make("figcaption", figure), canvas = make("canvas", figure);
        if (about.kind === "plane") canvas.className = "square";
        canvas.setAttribute("role", "img");
        if (name === "images" && onUnit) canvas.addEventListener("click", event => clicked(canvas, event));
        return { name, caption, canvas };
      });
    };
    stage.facts = (run, first) => {
      if (!writes && line.children.length) return;
      const values = run.values || [];
      const facts = [...first, ["", short(values[1]), "D's loss"], ["", short(values[2]), "G's loss"],
        ["real", short(values[3]), "D on real"], ["fake", short(values[4]), "D on fake"],
        ...(values[5] ? [["", short(values[5]), "penalty"]] : [])];
      if (facts.length === line.children.length) {
        facts.forEach(([, value], index) => { line.children[index].firstChild.textContent = value; });
        return;
      }
      line.textContent = "";
      for (const [name, value, words] of facts) {
        const one = make("span", line, { name });
        make("b", one, { text: value });
        one.append(" " + words);
      }
    };
    stages[index] = stage;
    return stage;
  };
  const clicked = (canvas, event) => {
    const box = canvas.getBoundingClientRect(), count = last.runs[0].images.shape[0], columns = Math.ceil(Math.sqrt(count));
    const column = Math.floor((event.clientX - box.left) / box.width * columns);
    const row = Math.floor((event.clientY - box.top) / box.height * Math.ceil(count / columns));
    const sample = Math.min(row * columns + column, count - 1);
    pick(unit ? { ...unit, sample } : { network: "G", layer: Math.max(about.networks.G.findIndex(one => one.shape.length === 3 && one.shape[0] > 1), 0), sample });
  };
  const draw = () => {
    if (!last || !about) return;
    area.classList.toggle("two", last.runs.length > 1);
    while (stages.length > last.runs.length) { stages.pop(); area.lastChild.remove(); }
    last.runs.forEach((run, index) => stages[index] || newStage(index));  // all of them first: they share the width
    // While it plays, nobody reads twenty numbers a second, and new words cost more than new dots; curves are slower still.
    const now = performance.now();
    writes = !last.speed || now - written > 190;
    if (writes) written = now;
    last.runs.forEach((run, index) => (about.kind === "plane" ? drawPlane : drawPictures)(stages[index], run));
    if (!last.speed || now - charted > 500) { charted = now; drawCharts(); }
    drawUnits();
  };
  const showLegend = () => {
    legend.textContent = "";
    if (about.kind !== "plane") return;
    for (const [color, words] of [["real", "real"], ["fake", "fake"], ...(about.mesh ? [["net", about.slice ? "G's manifold, a slice of it" : "G's manifold"]] : []), ["ink", "the way G's loss asks a fake to go"]]) {
      make("i", legend).style.background = `var(--${color})`;
      legend.append(words);
    }
    legend.append(about.centers ? "; a full circle is a mode that fakes have reached" : "");
  };
  const showChips = () => {
    chips.textContent = "";
    if (!onLayers) return;
    about.layers.forEach((name, index) => {
      const button = make("button", chips, { text: titles[name] });
      button.title = `${longer[name]} (${index + 1})`;
      button.dataset.layer = name;
      button.setAttribute("aria-pressed", String(chosen.includes(name)));
      button.addEventListener("click", () => toggle(name));
    });
  };
  const toggle = name => {
    chosen = chosen.includes(name) ? chosen.filter(other => other !== name) : [...chosen, name];
    showChips();
    onLayers(chosen);
  };
  const repaint = () => { readColors(); draw(); };
  readColors();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  let width = 0;
  new ResizeObserver(() => { if (root.clientWidth !== width) { width = root.clientWidth; draw(); } }).observe(root);

  return {
    hello(given, history) {
      about = given; curves = history.map(rows => [...rows]); last = null; stages = [];
      area.textContent = "";
      showChips(); showLegend(); nameButtons();
    },
    layers(names) { if (names.join() !== chosen.join()) { chosen = [...names]; if (about) showChips(); } },
    unit(given) { if (JSON.stringify(given) !== JSON.stringify(unit)) { unit = given; if (about) nameButtons(); } },
    marks(steps) { marks = steps; },
    keeps() { kept = true; },
    titles(texts) { stages.forEach(({ title }, index) => {
      const text = texts[index] || "";
      title.hidden = !text;
      if (title.textContent !== text) title.textContent = text;
    }); },
    remember,
    frame(frame) { last = frame; remember(frame); draw(); return writes; },
    key(number) { if (about && about.layers[number - 1]) toggle(about.layers[number - 1]); },
    choice() { return { layers: chosen, unit }; },
  };
};
