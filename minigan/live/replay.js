// The replay in a report: the frames of a run's checkpoints, moved by the page's slider. Nothing is requested.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  (data.replays || []).forEach((replay, index) => {
    const root = document.getElementById("replay" + index);
    if (!replay || !root) return;
    let chosen = replay.about.layers.filter(name => replay.first.includes(name)), at = replay.frames.length - 1;
    const caption = document.getElementById("replayed" + index);
    const view = liveView(root, { onLayers: names => { chosen = names; show(); } });
    const show = () => {
      const frame = replay.frames[at];
      const runs = frame.runs.map(run => {
        const shown = { ...run };
        for (const name of replay.about.layers) if (!chosen.includes(name)) delete shown[name];
        return shown;
      });
      caption.textContent = "checkpoint of step " + frame.step.toLocaleString("en");
      view.frame({ step: frame.step, runs });
    };
    view.layers(chosen);
    view.hello(replay.about, [replay.history]);
    view.marks(replay.marks);
    view.keeps();
    document.addEventListener("minigan-step", event => {
      at = replay.frames.length - 1;
      while (at > 0 && replay.frames[at].step > event.detail) at--;
      show();
    });
  });
})();
