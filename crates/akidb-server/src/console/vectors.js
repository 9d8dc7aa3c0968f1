// Arithmetic on vectors.

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export function cosine(a, b) {
  const lengths = Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}

/** All cosine similarities, as rows. */
export function similarities(vectors) {
  const rows = vectors.map(() => new Float64Array(vectors.length));
  for (let i = 0; i < vectors.length; i++) {
    for (let j = i; j < vectors.length; j++) {
      rows[i][j] = rows[j][i] = i === j ? 1 : cosine(vectors[i], vectors[j]);
    }
  }
  return rows;
}

/** Dot products of the vectors after their mean was taken away. */
function centredGram(vectors) {
  const mean = new Float64Array(vectors[0].length);
  for (const vector of vectors) vector.forEach((value, k) => (mean[k] += value / vectors.length));
  const centred = vectors.map((vector) => Float64Array.from(vector, (value, k) => value - mean[k]));
  return centred.map((a) => Float64Array.from(centred, (b) => dot(a, b)));
}

function scale(vector, by) {
  return vector.map((value) => value * by);
}

/** The largest eigenvalue of a positive semidefinite matrix and its vector, at right angles to `others`. */
function largestEigen(matrix, others) {
  const n = matrix.length;
  const straighten = (vector) => {
    for (const other of others) {
      const share = dot(vector, other);
      vector = vector.map((value, i) => value - share * other[i]);
    }
    const length = Math.sqrt(dot(vector, vector));
    return length > 1e-12 ? scale(vector, 1 / length) : null;
  };
  // Any start that isn't at right angles to the eigenvector will do.
  let vector = straighten(Float64Array.from({ length: n }, (_, i) => Math.sin(1 + 2.4 * i)));
  let value = 0;
  for (let round = 0; round < 1000 && vector; round++) {
    const product = Float64Array.from(matrix, (row) => dot(row, vector));
    const next = dot(product, vector);
    const turned = straighten(product);
    if (!turned) return { value: 0, vector };
    const moved = 1 - Math.abs(dot(turned, vector));
    [value, vector] = [next, turned];
    if (moved < 1e-13) break;
  }
  return { value: Math.max(value, 0), vector: vector ?? new Float64Array(n) };
}

/** Principal components: `{points: [[x, y]], share}`, where `share` is the variance that they keep. */
export function planar(vectors) {
  const gram = centredGram(vectors);
  const total = gram.reduce((sum, row, i) => sum + row[i], 0);
  // Rounding leaves this much between equal vectors.
  if (total < 1e-9) return { points: vectors.map(() => [0, 0]), share: null };
  const first = largestEigen(gram, []);
  const second = largestEigen(gram, [first.vector]);
  // An axis has no direction of its own: the farthest point goes to the right, or to the top.
  const axis = ({ value, vector }) => {
    const farthest = vector.reduce((best, x) => (Math.abs(x) > Math.abs(best) + 1e-9 ? x : best), 0);
    return scale(vector, Math.sqrt(value) * (farthest < 0 ? -1 : 1));
  };
  const [x, y] = [axis(first), axis(second)];
  return {
    points: vectors.map((_, i) => [x[i], y[i]]),
    share: Math.min((first.value + second.value) / total, 1),
  };
}
