// The image to reconstruct: drawn with mouse, finger or keys, or opened from a file.

class Drawing {
  constructor(explorer) {
    this.explorer = explorer;
    this.pixels = new Float32Array(sizeOf(explorer.shape));
    this.isDrawn = true;
    this.isExample = false;
    this.last = null;
    this.pen = null;
    const [channels, height, width] = explorer.shape;
    this.canvas = imageCanvas(explorer.shape, "Your image");
    this.penMark = element("div", { class: "pen", hidden: "", "aria-hidden": "true" });
    this.surface = byId("paper");
    this.surface.append(this.canvas, this.penMark);
    this.surface.style.aspectRatio = `${width} / ${height}`;
    onDrag(this.surface, (event, first) => this.onPointer(event, first));
    this.surface.addEventListener("keydown", (event) => this.onKey(event));
    byId("clear").addEventListener("click", () => this.erase());
    byId("colour-field").hidden = channels === 1;
    byId("centre-field").hidden = !explorer.centre;
    byId("centre").addEventListener("change", () => this.send());
    byId("file").addEventListener("change", (event) => this.open(event.target.files[0]));
    byId("open").addEventListener("click", () => byId("file").click());
    this.acceptDrops(byId("image-panel"));
    this.tiles = [this.tile("Input"), ...explorer.runs.map((each, index) => this.tile(each.label, index))];
    clear(byId("tiles"), ...this.tiles.map((tile) => tile.element));
    explorer.addEventListener("image", () => this.showTiles());
    this.show();
  }

  tile(name, index = null) {
    const canvas = imageCanvas(this.explorer.shape, index === null ? "Input of the encoders" : `Reconstruction with ${name}`);
    const text = element("p", { class: "numbers" });
    const head = index === null ? element("h3", { class: "run" }, "Input") : runHead(this.explorer, index);
    return { canvas, text, element: element("article", { class: "tile" }, head, canvas, text) };
  }

  get colour() {
    const [channels] = this.explorer.shape;
    if (byId("eraser").checked) return [0, 0, 0];
    if (channels === 1) return [1];
    return [1, 3, 5].map((at) => parseInt(byId("colour").value.slice(at, at + 2), 16) / 255);
  }

  get radius() {
    return (Number(byId("pen-size").value) / 28) * Math.min(this.explorer.shape[1], this.explorer.shape[2]);
  }

  onPointer(event, first) {
    if (first) this.last = null;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const [right, down] = placeIn(this.surface, each);
      this.lineTo(right * this.explorer.shape[2], down * this.explorer.shape[1]);
    }
    this.changed();
  }

  // Draws from the last point to (x, y), in pixels of the image. The first stroke replaces the example that the page
  // begins with; an image that was chosen is drawn on.
  lineTo(x, y) {
    if (this.isExample) this.pixels.fill(0);
    this.isExample = false;
    const from = this.last ?? [x, y];
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(x - from[0], y - from[1])));
    for (let step = 1; step <= steps; step++) {
      const t = step / steps;
      const [px, py] = [from[0] + t * (x - from[0]), from[1] + t * (y - from[1])];
      stamp(this.pixels, this.explorer.shape, px, py, this.radius, this.colour);
    }
    this.last = [x, y];
  }

  // Arrow keys move a pen, which draws while Shift is held; the space bar makes a dot.
  onKey(event) {
    const [, height, width] = this.explorer.shape;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    this.pen ??= [width / 2, height / 2];
    this.last = this.pen;
    this.pen = [clamp(this.pen[0] + move[0], 0, width), clamp(this.pen[1] + move[1], 0, height)];
    this.penMark.hidden = false;
    this.penMark.style.left = `${(100 * this.pen[0]) / width}%`;
    this.penMark.style.top = `${(100 * this.pen[1]) / height}%`;
    if (event.shiftKey || event.key === " ") {
      this.lineTo(...this.pen);
      this.changed();
    }
  }

  changed() {
    this.isDrawn = true;
    this.show();
    this.send();
  }

  erase() {
    this.pixels.fill(0);
    this.isExample = false;
    this.changed();
  }

  // Shows and reconstructs a complete image.
  load(image) {
    this.pixels.set(image);
    this.isDrawn = this.isExample = false;
    this.show();
    this.send();
  }

  show() {
    paint(this.canvas, this.pixels, this.explorer.shape);
    byId("hint").hidden = this.pixels.some((value) => value > 0);
  }

  send() {
    const centre = this.explorer.centre && this.isDrawn && byId("centre").checked;
    this.explorer.setImage(centre ? centred(this.pixels, this.explorer.shape) : this.pixels.slice());
  }

  showTiles() {
    const { image, reconstructions, shape } = this.explorer;
    [image, ...reconstructions].forEach((values, i) => {
      paint(this.tiles[i].canvas, values, shape);
      clear(this.tiles[i].text, ...measures(values, shape, i === 0 ? null : image));
    });
  }

  // Accepts picture files, and test images from the strip below.
  acceptDrops(target) {
    const isKnown = ({ dataTransfer }) => ["Files", DRAGGED_IMAGE].some((type) => dataTransfer.types.includes(type));
    target.addEventListener("dragover", (event) => {
      if (!isKnown(event)) return;
      event.preventDefault();
      target.classList.add("over");
    });
    target.addEventListener("dragleave", () => target.classList.remove("over"));
    target.addEventListener("drop", (event) => {
      target.classList.remove("over");
      if (!isKnown(event)) return;
      event.preventDefault();
      const index = event.dataTransfer.getData(DRAGGED_IMAGE);
      if (index !== "") this.load(this.explorer.images[Number(index)]);
      else this.open(event.dataTransfer.files[0]);
    });
  }

  // Opens a picture file: its central part in the shape of the images; for digits, dark ink on paper is inverted.
  async open(file) {
    if (file === undefined) return;
    const { shape, centre } = this.explorer;
    try {
      const image = fromRgba(await pixelsOf(file, shape), shape);
      const invert = centre && hasBrightBorder(image, shape);
      this.load(invert ? image.map((value) => 1 - value) : image);
      say(`${file.name} opened${invert ? " and inverted" : ""}.`);
    } catch {
      say(`${file.name} is not a picture that this browser can open.`);
    }
  }
}

// Returns the bytes, RGBA, of a picture file that is cut to the proportions of a shape and scaled to it.
async function pixelsOf(file, [, height, width]) {
  const picture = await createImageBitmap(file);
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [width / scale, height / scale];
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = contextOf(canvas);
  context.imageSmoothingEnabled = scale !== 1;
  context.imageSmoothingQuality = "high";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, (picture.width - w) / 2, (picture.height - h) / 2, w, h, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

const MESSAGE_MS = 5000;
let messageTimer = 0;

// Shows a message for some seconds, also to screen readers.
function say(text) {
  byId("message").textContent = text;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => clear(byId("message")), MESSAGE_MS);
}
