// What all parts of the page share: the runs, one code per run, the axes of the maps, and the image to reconstruct.

class Explorer extends EventTarget {
  // Events: `codes` when codes have changed, `axes`, and `image` when there is a new image and its reconstructions.
  constructor(data, runs, images) {
    super();
    this.shape = data.image;
    this.radius = data.radius;
    this.centre = data.centre;
    this.colours = data.colours;
    this.labels = data.images.labels;
    this.runs = runs;
    this.images = images;
    this.codes = runs.map((each) => new Float32Array(each.latent));
    this.order = byVariation(runs);
    this.axes = { x: this.order[0], y: this.order[1] ?? this.order[0] };
    this.image = null;
    this.reconstructions = [];
    this.schedule = makeSchedule();
  }

  emit(name) {
    this.dispatchEvent(new Event(name));
  }

  setCodes(codes) {
    this.codes = codes;
    this.emit("codes");
  }

  // Adds `amounts` (by latent variable) to the codes of all runs, so that they stay together or as far apart as they are.
  moveBy(amounts) {
    this.setCodes(
      this.codes.map((code) => {
        const moved = code.slice();
        for (const [i, amount] of Object.entries(amounts)) {
          if (i < moved.length) moved[i] = clamp(moved[i] + amount, -2 * this.radius, 2 * this.radius);
        }
        return moved;
      }),
    );
  }

  setAxes(axes) {
    this.axes = { ...this.axes, ...axes };
    this.emit("axes");
  }

  encode(image) {
    return this.runs.map((each) => run(each.encoder, image));
  }

  decode(index, code) {
    return run(this.runs[index].decoder, code);
  }

  // Encodes an image, moves all codes there, and keeps the reconstructions.
  setImage(image) {
    this.image = image;
    this.schedule.request("image", 0, () => {
      const codes = this.encode(this.image);
      this.reconstructions = codes.map((code, i) => this.decode(i, code));
      this.emit("image");
      this.setCodes(codes);
      return false;
    });
  }

  // Draws one code per run, from the prior or from the densities that were fitted to the codes.
  draw(source, seed) {
    return this.runs.map((each) => drawCode(each.latent, source === "prior" ? null : each.density, generatorOf(seed)));
  }
}
