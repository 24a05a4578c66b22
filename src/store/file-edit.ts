import { readFlag } from '../model/check.js'
import type { Flag } from '../model/flag.js'
import { settleRollouts } from '../model/stages.js'

/**
 * A flag that was edited by hand, as it is stored: where its rollouts stand is this store's to keep, as with any other change,
 * and what the file says of it counts for a flag only that was not known before. Texts are JSON; what is no flag is left for
 * the checks to refuse.
 */
export function settled (edited: string, known: string | undefined, time: number): string {
  const flag = readFlag(edited)
  if (!('value' in flag)) return edited
  return JSON.stringify(settleRollouts(known === undefined ? flag.value : JSON.parse(known) as Flag, flag.value, time))
}
