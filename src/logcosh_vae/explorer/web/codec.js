// Reads the data of the page: base 85, zlib, and numbers rounded to multiples of a step.
// packing.py writes it and describes the format.

const FORMAT = 2;
const DIGITS = new Uint8Array(127);
for (let code = 33, digit = 0; code < 127; code++) {
  if (!"\"&'<>\\`$/".includes(String.fromCharCode(code))) DIGITS[code] = digit++;
}

// Returns the bytes that a text in base 85 holds.
function bytesOf(text) {
  const padded = new Uint8Array((text.length / 5) * 4);
  const view = new DataView(padded.buffer);
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    let value = 0;
    for (let i = 0; i < 5; i++) value = value * 85 + DIGITS[text.charCodeAt(from + i)];
    view.setUint32(to, value);
  }
  return padded.subarray(4, 4 + view.getUint32(0));
}

// Returns the decompressed bytes of a zlib stream.
async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns a function (count, step) that reads the next array of numbers, float32, from the texts of the three planes.
async function numberReader(texts) {
  const [low, middle, high] = await Promise.all(texts.map((text) => inflated(bytesOf(text))));
  let position = 0;
  return (count, step) => {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++, position++) {
      const u = low[position] + 256 * middle[position] + 65536 * high[position];
      values[i] = step * (u % 2 === 0 ? u / 2 : -(u + 1) / 2);
    }
    return values;
  };
}

// Returns weights that are packed with a step for each row, which precede them.
function readRows(layer, count, read) {
  const rows = (layer.kind === "transposed" ? layer.inputs : layer.outputs)[0];
  const steps = read(rows, layer.rowStep);
  const length = count / rows;
  return read(count, 1).map((value, i) => value * steps[Math.floor(i / length)]);
}

// Returns the layers of a network with their weights and biases, in the order in which `read` supplies them.
function readLayers(layers, read) {
  return layers.map((layer) => {
    const [inputs, outputs] = [layer.inputs[0], layer.outputs[0]];
    const flat = layer.inputs.reduce((a, b) => a * b);
    const count = layer.kind === "linear" ? outputs * flat : outputs * inputs * layer.kernel ** 2;
    const weight = layer.weightStep === undefined ? readRows(layer, count, read) : read(count, layer.weightStep);
    return { ...layer, weight, bias: read(outputs, layer.biasStep) };
  });
}

// Returns a run with its networks and density ready for use.
async function readRun(run) {
  const read = await numberReader(run.numbers);
  const encoder = network(readLayers(run.encoder, read));
  const decoder = network(readLayers(run.decoder, read));
  let density = null;
  if (run.density !== null) {
    const { name, components, steps } = run.density;
    const d = run.latent;
    density = {
      name,
      weights: read(components, steps.weights),
      means: read(components * d, steps.means),
      factors: read(components * d * d, steps.factors),
    };
  }
  const { label, detail, latent, deviations, difference } = run;
  return { label, detail, latent, deviations, difference, encoder, decoder, density };
}

// Returns the test images, each a Float32Array in [0, 1].
async function readImages(images, size) {
  if (images.count === 0) return [];
  const bytes = await inflated(bytesOf(images.pixels));
  return Array.from({ length: images.count }, (_, i) =>
    Float32Array.from(bytes.subarray(i * size, (i + 1) * size), (byte) => byte / 255),
  );
}
