// Drawing in a thread of its own, so that the page answers meanwhile. The worker runs the page's own script once more,
// from memory; where there are no workers, the page's thread draws.

// The outputs for inputs, the milliseconds, and a layer's values for the first input, or null.
function drawn(generator, given, layer) {
  const began = performance.now(), outputs = given.map(() => null);
  for (let n = given.length - 1; n >= 0; n--) outputs[n] = generator.run(given[n].z, given[n].c).slice();
  const values = layer === null ? null : generator.values.get(layer).slice();
  return { outputs, spent: performance.now() - began, values };
}

// A function like `drawn`, without the generator, that promises its answer.
function painter(data, bytes, script) {
  const asked = new Map();
  let own = null, worker = null;
  const here = async ({ given, layer }) => {
    await new Promise(done => setTimeout(done)); // the page answers first
    own ||= new Generator(data, bytes);
    return drawn(own, given, layer);
  };
  try {
    worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    worker.postMessage({ data, bytes });
    worker.onmessage = ({ data: { number, answer } }) => {
      asked.get(number).done(answer);
      asked.delete(number);
    };
    worker.onerror = event => {
      event.preventDefault();
      worker = null;
      for (const question of asked.values()) question.done(here(question));
      asked.clear();
    };
  } catch {
    worker = null;
  }
  let count = 0;
  return (given, layer) => (worker === null ? here({ given, layer }) : new Promise(done => {
    asked.set(++count, { given, layer, done });
    worker.postMessage({ number: count, given, layer });
  }));
}

if (typeof document === "undefined") {
  let generator = null;
  onmessage = ({ data: { data, bytes, number, given, layer } }) => {
    if (data) generator = new Generator(data, bytes);
    else postMessage({ number, answer: drawn(generator, given, layer) });
  };
}
