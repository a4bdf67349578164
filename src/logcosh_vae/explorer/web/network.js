// Networks of linear layers, convolutions and transposed convolutions.

const sizeOf = (shape) => shape[0] * shape[1] * shape[2];

// Returns a network that `run` computes, for layers with weights in torch's layout.
function network(layers) {
  const prepared = layers.map((layer) => ({ ...layer, compute: COMPUTE[layer.kind](layer) }));
  const cost = layers.reduce((sum, layer) => {
    const places = layer.kind === "transposed" ? layer.inputs : layer.outputs;
    return sum + layer.weight.length * (layer.kind === "linear" ? 1 : places[1] * places[2]);
  }, 0);
  return {
    layers: prepared,
    inputs: sizeOf(layers[0].inputs),
    outputs: sizeOf(layers[layers.length - 1].outputs),
    cost,
  };
}

// Applies a network to `count` inputs that follow each other in `values`; returns their outputs alike.
function run(network, values, count = 1) {
  for (const layer of network.layers) {
    const out = new Float32Array(count * sizeOf(layer.outputs));
    layer.compute(values, count, out);
    activate(layer, out, count);
    values = out;
  }
  return values;
}

// Adds the bias and applies the activation, in place.
function activate({ outputs, bias, activation }, values, count) {
  const size = outputs[1] * outputs[2];
  let at = 0;
  for (let image = 0; image < count; image++) {
    for (let channel = 0; channel < outputs[0]; channel++) {
      const shift = bias[channel];
      for (const end = at + size; at < end; at++) {
        const value = values[at] + shift;
        if (activation === "sigmoid") values[at] = 1 / (1 + Math.exp(-value));
        else values[at] = activation === "relu" && value < 0 ? 0 : value;
      }
    }
  }
}

function linear(layer) {
  const [inner, rows] = [sizeOf(layer.inputs), layer.outputs[0]];
  return (values, count, out) => {
    if (count === 1) multiplyVector(layer.weight, rows, inner, values, out);
    else multiply(layer.weight, rows, inner, values, count, out);
  };
}

const numbers = (count) => Array.from({ length: count }, (_, i) => i);

function convolution(layer) {
  const { inputs, outputs, kernel, stride, padding, weight } = layer;
  const places = outputs[1] * outputs[2];
  const inner = inputs[0] * kernel * kernel;
  const patches = new Float32Array(places * inner);
  const taps = numbers(kernel).map((t) => t - padding);
  return (values, count, out) => {
    for (let image = 0; image < count; image++) {
      const input = values.subarray(image * sizeOf(inputs), (image + 1) * sizeOf(inputs));
      gatherPatches(input, inputs, [outputs[1], outputs[2]], stride, taps, taps, patches);
      const result = out.subarray(image * sizeOf(outputs), (image + 1) * sizeOf(outputs));
      multiply(patches, places, inner, weight, outputs[0], result);
    }
  };
}

// A transposed convolution of stride s is s * s convolutions of stride 1, one for each offset of the output's pixels.
function transposed(layer) {
  const { inputs, outputs, stride } = layer;
  const phases = [];
  for (let y = 0; y < stride; y++) {
    for (let x = 0; x < stride; x++) phases.push(phaseOf(layer, y, x));
  }
  return (values, count, out) => {
    for (let image = 0; image < count; image++) {
      const input = values.subarray(image * sizeOf(inputs), (image + 1) * sizeOf(inputs));
      const result = out.subarray(image * sizeOf(outputs), (image + 1) * sizeOf(outputs));
      for (const phase of phases) {
        const { rows, columns, inner, weight, patches, product } = phase;
        gatherPatches(input, inputs, [rows, columns], 1, phase.rowTaps, phase.columnTaps, patches);
        multiply(patches, rows * columns, inner, weight, outputs[0], product);
        scatter(product, phase, outputs, stride, result);
      }
    }
  };
}

// Returns what computes the output's pixels (y + i * stride, x + j * stride). Output row r gets input row
// (r + padding - t) / stride through the kernel's row t, if that is a whole number.
function phaseOf({ inputs, outputs, kernel, stride, padding, weight }, y, x) {
  const tapsOf = (offset) => numbers(kernel).filter((t) => (offset + padding - t) % stride === 0);
  const [rowKernel, columnKernel] = [tapsOf(y), tapsOf(x)];
  const rows = Math.ceil((outputs[1] - y) / stride);
  const columns = Math.ceil((outputs[2] - x) / stride);
  const inner = inputs[0] * rowKernel.length * columnKernel.length;
  const arranged = new Float32Array(outputs[0] * inner);
  let at = 0;
  for (let o = 0; o < outputs[0]; o++) {
    for (let i = 0; i < inputs[0]; i++) {
      for (const t of rowKernel) {
        for (const u of columnKernel) arranged[at++] = weight[((i * outputs[0] + o) * kernel + t) * kernel + u];
      }
    }
  }
  return {
    y, x, rows, columns, inner,
    weight: arranged,
    rowTaps: rowKernel.map((t) => (y + padding - t) / stride),
    columnTaps: columnKernel.map((u) => (x + padding - u) / stride),
    patches: new Float32Array(rows * columns * inner),
    product: new Float32Array(rows * columns * outputs[0]),
  };
}

function scatter(product, { y, x, rows, columns }, [channels, height, width], stride, out) {
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0; i < rows; i++) {
      const base = (channel * height + y + i * stride) * width + x;
      for (let j = 0; j < columns; j++) out[base + j * stride] = product[at++];
    }
  }
}

const COMPUTE = { linear, conv: convolution, transposed };
