// The maps: for each run, the decoded images over two latent variables, with a cursor at its code.

// Multiplications for a whole map, and for one step of its computation.
const MAP_COST = 60e6;
const STEP_COST = 15e6;

// Number of images in a row of a map: fewer for networks that take longer.
function mapColumns(explorer) {
  const cost = Math.max(...explorer.runs.map((each) => each.decoder.cost));
  const n = Math.floor(Math.sqrt(MAP_COST / cost));
  return clamp(n - (n % 2 === 0 ? 1 : 0), 5, explorer.shape[1] > 40 ? 7 : 11);
}

class MapView {
  constructor(explorer, index, columns) {
    this.explorer = explorer;
    this.index = index;
    this.columns = columns;
    this.next = columns * (columns >> 1); // the cell that is computed next
    this.left = 0;
    this.atOnce = clamp(Math.floor(STEP_COST / explorer.runs[index].decoder.cost), 1, columns);
    this.plane = "";
    const { shape, runs } = explorer;
    const name = runs[index].label;
    this.canvas = imageCanvas(shape, `Map of images decoded by the model with ${name}`, columns, columns);
    this.cursor = element("div", { class: "cursor", "aria-hidden": "true" });
    this.surface = element(
      "div",
      { class: "map", tabindex: "0", role: "application", "aria-roledescription": "map", keydown: (e) => this.onKey(e) },
      this.canvas, this.cursor,
    );
    this.decoded = imageCanvas(shape, `Image decoded at the cursor by the model with ${name}`);
    this.text = element("p", { class: "numbers" });
    const footer = element("div", { class: "at-cursor" }, this.decoded, this.text);
    const axis = (which) => element("span", { class: `axis ${which}`, "aria-hidden": "true" });
    this.axisNames = { x: axis("x"), y: axis("y") };
    this.element = element(
      "article", { class: "card" },
      runHead(explorer, index),
      element("div", { class: "framed" }, this.surface, this.axisNames.x, this.axisNames.y),
      footer,
    );
    onDrag(this.surface, (event) => this.onPointer(event));
    explorer.addEventListener("codes", () => this.update());
    explorer.addEventListener("axes", () => this.update());
    this.update();
  }

  get code() {
    return this.explorer.codes[this.index];
  }

  onPointer(event) {
    const { axes, radius } = this.explorer;
    const [right, down] = placeIn(this.surface, event);
    this.moveTo(radius * (2 * right - 1), axes.x === axes.y ? null : radius * (1 - 2 * down));
  }

  moveTo(x, y) {
    const { axes } = this.explorer;
    const amounts = { [axes.x]: x - this.code[axes.x] };
    if (y !== null) amounts[axes.y] = y - this.code[axes.y];
    this.explorer.moveBy(amounts);
  }

  onKey(event) {
    const { axes, radius } = this.explorer;
    const step = radius * (event.shiftKey ? 0.2 : 0.04);
    const moves = {
      ArrowLeft: { [axes.x]: -step }, ArrowRight: { [axes.x]: step },
      ArrowDown: { [axes.y]: -step }, ArrowUp: { [axes.y]: step },
      Home: { [axes.x]: -this.code[axes.x], [axes.y]: -this.code[axes.y] },
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.explorer.moveBy(moves[event.key]);
  }

  // Shows the code; computes the map again only if it shows another plane of the latent space.
  update() {
    const { explorer, code, index } = this;
    const { axes, radius, schedule } = explorer;
    const place = (value) => `${clamp(50 * (1 + value / radius), 0, 100)}%`;
    this.cursor.style.left = place(code[axes.x]);
    this.cursor.style.top = place(-code[axes.y]);
    schedule.request(`decoded ${index}`, 1, () => this.showDecoded());
    const plane = [...code].map((value, i) => (i === axes.x || i === axes.y ? "" : value)).join() + axes.x + "/" + axes.y;
    if (plane === this.plane) return;
    this.plane = plane;
    this.left = this.columns ** 2;
    schedule.request(`map ${index}`, 2, () => this.showCells());
  }

  showDecoded() {
    const { explorer, code } = this;
    const { axes, shape, runs } = explorer;
    const image = explorer.decode(this.index, code);
    paint(this.decoded, image, shape);
    const at = `z${axes.x + 1} = ${signed(code[axes.x])}, z${axes.y + 1} = ${signed(code[axes.y])}`;
    clear(this.text, ...at.split(", ").map((part) => element("span", {}, part)), ...measures(image, shape));
    this.surface.setAttribute("aria-label", `Map of ${runs[this.index].label}: ${at}. Arrow keys move the cursor.`);
    this.axisNames.x.textContent = `z${axes.x + 1} →`;
    this.axisNames.y.textContent = `z${axes.y + 1} →`;
    return false;
  }

  // Computes some cells of a row. A map that changes goes on from the same cell, so that all of it follows a drag.
  showCells() {
    const { explorer, columns } = this;
    const { shape, axes, radius } = explorer;
    const [row, first] = [Math.floor(this.next / columns), this.next % columns];
    const count = Math.min(this.atOnce, columns - first);
    const d = this.code.length;
    const codes = rowOfMap(this.code, axes, radius, columns, row).subarray(first * d, (first + count) * d);
    const images = run(explorer.runs[this.index].decoder, codes, count);
    const size = sizeOf(shape);
    for (let i = 0; i < count; i++) {
      paint(this.canvas, images.subarray(i * size, (i + 1) * size), shape, first + i, row);
    }
    this.next = (this.next + count) % columns ** 2;
    this.left -= count;
    return this.left > 0;
  }
}
