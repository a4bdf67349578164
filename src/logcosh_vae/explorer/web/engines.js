// What computes the matrix products of networks: an engine has
//   room(count), which reserves memory for numbers, zeros at first;
//   view(memory), which shows them as a Float32Array until the next call of `room`;
//   product(a, rows, inner, b, count, out), which computes, for memory,
//     out[c * rows + r] = sum over k of a[k * rows + r] * b[c * inner + k],
//   where `rows` is a multiple of LANES, and `count` is one or a multiple of COLUMNS;
//   speed, about how many times as fast as plain JavaScript it is.

const LANES = 8;
const COLUMNS = 4;

const roundUp = (value, unit) => unit * Math.ceil(value / unit);

// The engine in plain JavaScript.
function plainEngine() {
  const product = (a, rows, inner, b, count, out) => {
    out.fill(0);
    for (let c = 0; c < count; c++) {
      const result = out.subarray(c * rows, (c + 1) * rows);
      let k = 0;
      for (; k + 3 < inner; k += 4) { // four at a time, so that the sums are loaded and stored a fourth as often
        const at = c * inner + k;
        const p = b[at], q = b[at + 1], s = b[at + 2], t = b[at + 3];
        const a0 = k * rows, a1 = a0 + rows, a2 = a1 + rows, a3 = a2 + rows;
        for (let r = 0; r < rows; r++) result[r] += a[a0 + r] * p + a[a1 + r] * q + a[a2 + r] * s + a[a3 + r] * t;
      }
      for (; k < inner; k++) {
        const factor = b[c * inner + k];
        for (let r = 0; r < rows; r++) result[r] += a[k * rows + r] * factor;
      }
    }
  };
  return { speed: 1, room: (count) => new Float32Array(count), view: (memory) => memory, product };
}

// Returns memory with the transpose of a matrix of `rows` by `columns` numbers, whose rows are extended by zeros to `wide`.
function placeTransposed(engine, values, rows, columns, wide) {
  const memory = engine.room(columns * wide);
  const view = engine.view(memory);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) view[column * wide + row] = values[row * columns + column];
  }
  return memory;
}

// Writes the values of `input` (channels, height, width) around each place of a grid into the columns of `out`, a matrix
// with one row of `wide` numbers for each channel and pair of taps. Place (i, j) looks at the rows
// `rowTaps[t] + i * stride`, and the columns alike. What lies outside is not written: it stays zero.
function gather(input, [channels, height, width], [rows, columns], stride, rowTaps, columnTaps, out, wide) {
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (const rowTap of rowTaps) {
      for (const columnTap of columnTaps) {
        const first = Math.max(0, Math.ceil(-columnTap / stride));
        const end = Math.min(columns, Math.ceil((width - columnTap) / stride));
        for (let i = 0; i < rows; i++) {
          const y = i * stride + rowTap;
          if (y < 0 || y >= height) continue;
          const base = (channel * height + y) * width + columnTap;
          for (let j = first; j < end; j++) out[at + i * columns + j] = input[base + j * stride];
        }
        at += wide;
      }
    }
  }
}
