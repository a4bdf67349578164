// Starts the page.

// An example to begin with, where there are no test images: a stroke.
function exampleStroke(drawing, [, height, width]) {
  drawing.lineTo(0.5 * width, 0.2 * height);
  drawing.lineTo(0.5 * width, 0.8 * height);
  drawing.last = null;
  drawing.changed();
}

async function start() {
  const data = JSON.parse(byId("data").textContent);
  if (data.format !== FORMAT) throw new Error(`the data have format ${data.format}; this page reads ${FORMAT}`);
  const runs = await Promise.all(data.runs.map(readRun));
  const explorer = new Explorer(data, runs, await readImages(data.images, sizeOf(data.image)));
  document.documentElement.style.setProperty("--runs", runs.length);
  document.body.dataset.runs = runs.length;
  byId("notice").textContent = data.notice;
  byId("details").textContent = runs.map((each) => `${each.label}: ${each.detail}`).join("; ");
  const maps = runs.map((_, index) => new MapView(explorer, index, mapColumns(explorer)));
  clear(byId("maps"), ...maps.map((map) => map.element));
  new Sliders(explorer);
  connectButtons(explorer);
  const samples = new Samples(explorer);
  const interpolation = new Interpolation(explorer);
  const drawing = new Drawing(explorer);
  let tab = "tab-map";
  showTestImages(explorer, (image) => {
    if (tab === "tab-interpolation") interpolation.choose(image);
    else drawing.load(image);
  });
  connectTabs((id) => {
    tab = id;
    byId("test-hint").textContent =
      id === "tab-interpolation" ? "Click: the chosen end of the interpolation." : "Click: encode and reconstruct.";
  });
  if (explorer.images.length) drawing.load(explorer.images[Math.floor(0.4 * explorer.images.length)]);
  else exampleStroke(drawing, explorer.shape);
  drawing.isExample = true;
  document.body.classList.add("ready");
  // for the browser's console and the tests
  window.explorer = { state: explorer, drawing, samples, interpolation, maps, run, engine };
}

start().catch((error) => {
  byId("message").textContent = `This page cannot start: ${error.message}. It needs a browser of 2023 or later.`;
  document.body.classList.add("failed");
});
