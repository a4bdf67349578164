// Matrix products and the patches of convolutions, on typed arrays.

// Computes out[c * rows + r] = sum over k of a[r * inner + k] * b[c * inner + k], for r < rows and c < count.
// Blocks of 2 by 4 products share the numbers that they load, which doubles the speed.
function multiply(a, rows, inner, b, count, out) {
  for (let c = 0; c < count; c += 4) {
    const b0 = c * inner;
    const b1 = Math.min(c + 1, count - 1) * inner;
    const b2 = Math.min(c + 2, count - 1) * inner;
    const b3 = Math.min(c + 3, count - 1) * inner;
    for (let r = 0; r < rows; r += 2) {
      const a0 = r * inner;
      const a1 = Math.min(r + 1, rows - 1) * inner;
      let s00 = 0, s01 = 0, s02 = 0, s03 = 0;
      let s10 = 0, s11 = 0, s12 = 0, s13 = 0;
      for (let k = 0; k < inner; k++) {
        const u = a[a0 + k], v = a[a1 + k];
        const p = b[b0 + k], q = b[b1 + k], s = b[b2 + k], t = b[b3 + k];
        s00 += u * p; s01 += u * q; s02 += u * s; s03 += u * t;
        s10 += v * p; s11 += v * q; s12 += v * s; s13 += v * t;
      }
      store(out, c, r, rows, count, s00, s01, s02, s03);
      if (r + 1 < rows) store(out, c, r + 1, rows, count, s10, s11, s12, s13);
    }
  }
}

function store(out, c, r, rows, count, s0, s1, s2, s3) {
  const at = c * rows + r;
  out[at] = s0;
  if (c + 1 < count) out[at + rows] = s1;
  if (c + 2 < count) out[at + 2 * rows] = s2;
  if (c + 3 < count) out[at + 3 * rows] = s3;
}

// Matrix times vector with four rows at a time, faster than `multiply` for a single image.
function multiplyVector(a, rows, inner, vector, out) {
  let r = 0;
  for (; r + 3 < rows; r += 4) {
    const a0 = r * inner, a1 = a0 + inner, a2 = a1 + inner, a3 = a2 + inner;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let k = 0; k < inner; k++) {
      const value = vector[k];
      s0 += a[a0 + k] * value;
      s1 += a[a1 + k] * value;
      s2 += a[a2 + k] * value;
      s3 += a[a3 + k] * value;
    }
    out[r] = s0; out[r + 1] = s1; out[r + 2] = s2; out[r + 3] = s3;
  }
  for (; r < rows; r++) {
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += a[r * inner + k] * vector[k];
    out[r] = sum;
  }
}

// Writes one row per place of a grid into `out`: the values of `input` (channels, height, width) around it.
// Place (i, j) looks at the rows `rowTaps[t] + i * stride` and the columns alike; outside are zeros.
function gatherPatches(input, [channels, height, width], places, stride, rowTaps, columnTaps, out) {
  let at = 0;
  for (let i = 0; i < places[0]; i++) {
    for (let j = 0; j < places[1]; j++) {
      for (let channel = 0; channel < channels; channel++) {
        for (let t = 0; t < rowTaps.length; t++) {
          const y = i * stride + rowTaps[t];
          const base = (channel * height + y) * width;
          const inside = y >= 0 && y < height;
          for (let u = 0; u < columnTaps.length; u++) {
            const x = j * stride + columnTaps[u];
            out[at++] = inside && x >= 0 && x < width ? input[base + x] : 0;
          }
        }
      }
    }
  }
}
