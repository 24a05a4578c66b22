/**
 * Whether something bad happens more often to requests that got something new: a test that may be looked at after every
 * request. Traffic is cut into pieces as it comes (a second of one process, say). Of each piece only this is taken as chance: on
 * which side its bad requests fell. If the new thing makes no difference each of them fell on any request alike, however often
 * bad things happen just then, and whatever part of the requests got the new thing. So neither a bad hour, nor another stage of
 * the rollout, nor a slow machine is mistaken for an effect.
 *
 * Against that stand suppositions that the odds are so many times as high. Fisher's noncentral hypergeometric distribution says how
 * much more likely each makes what was seen; what a bet of 1 on it would have become is the product over all pieces. Averaged
 * over the suppositions, it exceeds 1/α at any time with a chance of at most α if there is no difference (Ville's inequality,
 * 1939; Shafer, "Testing by betting", J. R. Stat. Soc. A 184 (2021); Grünwald, de Heide & Koolen, "Safe testing", ibid. B 86 (2024)).
 */

/** Requests of one side, and how many of them were bad. */
export interface Side { readonly requests: number, readonly bad: number }

/** The odds supposed, and how likely each is held to be beforehand. */
const suppositions = [
  { odds: 1.3, belief: 0.08 },
  { odds: 1.6, belief: 0.3 },
  { odds: 2.1, belief: 0.4 },
  { odds: 3, belief: 0.1 },
  { odds: 6, belief: 0.07 },
  { odds: 20, belief: 0.05 }
] as const

/**
 * What a piece of traffic says: a number for each supposition, to be added to those of all other pieces, in any order.
 * `allowed` are the odds that are still fine, 1 unless given: what they make likely is no evidence.
 */
export function evidenceOf (control: Side, treated: Side, allowed = 1): number[] {
  const weights = hypergeometric(control.requests, treated.requests, control.bad + treated.bad)
  const likelihood = (odds: number) => treated.bad * Math.log(odds) - weights.logMean(Math.log(odds))
  const fine = likelihood(allowed)
  return suppositions.map(({ odds }) => likelihood(odds * allowed) - fine)
}

/** No evidence at all. */
export const noEvidence: readonly number[] = Object.freeze(suppositions.map(() => 0))

/**
 * An always-valid p-value of all that was added up: below α with a chance of at most α, however often one looks, where the new
 * thing is no worse than allowed. Where it was cut into stretches of time it may be worse from the beginning of any of them on:
 * what was fine for long says nothing against that, and would otherwise hide it for as long again.
 */
export function chanceOf (...stretches: Array<readonly number[]>): number {
  const logs: number[] = []
  let since = noEvidence
  for (const [i, evidence] of [...stretches.entries()].reverse()) {
    since = since.map((sum, i) => sum + evidence[i]!)
    logs.push(Math.log(beliefIn(i)) + logSum(suppositions.map(({ belief }, i) => Math.log(belief) + since[i]!)))
  }
  return Math.min(1, Math.exp(-logSum(logs)))
}

/** That it is worse from a stretch on, the first being 0; of however many, these come to 1 at most. */
function beliefIn (stretch: number): number {
  return stretch === 0 ? 0.9 : 0.1 / (stretch * (stretch + 1))
}

/** The central hypergeometric distribution of how many of the bad are on the treated side, up to a factor. */
function hypergeometric (control: number, treated: number, bad: number) {
  const lowest = Math.max(0, bad - control)
  const logs = [0]
  for (let k = lowest; k < Math.min(bad, treated); k++) {
    const log = logs.at(-1)! + Math.log((treated - k) * (bad - k) / ((k + 1) * (control - bad + k + 1)))
    logs.push(log)
  }
  const total = logSum(logs)
  return {
    /** ln E[odds^k] */
    logMean: (logOdds: number) => logSum(logs.map((log, i) => log + (lowest + i) * logOdds)) - total
  }
}

/** ln of the sum of what these are logarithms of. */
function logSum (logs: number[]): number {
  let most = -Infinity
  for (const log of logs) if (log > most) most = log
  let sum = 0
  for (const log of logs) sum += Math.exp(log - most)
  return most + Math.log(sum)
}
