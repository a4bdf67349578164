// One slider per latent variable, the choice of the axes, and random codes.

class Sliders {
  constructor(explorer) {
    this.explorer = explorer;
    const most = Math.max(...explorer.runs.map((each) => each.latent));
    const known = new Set(explorer.order);
    const order = [...explorer.order, ...numbers(most).filter((i) => !known.has(i))];
    this.sliders = order.map((i) => this.slider(i));
    clear(byId("sliders"), ...this.sliders.map((each) => each.element));
    this.choices = { x: byId("axis-x"), y: byId("axis-y") };
    for (const [axis, select] of Object.entries(this.choices)) {
      clear(select, ...explorer.order.map((i) => element("option", { value: i }, `z${i + 1}`)));
      select.addEventListener("change", () => this.choose(axis, Number(select.value)));
    }
    explorer.addEventListener("codes", () => this.update());
    explorer.addEventListener("axes", () => this.update());
    this.update();
  }

  slider(i) {
    const { explorer } = this;
    const owner = explorer.runs.findIndex((each) => each.latent > i);
    const id = `slider-${i + 1}`;
    const input = element("input", {
      id, type: "range", min: -explorer.radius, max: explorer.radius, step: 0.01,
      input: () => explorer.moveBy({ [i]: Number(input.value) - explorer.codes[owner][i] }),
    });
    const value = element("output", { for: id });
    const badge = element("span", { class: "badge" });
    const marks = explorer.runs.map((each, index) =>
      element("i", { style: `background:${explorer.colours[index]}`, "aria-hidden": "true" }),
    );
    const ticks = element("div", { class: "ticks" }, ...(explorer.runs.length > 1 ? marks : []));
    const weak = Math.max(...explorer.runs.map((each) => each.deviations[i] ?? 0)) < 0.1;
    const title = weak ? "This variable hardly varies between images" : null;
    const head = element("div", { class: "slider-head" }, element("label", { for: id, title }, `z${i + 1}`), badge, value);
    return { i, owner, input, value, badge, marks, element: element("div", { class: weak ? "slider weak" : "slider" }, head, input, ticks) };
  }

  // The other axis takes the former variable of this one if both would be the same.
  choose(axis, i) {
    const other = axis === "x" ? "y" : "x";
    const { axes } = this.explorer;
    this.explorer.setAxes(axes[other] === i ? { [axis]: i, [other]: axes[axis] } : { [axis]: i });
  }

  update() {
    const { axes, codes, radius } = this.explorer;
    for (const { i, owner, input, value, badge, marks } of this.sliders) {
      const now = codes[owner][i];
      if (Math.abs(Number(input.value) - clamp(now, -radius, radius)) > 0.006) input.value = now;
      value.textContent = signed(now);
      badge.textContent = i === axes.x ? "across" : i === axes.y ? "up" : "";
      marks.forEach((mark, index) => {
        mark.hidden = i >= codes[index].length;
        mark.style.left = `${clamp(50 * (1 + codes[index][i] / radius), 0, 100)}%`;
      });
    }
    this.choices.x.value = axes.x;
    this.choices.y.value = axes.y;
  }
}

// Fills a choice of where codes are drawn from: the fitted densities, if all runs have one, or the prior.
function fillSources(select, explorer) {
  const names = new Set(explorer.runs.map((each) => each.density?.name ?? null));
  const options = [["prior", "the prior N(0, 1)"]];
  if (!names.has(null)) options.push(["density", `the fitted ${[...names].join(" or ")}`]);
  clear(select, ...options.map(([value, text]) => element("option", { value }, text)));
  select.value = options[options.length - 1][0];
}

function connectButtons(explorer) {
  const source = byId("source");
  fillSources(source, explorer);
  byId("random").addEventListener("click", () => {
    explorer.setCodes(explorer.draw(source.value, Math.floor(Math.random() * 2 ** 32)));
  });
  byId("zero").addEventListener("click", () => explorer.setCodes(explorer.codes.map((code) => code.map(() => 0))));
}
