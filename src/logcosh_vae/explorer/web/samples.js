// Grids of random samples; a click on one moves the codes there.

const SAMPLE_COST = 60e6;

class Samples {
  constructor(explorer) {
    this.explorer = explorer;
    const cost = Math.max(...explorer.runs.map((each) => each.decoder.cost));
    this.columns = clamp(Math.floor(Math.sqrt(SAMPLE_COST / cost)), 4, explorer.shape[1] > 40 ? 6 : 8);
    this.seed = 1;
    this.codes = [];
    this.grids = explorer.runs.map((each, index) => this.grid(each, index));
    clear(byId("sample-runs"), ...this.grids.map((grid) => grid.element));
    this.source = byId("sample-source");
    fillSources(this.source, explorer);
    this.source.addEventListener("change", () => this.show());
    byId("resample").addEventListener("click", () => {
      this.seed++;
      this.show();
    });
    this.show();
  }

  grid(each, index) {
    const { explorer, columns } = this;
    const canvas = imageCanvas(explorer.shape, `Random samples of the model with ${each.label}`, columns, columns);
    const marker = element("div", { class: "marker", hidden: "", "aria-hidden": "true" });
    const surface = element(
      "div",
      { class: "map samples", tabindex: "0", role: "application", "aria-roledescription": "grid of samples",
        "aria-label": `Samples of ${each.label}. Arrow keys choose one and move the codes to it.`,
        keydown: (event) => this.onKey(event) },
      canvas, marker,
    );
    onDrag(surface, (event) => {
      const [right, down] = placeIn(surface, event).map((place) => Math.min(columns - 1, Math.floor(place * columns)));
      this.choose(down * columns + right);
    });
    return { canvas, marker, element: element("article", { class: "card" }, runHead(explorer, index), surface) };
  }

  show() {
    const { explorer, columns } = this;
    const { schedule, shape } = explorer;
    this.chosen = -1;
    this.codes = numbers(columns ** 2).map((i) => explorer.draw(this.source.value, 7919 * this.seed + i));
    this.grids.forEach(({ canvas, marker }, index) => {
      marker.hidden = true;
      let i = 0;
      schedule.request(`samples ${index}`, 3, () => {
        paint(canvas, explorer.decode(index, this.codes[i][index]), shape, i % columns, Math.floor(i / columns));
        return ++i < columns ** 2;
      });
    });
  }

  choose(i) {
    this.chosen = clamp(i, 0, this.columns ** 2 - 1);
    const side = 100 / this.columns;
    for (const { marker } of this.grids) {
      marker.hidden = false;
      marker.style.width = marker.style.height = `${side}%`;
      marker.style.left = `${side * (this.chosen % this.columns)}%`;
      marker.style.top = `${side * Math.floor(this.chosen / this.columns)}%`;
    }
    this.explorer.setCodes(this.codes[this.chosen]);
  }

  onKey(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.choose(this.chosen < 0 ? 0 : this.chosen + steps[event.key]);
  }
}
