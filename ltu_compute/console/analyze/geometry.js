/**
 * Boxes, corners and homographies, in px of a picture.
 * @module
 */

/** @typedef {{x: number, y: number}} Point */
/** @typedef {{x: number, y: number, width: number, height: number}} Box */

/**
 * Return the upright box around points.
 * @param {Point[]} points
 * @returns {Box}
 */
export function boxAround(points) {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
}

/**
 * Return the corners of a box, clockwise from the top left.
 * @param {Box} box
 * @returns {Point[]}
 */
export function corners({ x, y, width, height }) {
  return [
    { x, y },
    { x: x + width, y },
    { x: x + width, y: y + height },
    { x, y: y + height },
  ];
}

/**
 * Return the area within an outline (the shoelace formula), in px².
 * @param {Point[]} outline
 */
export function areaOf(outline) {
  const twice = outline.reduce((sum, point, index) => {
    const next = outline[(index + 1) % outline.length];
    return sum + point.x * next.y - next.x * point.y;
  }, 0);
  return Math.abs(twice) / 2;
}

/**
 * Return where a homography takes a point.
 * @param {number[]} matrix 3 × 3, row after row
 * @param {Point} point
 * @returns {Point}
 */
export function project(matrix, { x, y }) {
  const [a, b, c, d, e, f, g, i, j] = matrix;
  const w = g * x + i * y + j;
  return { x: (a * x + b * y + c) / w, y: (d * x + e * y + f) / w };
}

/**
 * Return a homography as CSS has it.
 *
 * The service counts from the centre of the first pixel, CSS from its corner: half a pixel is
 * taken off before, and put on again after.
 * @param {number[]} matrix 3 × 3, row after row
 */
export function cssMatrix(matrix) {
  const [a, b, c, d, e, f, g, i, j] = product(SHIFTED, product(matrix, UNSHIFTED));
  return `matrix3d(${[a, d, 0, g, b, e, 0, i, 0, 0, 1, 0, c, f, 0, j].join(",")})`;
}

const SHIFTED = [1, 0, 0.5, 0, 1, 0.5, 0, 0, 1];
const UNSHIFTED = [1, 0, -0.5, 0, 1, -0.5, 0, 0, 1];

/**
 * @param {number[]} left
 * @param {number[]} right
 */
function product(left, right) {
  return left.map((_, at) => {
    const [row, column] = [at - (at % 3), at % 3];
    return [0, 1, 2].reduce((sum, k) => sum + left[row + k] * right[3 * k + column], 0);
  });
}
