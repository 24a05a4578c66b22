/**
 * The distributions that the tests need, to about 13 digits, tails included. A&S: Abramowitz & Stegun, Handbook of
 * Mathematical Functions (1964). DLMF: NIST Digital Library of Mathematical Functions.
 */

/** The standard normal distribution: the probability of at most `x`. Relative precision in the lower tail too. */
export function normalCdf (x: number): number {
  if (Number.isNaN(x)) return NaN
  if (x > 0) return 1 - normalCdf(-x)
  return x > -2 ? 0.5 + x * density(x) * series(x) : density(x) * millsRatio(-x)
}

/** The `x` that a standard normal variable does not exceed with probability `p`; -Infinity for 0, Infinity for 1. */
export function normalQuantile (p: number): number {
  if (!(p >= 0 && p <= 1)) return NaN
  if (p > 0.5) return -normalQuantile(1 - p)
  if (p === 0) return -Infinity
  // A&S 26.2.23, off by at most 0.00045; then Halley's method on the distribution itself.
  const t = Math.sqrt(-2 * Math.log(p))
  let x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t
  for (let i = 0; i < 4; i++) {
    const step = (normalCdf(x) - p) / density(x)
    x -= step / (1 + x * step / 2)
  }
  return x
}

function density (x: number): number {
  return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI)
}

/** A&S 26.2.11: (Φ(x) - ½) / (x φ(x)) = 1 + x²/3 + x⁴/15 + … */
function series (x: number): number {
  let sum = 1
  for (let term = 1, i = 3; term > sum * 1e-17; i += 2) sum += (term *= x * x / i)
  return sum
}

/** A&S 26.2.14, the upper tail over the density: 1/(x + 1/(x + 2/(x + 3/(x + …)))). */
function millsRatio (x: number): number {
  let rest = x
  for (let i = Math.ceil(20 + 400 / (x * x) * 4); i > 0; i--) rest = x + i / rest
  return 1 / rest
}

/** The probability that Student's t with `freedom` degrees of freedom (not whole ones, too) lies beyond `t` on either side: I of ν/(ν+t²) at (ν/2, ½), A&S 26.7.1. */
export function studentTails (t: number, freedom: number): number {
  if (!(freedom > 0) || Number.isNaN(t)) return NaN
  if (!Number.isFinite(t)) return 0
  const a = freedom / 2
  const ratio = t * t / freedom
  const x = 1 / (1 + ratio)
  if (x === 1) return 1
  // x^a (1-x)^½ / B(a, ½)
  const front = Math.exp(-a * Math.log1p(ratio) + 0.5 * Math.log(ratio * x) + logGammaStep(a)) / Math.sqrt(Math.PI)
  return x < (a + 1) / (a + 2.5) ? front * betaFraction(a, 0.5, x) / a : 1 - front * betaFraction(0.5, a, ratio * x) / 0.5
}

/** The `t` that lies beyond on either side with probability `tails`, from 0 to 1. */
export function studentQuantile (tails: number, freedom: number): number {
  let [low, high] = [0, 1]
  while (studentTails(high, freedom) > tails) {
    if (high > 1e150) return Infinity
    ;[low, high] = [high, high * 2]
  }
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2
    if (middle === low || middle === high) break
    if (studentTails(middle, freedom) > tails) low = middle
    else high = middle
  }
  return high
}

/** ln Γ(a + ½) - ln Γ(a): the series for large a (from DLMF 5.11.8), reached by Γ(a + 1) = a Γ(a). As a difference of two ln Γ it would lose its digits. */
function logGammaStep (a: number): number {
  let shifted = 0
  for (; a < 30; a++) shifted += Math.log(a / (a + 0.5))
  const b = 1 / a
  return shifted + Math.log(a) / 2 - b / 8 + b ** 3 / 192 - b ** 5 / 640 + 17 * b ** 7 / 14336
}

/** The continued fraction of the incomplete beta function, DLMF 8.17.22, by Lentz's method. */
function betaFraction (a: number, b: number, x: number): number {
  const tiny = 1e-300
  let c = 1
  let d = 1 / ((1 - (a + b) * x / (a + 1)) || tiny)
  let value = d
  for (let m = 1; m < 100_000; m++) {
    for (const term of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / ((1 + term * d) || tiny)
      c = (1 + term / c) || tiny
      value *= c * d
    }
    if (Math.abs(c * d - 1) < 1e-16) break
  }
  return value
}

/** The probability that chi-square with so many (whole) degrees of freedom exceeds `x`: the finite sums A&S 26.4.4 and 26.4.5. */
export function chiSquareTail (x: number, freedom: number): number {
  if (!(x > 0)) return 1
  if (x === Infinity) return 0
  const y = x / 2
  const isOdd = freedom % 2 === 1
  let tail = isOdd ? 2 * normalCdf(-Math.sqrt(x)) : Math.exp(-y)
  // ln of y^a e^-y / Γ(a + 1), for a = ½, 3/2, … or 1, 2, …
  let term = isOdd ? Math.log(y) / 2 - y - Math.log(Math.PI / 4) / 2 : Math.log(y) - y
  for (let a = isOdd ? 0.5 : 1; a < freedom / 2; a++) {
    tail += Math.exp(term)
    term += Math.log(y / (a + 1))
  }
  return Math.min(1, tail)
}
