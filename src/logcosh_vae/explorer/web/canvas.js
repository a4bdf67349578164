// Elements and canvases.

// Type of the data of a test image that is dragged: its number.
const DRAGGED_IMAGE = "text/x-test-image";

// Returns a new element with attributes; functions are event listeners, and children are elements or text.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const byId = (id) => document.getElementById(id);

const clear = (target, ...children) => target.replaceChildren(...children);

function contextOf(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}

// Returns a canvas for images of a shape, `columns` by `rows` of them.
function imageCanvas([, height, width], description, columns = 1, rows = 1) {
  const canvas = element("canvas", { class: "pixels", role: "img", "aria-label": description });
  canvas.width = columns * width;
  canvas.height = rows * height;
  const context = contextOf(canvas);
  context.fillStyle = "#808080";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

// Paints an image into a cell of a canvas.
function paint(canvas, values, shape, column = 0, row = 0) {
  const [, height, width] = shape;
  contextOf(canvas).putImageData(new ImageData(toRgba(values, shape), width, height), column * width, row * height);
}

// Returns the head of a card with the colour and the name of a run.
function runHead(explorer, index) {
  const { label, detail } = explorer.runs[index];
  const dot = element("span", { class: "dot", style: `background:${explorer.colours[index]}`, "aria-hidden": "true" });
  return element("h3", { class: "run", title: detail }, dot, element("span", {}, label));
}

const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");

// Returns the numbers under an image, one line for each.
function measures(image, shape, original = null) {
  const lines = [`sharpness ${sharpness(image, shape).toFixed(3)}`];
  if (original !== null) lines.unshift(`error ${rootMeanSquare(image, original).toFixed(3)}`);
  return lines.map((line) => element("span", {}, line));
}

// Calls `move(event)` while a pointer that was pressed on the target is down; `end` when it is released.
function onDrag(target, move, end = () => {}) {
  target.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    target.setPointerCapture(event.pointerId);
    target.focus({ preventScroll: true });
    move(event, true);
    event.preventDefault();
  });
  target.addEventListener("pointermove", (event) => {
    if (target.hasPointerCapture(event.pointerId)) move(event, false);
  });
  for (const name of ["pointerup", "pointercancel"]) target.addEventListener(name, end);
}

// Returns the place of a pointer in an element, each coordinate in [0, 1].
function placeIn(target, event) {
  const box = target.getBoundingClientRect();
  return [
    clamp((event.clientX - box.left) / box.width, 0, 1),
    clamp((event.clientY - box.top) / box.height, 0, 1),
  ];
}
