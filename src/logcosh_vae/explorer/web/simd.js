// The engine of `engines.js` in WebAssembly, which computes four numbers at a time: four to eight times as fast as JavaScript.

// Returns the engine, or null where the browser has no WebAssembly with vectors.
function simdEngine() {
  try {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const module = new WebAssembly.Module(productModule());
    const { one, several } = new WebAssembly.Instance(module, { e: { m: memory } }).exports;
    let end = 0;
    const room = (count) => {
      const address = end;
      end += 16 * Math.ceil(count / 4);
      const missing = end - memory.buffer.byteLength;
      if (missing > 0) memory.grow(Math.ceil(missing / 65536));
      return { address, count };
    };
    const view = ({ address, count }) => new Float32Array(memory.buffer, address, count);
    return {
      speed: 4,
      room,
      view,
      product: (a, rows, inner, b, count, out) => {
        const product = count === 1 ? one : several;
        product(a.address, rows, inner, b.address, count, out.address);
      },
    };
  } catch {
    return null;
  }
}

// Assembles the module. It imports the memory and exports the product for one column and for blocks of COLUMNS columns.
function productModule() {
  const bytes = (text) => [text.length, ...Array.from(text, (letter) => letter.charCodeAt(0))];
  const section = (id, content) => [id, ...leb(content.length), ...content];
  const I32 = 0x7f, V128 = 0x7b, FUNCTION = 0x60;
  const bodies = [1, COLUMNS].flatMap((columns) => {
    const body = [2, ...leb(8), I32, ...leb(8), V128, ...productCode(columns), 0x0b];
    return [...leb(body.length), ...body];
  });
  return new Uint8Array([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // magic number and version
    ...section(1, [1, FUNCTION, 6, I32, I32, I32, I32, I32, I32, 0]), // their type: six integers, no result
    ...section(2, [1, ...bytes("e"), ...bytes("m"), 2, 0, 1]), // a memory of at least one page
    ...section(3, [2, 0, 0]),
    ...section(7, [2, ...bytes("one"), 0, 0, ...bytes("several"), 0, 1]),
    ...section(10, [2, ...bodies]),
  ]);
}

// Returns the instructions of a product: loops over blocks of `columns` columns, blocks of rows, and k.
function productCode(columns) {
  const [a, rows, inner, b, count, out] = numbers(6);
  const [column, row, fromA, last, at] = [6, 7, 8, 13, 8]; // `at` takes the place of `fromA` when k has ended
  const fromB = numbers(columns).map((i) => 9 + i);
  const sums = numbers(columns).map((i) => [14 + 2 * i, 15 + 2 * i]);
  const get = (local) => [0x20, local];
  const set = (local) => [0x21, local];
  const int = (value) => [0x41, ...lebSigned(value)];
  const [ADD, MULTIPLY, LESS] = [[0x6a], [0x6c], [0x49]];
  const four = [...int(4), ...MULTIPLY];
  const step = (local, bytes) => [...get(local), ...bytes, ...ADD, ...set(local)];
  const loop = (content, condition) => [0x03, 0x40, ...content, ...condition, 0x0d, 0, 0x0b];
  const simd = (operation, ...more) => [0xfd, ...leb(operation), ...more];
  const load = (offset) => simd(0x00, 2, offset);
  const splat = simd(0x09, 2, 0); // loads one number into all four places
  const store = (offset) => simd(0x0b, 2, offset);
  const zero = simd(0x0c, ...new Array(16).fill(0));
  const [addVectors, multiplyVectors] = [simd(0xe4), simd(0xe6)];

  const products = fromB.flatMap((from, i) => [0, 1].flatMap((half) => [
    ...get(sums[i][half]), ...get(fromA), ...load(16 * half), ...get(from), ...splat, ...multiplyVectors, ...addVectors,
    ...set(sums[i][half]),
  ]));
  const overK = loop(
    [...products, ...step(fromA, [...get(rows), ...four]), ...fromB.flatMap((from) => step(from, int(4)))],
    [...get(fromB[0]), ...get(last), ...LESS],
  );
  const start = [
    ...sums.flat().flatMap((sum) => [...zero, ...set(sum)]),
    ...get(a), ...get(row), ...four, ...ADD, ...set(fromA),
    ...get(b), ...get(column), ...get(inner), ...MULTIPLY, ...four, ...ADD, ...set(fromB[0]),
    ...fromB.slice(1).flatMap((from, i) => [...get(fromB[i]), ...get(inner), ...four, ...ADD, ...set(from)]),
    ...get(fromB[0]), ...get(inner), ...four, ...ADD, ...set(last),
  ];
  const end = [
    ...get(out), ...get(column), ...get(rows), ...MULTIPLY, ...get(row), ...ADD, ...four, ...ADD, ...set(at),
    ...sums.flatMap((pair) => [
      ...pair.flatMap((sum, half) => [...get(at), ...get(sum), ...store(16 * half)]),
      ...step(at, [...get(rows), ...four]),
    ]),
    ...step(row, int(LANES)),
  ];
  const overRows = loop([...start, ...overK, ...end], [...get(row), ...get(rows), ...LESS]);
  return loop(
    [...int(0), ...set(row), ...overRows, ...step(column, int(columns))],
    [...get(column), ...get(count), ...LESS],
  );
}

// Returns a number in the variable-length encoding of WebAssembly, without and with a sign.
function leb(value) {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
}

function lebSigned(value) {
  return value < 64 ? [value] : [(value & 127) | 128, ...lebSigned(value >> 7)];
}
