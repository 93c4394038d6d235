// Runs pixelmatch on pairs of pictures as they come: width and height (32 bits, little endian) and
// two pictures in RGBA on standard input; on standard output a byte a pixel, 255 where they differ.
import { readSync, writeSync } from "node:fs";
import pixelmatch from "pixelmatch";

function read(length) {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const count = readSync(0, bytes, filled, length - filled, null);
    if (count === 0) process.exit(0); // nothing more comes
    filled += count;
  }
  return bytes;
}

for (;;) {
  const header = read(8);
  const [width, height] = [header.readUInt32LE(0), header.readUInt32LE(4)];
  const pixels = width * height;
  const image1 = read(4 * pixels);
  const image2 = read(4 * pixels);
  const drawn = new Uint8Array(4 * pixels);
  pixelmatch(image1, image2, drawn, width, height, { diffMask: true });
  const mask = Buffer.alloc(pixels);
  for (let i = 0; i < pixels; i++) mask[i] = drawn[4 * i + 3];
  for (let sent = 0; sent < pixels; ) sent += writeSync(1, mask, sent);
}
