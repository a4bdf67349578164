// Arrays of pixels: colours for a canvas, measures, a brush, and the centring of digits.

// Returns the bytes for a canvas, RGBA, of an image (channels, height, width) in [0, 1].
function toRgba(values, [channels, height, width], out = new Uint8ClampedArray(4 * height * width)) {
  const size = height * width;
  for (let i = 0; i < size; i++) {
    out[4 * i] = 255 * values[i];
    out[4 * i + 1] = channels === 3 ? 255 * values[size + i] : out[4 * i];
    out[4 * i + 2] = channels === 3 ? 255 * values[2 * size + i] : out[4 * i];
    out[4 * i + 3] = 255;
  }
  return out;
}

// Returns the image of the bytes of a canvas, RGBA; grey as Pillow computes it.
function fromRgba(bytes, [channels, height, width]) {
  const size = height * width;
  const values = new Float32Array(channels * size);
  for (let i = 0; i < size; i++) {
    const [red, green, blue] = [bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2]];
    if (channels === 3) {
      values[i] = red / 255;
      values[size + i] = green / 255;
      values[2 * size + i] = blue / 255;
    } else {
      values[i] = ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16) / 255;
    }
  }
  return values;
}

// Root mean square difference of two images.
function rootMeanSquare(first, second) {
  let sum = 0;
  for (let i = 0; i < first.length; i++) sum += (first[i] - second[i]) ** 2;
  return Math.sqrt(sum / first.length);
}

// Sharpness as in the paper: variance of the Laplacian of the grey image, without its border.
function sharpness(values, [channels, height, width]) {
  const size = height * width;
  const grey = (i) =>
    channels === 3 ? 0.299 * values[i] + 0.587 * values[size + i] + 0.114 * values[2 * size + i] : values[i];
  let [sum, squares, count] = [0, 0, 0];
  for (let y = 1; y + 1 < height; y++) {
    for (let x = 1; x + 1 < width; x++) {
      const i = y * width + x;
      const laplacian = grey(i - 1) + grey(i + 1) + grey(i - width) + grey(i + width) - 4 * grey(i);
      sum += laplacian;
      squares += laplacian ** 2;
      count++;
    }
  }
  return count ? squares / count - (sum / count) ** 2 : 0;
}

// Draws a round, soft dot of `colour` (one number per channel) into an image, in place.
function stamp(values, [channels, height, width], x, y, radius, colour) {
  const reach = radius + 1;
  for (let row = Math.max(0, Math.floor(y - reach)); row <= Math.min(height - 1, Math.ceil(y + reach)); row++) {
    for (let column = Math.max(0, Math.floor(x - reach)); column <= Math.min(width - 1, Math.ceil(x + reach)); column++) {
      const cover = clamp(radius + 0.5 - Math.hypot(column + 0.5 - x, row + 0.5 - y), 0, 1);
      for (let channel = 0; channel < channels; channel++) {
        const i = (channel * height + row) * width + column;
        const painted = values[i] + cover * (colour[channel] - values[i]);
        // a dot that only touches a pixel must not undo what an earlier one has covered
        values[i] = colour[channel] === 1 ? Math.max(values[i], cover) : painted;
      }
    }
  }
}

// Returns a grey image shifted by whole pixels so that its centre of mass is in the middle, as in MNIST.
function centred(values, [, height, width]) {
  let [mass, sumX, sumY] = [0, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = values[y * width + x];
      mass += value;
      sumX += value * (x + 0.5);
      sumY += value * (y + 0.5);
    }
  }
  if (mass === 0) return values.slice();
  const [dx, dy] = [Math.round(width / 2 - sumX / mass), Math.round(height / 2 - sumY / mass)];
  const out = new Float32Array(values.length);
  for (let y = Math.max(0, dy); y < Math.min(height, height + dy); y++) {
    for (let x = Math.max(0, dx); x < Math.min(width, width + dx); x++) {
      out[y * width + x] = values[(y - dy) * width + x - dx];
    }
  }
  return out;
}

// Whether the border of a grey image is bright, as on a photograph of ink on paper.
function hasBrightBorder(values, [, height, width]) {
  let [sum, count] = [0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (x === 0 || y === 0 || x === width - 1 || y === height - 1) {
        sum += values[y * width + x];
        count++;
      }
    }
  }
  return sum > 0.5 * count;
}
