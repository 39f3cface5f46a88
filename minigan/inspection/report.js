"use strict";
// One slider for all pictures, plots and values of a report; a film of it; the numbers as CSV. Nothing is requested.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const slider = document.getElementById("step"), shown = document.getElementById("shown");
  const play = document.getElementById("play");

  // The last of some ascending steps that is not after a step; the first of them if all are.
  const before = (steps, step) => {
    let low = 0, high = steps.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] <= step) low = middle + 1; else high = middle;
    }
    return Math.max(low - 1, 0);
  };
  const digits = value => value === null || value === undefined ? "-" : String(Number(value.toPrecision(4)));

  const columns = data.runs.map(run => new Map(run.table.columns.map((name, index) => {
    const rows = run.table.rows.filter(row => row[index] !== null);
    return [name, { steps: rows.map(row => row[0]), values: rows.map(row => row[index]) }];
  })));

  const show = () => {
    const step = data.moments[slider.value];
    shown.textContent = "step " + step.toLocaleString("en");
    for (const line of document.querySelectorAll(".now")) {
      const last = Number(line.ownerSVGElement.dataset.last);
      const left = Number(line.dataset.left), right = Number(line.dataset.right);
      line.setAttribute("transform", "translate(" + (left + (right - left) * step / last) + " 0)");
      line.style.visibility = "visible";
    }
    for (const output of document.querySelectorAll(".legend output")) {
      const column = columns[output.dataset.run].get(output.dataset.name);
      if (column && column.steps.length) output.textContent = digits(column.values[before(column.steps, step)]);
    }
    data.runs.forEach((run, index) => {
      if (!run.steps.length) return;
      const at = before(run.steps, step), image = document.getElementById("picture" + index);
      image.src = run.pictures[at];
      image.alt = "samples at step " + run.steps[at];
      document.getElementById("at" + index).textContent = run.name + ", step " + run.steps[at].toLocaleString("en");
    });
    document.dispatchEvent(new CustomEvent("minigan-step", { detail: step }));
  };

  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    play.textContent = "Stop";
    show();
    timer = setInterval(() => {
      if (Number(slider.value) >= Number(slider.max)) return stop();
      slider.value = Number(slider.value) + 1;
      show();
    }, Math.max(60, Math.min(400, 12000 / data.moments.length)));
  });
  slider.addEventListener("input", () => { stop(); show(); });

  // A cell that a spreadsheet takes for a text, never for a formula.
  const cell = text => '"' + (/^[=+\-@\t\r]/.test(text) ? "'" + text : text).replaceAll('"', '""') + '"';
  for (const button of document.querySelectorAll("button.csv")) {
    button.addEventListener("click", () => {
      const run = data.runs[button.dataset.run], lines = [run.table.columns.map(cell), ...run.table.rows];
      const text = lines.map(line => line.map(value => value === null ? "" : value).join(",")).join("\n") + "\n";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      link.download = "log.csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
  slider.max = data.moments.length - 1;
  slider.value = slider.max;
  show();
})();
