// Latent codes: random draws, interpolation, and the codes of a map.

// Returns a function that draws uniform numbers in [0, 1), the same for the same seed (mulberry32).
function generatorOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Returns `count` standard normal numbers (Box and Muller).
function normals(count, uniform) {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

// Draws a code of size d from a mixture of Gaussians, or from the prior N(0, I) if `density` is null.
function drawCode(d, density, uniform) {
  const noise = normals(d, uniform);
  if (density === null) return noise;
  let left = uniform();
  let component = 0;
  while (component + 1 < density.weights.length && left >= density.weights[component]) {
    left -= density.weights[component++];
  }
  const code = density.means.slice(component * d, (component + 1) * d);
  for (let i = 0; i < d; i++) {
    for (let j = 0; j <= i; j++) code[i] += density.factors[(component * d + i) * d + j] * noise[j];
  }
  return code;
}

const lerp = (first, second, t) => first.map((value, i) => value + t * (second[i] - value));

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

// Returns the codes of one row of a map: `code` with variable y at its value for the row and x at those of the columns.
// The map shows [-radius, radius] in both directions, y upwards; its cells are the centres of n by n squares.
function rowOfMap(code, { x, y }, radius, n, row) {
  const codes = new Float32Array(n * code.length);
  for (let column = 0; column < n; column++) {
    codes.set(code, column * code.length);
    codes[column * code.length + y] = radius * (1 - (2 * row + 1) / n);
    codes[column * code.length + x] = radius * ((2 * column + 1) / n - 1);
  }
  return codes;
}

// Returns the indices of the latent variables, those first that vary most over the test images of all runs.
function byVariation(runs) {
  const d = Math.min(...runs.map((each) => each.latent));
  const variation = (i) => runs.reduce((sum, each) => sum + Math.min(1, each.deviations[i]), 0);
  return numbers(d).sort((i, j) => variation(j) - variation(i) || i - j);
}
