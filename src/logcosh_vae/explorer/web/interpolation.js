// Interpolation between two images in the latent space, by dragging along a strip of decoded images.

const FRAMES = 9;

class Interpolation {
  constructor(explorer) {
    this.explorer = explorer;
    this.slider = byId("fraction");
    this.ends = [null, null];
    this.codes = [[], []];
    this.active = 0;
    this.slots = ["start", "end"].map((name, i) => this.slot(name, i));
    this.strips = explorer.runs.map((each, index) => this.strip(each, index));
    clear(byId("strips"), ...this.strips.map((strip) => strip.element));
    this.slider.addEventListener("input", () => this.show());
    if (explorer.images.length > 1) {
      this.setEnd(0, explorer.images[0]);
      this.setEnd(1, explorer.images[explorer.images.length - 1]);
    } else {
      // without test images, both ends are images that the first model decodes from random codes
      [1, 2].forEach((seed, i) => this.setEnd(i, explorer.decode(0, explorer.draw("prior", seed)[0])));
    }
    this.activate(0);
  }

  slot(name, i) {
    const canvas = imageCanvas(this.explorer.shape, `Image at the ${name}`);
    const button = byId(`slot-${name}`);
    button.prepend(canvas);
    button.addEventListener("click", () => this.activate(i));
    button.addEventListener("dragover", (event) => event.preventDefault());
    button.addEventListener("drop", (event) => {
      const index = event.dataTransfer.getData(DRAGGED_IMAGE);
      if (index === "") return;
      event.preventDefault();
      event.stopPropagation();
      this.setEnd(i, this.explorer.images[Number(index)]);
    });
    return { button, canvas };
  }

  strip(each, index) {
    const canvas = imageCanvas(this.explorer.shape, `From one image to the other with ${each.label}`, FRAMES, 1);
    const now = imageCanvas(this.explorer.shape, `Interpolated image with ${each.label}`);
    const handle = element("div", { class: "handle", "aria-hidden": "true" });
    const surface = element("div", { class: "film", tabindex: "-1" }, canvas, handle);
    onDrag(surface, (event) => {
      const [place] = placeIn(surface, event);
      this.slider.value = (place * FRAMES - 0.5) / (FRAMES - 1);
      this.show();
    });
    const body = element("div", { class: "film-row" }, surface, now);
    return { canvas, now, handle, element: element("article", { class: "card" }, runHead(this.explorer, index), body) };
  }

  activate(i) {
    this.active = i;
    this.slots.forEach(({ button }, j) => button.setAttribute("aria-pressed", String(i === j)));
  }

  // Puts an image at the active end, and makes the other one active.
  choose(image) {
    this.setEnd(this.active, image);
    this.activate(1 - this.active);
    this.show();
  }

  setEnd(i, image) {
    const { explorer } = this;
    this.ends[i] = image;
    this.codes[i] = explorer.encode(image);
    paint(this.slots[i].canvas, image, explorer.shape);
    if (this.ends[1 - i] === null) return;
    this.strips.forEach(({ canvas }, index) => {
      let frame = 0;
      explorer.schedule.request(`strip ${index}`, 2, () => {
        paint(canvas, explorer.decode(index, this.codeAt(index, frame / (FRAMES - 1))), explorer.shape, frame, 0);
        return ++frame < FRAMES;
      });
    });
    this.showFrame();
  }

  codeAt(index, fraction) {
    return lerp(this.codes[0][index], this.codes[1][index], fraction);
  }

  // Shows the images at the slider and moves the codes there.
  show() {
    this.showFrame();
    this.explorer.setCodes(this.explorer.runs.map((_, index) => this.codeAt(index, Number(this.slider.value))));
  }

  showFrame() {
    const { explorer } = this;
    const fraction = Number(this.slider.value);
    byId("fraction-value").textContent = fraction.toFixed(2);
    explorer.schedule.request("interpolated", 1, () => {
      this.strips.forEach(({ now, handle }, index) => {
        paint(now, explorer.decode(index, this.codeAt(index, Number(this.slider.value))), explorer.shape);
        handle.style.left = `${(100 * (fraction * (FRAMES - 1) + 0.5)) / FRAMES}%`;
      });
      return false;
    });
  }
}
