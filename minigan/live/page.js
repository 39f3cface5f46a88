// The live page: events come from the server, commands go to it. Nothing else is requested.
(() => {
  const $ = id => document.getElementById(id);
  let state = null, choices = {}, shown = 0, frames = 0, drawn = 0, waiting = null, source = null, over = false;
  const say = text => { $("say").textContent = text; $("say").hidden = !text; };
  const send = async (name, more = {}) => {
    try {
      const answer = await fetch("do", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ do: name, ...more }),
      });
      if (!answer.ok) say((await answer.json()).error);
    } catch { if (!over) say("The training does not answer. Is it still running in the terminal?"); }
  };
  const view = liveView($("view"), {
    onLayers: () => send("view", view.choice()),
    onUnit: () => send("view", view.choice()),
  });

  // ---------------------------------------------------------------------------------------- settings

  const logarithmic = name => ["g_lr", "d_lr", "penalty_weight"].includes(name);
  const labels = { loss: "loss", penalty: "gradient penalty", penalty_weight: "its weight", g_lr: "G's rate", d_lr: "D's rate",
    n_critic: "steps of D for one of G", instance_noise: "noise on what D sees" };
  const which = () => { const value = document.querySelector("[name=run]:checked").value; return value === "" ? null : Number(value); };
  const toNumber = (name, input) => {
    const value = logarithmic(name) ? 10 ** Number(input.value) : Number(input.value);
    return name === "n_critic" ? value : Number(value.toPrecision(3));
  };
  const build = () => {
    $("settings").textContent = "";
    for (const [name, choice] of Object.entries(choices)) {
      const row = document.createElement("label"), title = document.createElement("span"), output = document.createElement("output");
      row.className = "set"; title.textContent = labels[name] || name; row.title = choice.meaning;
      const input = document.createElement(choice.values.length ? "select" : "input");
      input.id = "set-" + name;
      if (choice.values.length) for (const value of choice.values) input.add(new Option(value));
      else {
        input.type = "range";
        const ends = name === "instance_noise" ? [0, 1] : [choice.least, choice.most];
        [input.min, input.max] = logarithmic(name) ? ends.map(Math.log10) : ends;
        input.step = name === "n_critic" ? 1 : .01;
        input.addEventListener("input", () => { output.textContent = toNumber(name, input); });
      }
      input.addEventListener("change", () => send("set", { run: which(), changes: { [name]: choice.values.length ? input.value : toNumber(name, input) } }));
      row.append(title, output, input);
      $("settings").append(row);
    }
  };
  const fill = settings => {
    for (const [name, value] of Object.entries(settings)) {
      const input = $("set-" + name);
      if (!input || input.matches(":active")) continue;
      input.value = logarithmic(name) ? Math.log10(value) : value;
      if (input.type === "range") input.previousSibling.textContent = value;
    }
    const off = settings.penalty === "none";
    if ($("set-penalty_weight")) $("set-penalty_weight").disabled = off;
  };
  const stories = [
    ["Let it collapse", "the minimax loss, which saturates, and a D that is quicker than G", { loss: "minimax", penalty: "none", d_lr: 5e-3, g_lr: 3e-4 }],
    ["Heal it", "R1 alone: D's slope is held down at real points", { penalty: "r1", penalty_weight: .1 }],
    ["A critic on a leash", "Wasserstein with a slope of 1, and five steps of D", { loss: "wasserstein", penalty: "wgan-gp", penalty_weight: 1, n_critic: 5 }],
    ["Hinge", "D stops caring beyond its margin", { loss: "hinge", penalty: "none", n_critic: 1 }],
  ];
  for (const [title, words, changes] of stories) {
    const button = document.createElement("button"), small = document.createElement("small");
    button.textContent = title; small.textContent = words; button.append(small);
    button.addEventListener("click", () => send("set", { run: which(), changes }));
    $("stories").append(button);
  }

  // ---------------------------------------------------------------------------------------- events

  const words = ([step, kind, value]) => kind === "only" ? `step ${step.toLocaleString("en")}: ${value} alone`
    : `from step ${(step + 1).toLocaleString("en")}: ${Object.entries(value).map(([name, v]) => `${name} ${v}`).join(", ")}`;
  const onState = next => {
    state = next;
    $("play").textContent = state.playing ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(state.playing));
    $("pace").value = state.pace; $("stops").value = state.stops;
    view.layers(state.view.layers); view.unit(state.view.unit);
    const two = state.runs.length > 1;
    $("which").hidden = !two;
    $("fork").textContent = two ? "End the second run" : "Second run from here";
    fill(state.runs[which() === 1 && two ? 1 : 0].settings);
    $("notes").textContent = "";
    state.runs.forEach((run, index) => {
      for (const note of run.notes) {
        const item = document.createElement("li");
        item.textContent = (two ? "AB"[index] + ", " : "") + words(note);
        $("notes").append(item);
      }
    });
    $("folder").textContent = "Noted in " + state.runs.map(run => run.folder).join(" and ");
    view.marks(state.runs.flatMap(run => run.notes.filter(note => note[1] === "set").map(note => note[0])));
  };
  const heads = () => state && state.runs.length > 1 ? state.runs.map((run, index) => {
    const other = Object.entries(run.differs).map(([name, value]) => `${name} ${value}`).join(", ");
    return "AB"[index] + (index ? other ? ": " + other : ": still the same" : "");
  }) : [];
  // Drawn when the screen is: frames that come in between are only added to the curves.
  const onFrame = frame => {
    frames++;
    if (waiting) view.remember(waiting);
    else requestAnimationFrame(show);
    waiting = frame;
  };
  const show = () => {
    const frame = waiting;
    waiting = null;
    drawn++;
    shown = frame.step;
    $("back").disabled = $("start").disabled = frame.step === 0;
    if (!view.frame(frame)) return;
    view.titles(heads());
    $("step-now").textContent = `step ${frame.step.toLocaleString("en")}`;
    $("speed").textContent = frame.speed ? `${frame.speed.toLocaleString("en")} steps/s` : "paused";
  };
  const listing = (pre, place) => {
    pre.textContent = "";
    if (!place) return;
    for (const [number, text] of place.lines) {
      const line = document.createElement("span"), at = document.createElement("i");
      at.textContent = number; line.append(at, text || " ");
      if (number === place.lit) line.className = "lit";
      pre.append(line);
    }
    const lit = pre.querySelector(".lit");
    if (lit) pre.scrollTop = lit.offsetTop - pre.clientHeight / 2;
  };
  const onSlow = moment => {
    $("slowly").hidden = Boolean(moment.over);
    if (moment.over) return;
    $("call").textContent = moment.here.title;
    $("place").textContent = moment.here.place;
    const outer = moment.from || moment.here;
    $("outertitle").textContent = outer.title + ": the algorithm";
    $("innertitle").textContent = moment.from ? moment.here.title : "";
    listing($("outer"), outer); listing($("inner"), moment.from ? moment.here : null);
    $("values").textContent = moment.values.map(v => `${v.name} (${v.shape.join(", ")}) rms ${v.rms}`).join("   ");
  };
  const connect = () => {
    source = new EventSource("events");
    const on = (kind, act) => source.addEventListener(kind, event => act(JSON.parse(event.data)));
    source.addEventListener("open", () => { $("link").classList.add("on"); });
    source.addEventListener("error", () => { $("link").classList.remove("on"); });
    on("hello", hello => {
      choices = hello.choices; $("title").textContent = hello.title;
      build(); view.hello(hello.about, hello.history);
    });
    on("state", onState); on("frame", onFrame); on("slow", onSlow);
    on("say", message => say(message.text));
    on("end", end => {
      over = true; source.close(); $("link").classList.remove("on");
      say(`Ended at step ${end.step.toLocaleString("en")} and saved: ${end.folders.join(" and ")}. minigan report shows it again.`);
    });
  };
  connect();
  // A page that nobody sees costs the training nothing.
  document.addEventListener("visibilitychange", () => {
    if (over) return;
    if (document.hidden) source.close(); else { source.close(); connect(); }
  });

  // ---------------------------------------------------------------------------------------- controls

  const acts = {
    play: () => send(state && state.playing ? "pause" : "play"), step: () => send("step", { side: null }),
    d: () => send("step", { side: "D" }), g: () => send("step", { side: "G" }), slow: () => send("slow"),
    next: () => send("next"), finish: () => send("finish"),
    back: () => send("back", { to: Math.max(shown - 1, 0) }), start: () => send("back", { to: 0 }),
    fork: () => send(state && state.runs.length > 1 ? "single" : "fork"),
  };
  for (const [id, act] of Object.entries(acts)) $(id).addEventListener("click", () => { say(""); act(); });
  $("pace").addEventListener("change", () => send("pace", { steps: Number($("pace").value) }));
  $("stops").addEventListener("change", () => send("fast", { stops: Number($("stops").value) }));
  for (const input of document.querySelectorAll("[name=run]")) input.addEventListener("change", () => state && onState(state));
  const keys = { " ": "play", ArrowRight: "step", ArrowLeft: "back", d: "d", g: "g", s: "slow", n: "next", f: "finish", Home: "start" };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input,select,textarea")) return;
    const id = keys[event.key];
    if (id) { if (!$(id).disabled) $(id).click(); event.preventDefault(); }
    else if (/^[1-6]$/.test(event.key)) view.key(Number(event.key));
  });
  window.miniganLive = { get step() { return shown; }, get frames() { return frames; }, get drawn() { return drawn; }, get state() { return state; } };
})();
