// Networks of linear layers, convolutions and transposed convolutions.

const sizeOf = (shape) => shape[0] * shape[1] * shape[2];

// Returns a network that `run` computes, for layers with weights in torch's layout.
function network(layers) {
  const prepared = layers.map((layer) => {
    const { outputs, bias, activation } = layer;
    return { outputs, bias, activation, compute: COMPUTE[layer.kind](layer) };
  });
  const cost = layers.reduce((sum, layer) => {
    const places = layer.kind === "transposed" ? layer.inputs : layer.outputs;
    return sum + layer.weight.length * (layer.kind === "linear" ? 1 : places[1] * places[2]);
  }, 0);
  return {
    layers: prepared,
    inputs: sizeOf(layers[0].inputs),
    outputs: sizeOf(layers[layers.length - 1].outputs),
    cost: cost / engine.speed,
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

const numbers = (count) => Array.from({ length: count }, (_, i) => i);

const AT_ONCE = 64; // images that a linear layer computes together

let engine = simdEngine() || plainEngine();

function linear(layer) {
  const [inner, outputs] = [sizeOf(layer.inputs), layer.outputs[0]];
  const rows = roundUp(outputs, LANES);
  const weights = placeTransposed(engine, layer.weight, outputs, inner, rows);
  const [inputs, results] = [engine.room(AT_ONCE * inner), engine.room(AT_ONCE * rows)];
  return (values, count, out) => {
    for (let first = 0; first < count; first += AT_ONCE) {
      const some = Math.min(AT_ONCE, count - first);
      engine.view(inputs).set(values.subarray(first * inner, (first + some) * inner));
      engine.product(weights, rows, inner, inputs, some === 1 ? 1 : roundUp(some, COLUMNS), results);
      const view = engine.view(results);
      for (let i = 0; i < some; i++) out.set(view.subarray(i * rows, i * rows + outputs), (first + i) * outputs);
    }
  };
}

// Returns a function that computes the products of weights, one row of `inner` numbers for each of `channels`, with what
// `gather` finds around the places of a grid. The result has a row of `wide` numbers for each channel.
function products(weight, channels, inner, grid, inputs, stride, rowTaps, columnTaps) {
  const wide = roundUp(grid[0] * grid[1], LANES);
  const count = roundUp(channels, COLUMNS);
  const weights = engine.room(count * inner);
  engine.view(weights).set(weight);
  const [patches, results] = [engine.room(inner * wide), engine.room(count * wide)];
  const compute = (input) => {
    gather(input, inputs, grid, stride, rowTaps, columnTaps, engine.view(patches), wide);
    engine.product(patches, wide, inner, weights, count, results);
    return engine.view(results);
  };
  return { compute, wide };
}

function convolution(layer) {
  const { inputs, outputs, kernel, stride, padding, weight } = layer;
  const grid = [outputs[1], outputs[2]];
  const places = grid[0] * grid[1];
  const taps = numbers(kernel).map((t) => t - padding);
  const inner = inputs[0] * kernel * kernel;
  const { compute, wide } = products(weight, outputs[0], inner, grid, inputs, stride, taps, taps);
  return (values, count, out) => {
    for (let image = 0; image < count; image++) {
      const result = compute(values.subarray(image * sizeOf(inputs), (image + 1) * sizeOf(inputs)));
      const start = image * sizeOf(outputs);
      for (let c = 0; c < outputs[0]; c++) out.set(result.subarray(c * wide, c * wide + places), start + c * places);
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
      for (const phase of phases) scatter(phase.compute(input), phase, outputs, stride, result);
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
  const rowTaps = rowKernel.map((t) => (y + padding - t) / stride);
  const columnTaps = columnKernel.map((u) => (x + padding - u) / stride);
  const grid = [rows, columns];
  return { y, x, grid, ...products(arranged, outputs[0], inner, grid, inputs, 1, rowTaps, columnTaps) };
}

function scatter(product, { y, x, grid: [rows, columns], wide }, [channels, height, width], stride, out) {
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0; i < rows; i++) {
      const from = channel * wide + i * columns;
      const base = (channel * height + y + i * stride) * width + x;
      for (let j = 0; j < columns; j++) out[base + j * stride] = product[from + j];
    }
  }
}

const COMPUTE = { linear, conv: convolution, transposed };
