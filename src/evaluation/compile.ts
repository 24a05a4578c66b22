import type { Flag } from '../model/flag.js'
import type { Outcome } from './details.js'
import type { Provenance } from './snapshot.js'
import type { Subject } from './subject.js'

/** A flag compiled for one environment: pure, never throws, allocates nothing. */
export type Evaluate = (subject: Subject) => Outcome

export function compileFlag (key: string, flag: Flag, provenance: Provenance, environment: string): Evaluate {
  // The thin slice: boolean flags without environments, on or off.
  const enabled = flag.enabled === true
  const outcome: Outcome = Object.freeze({
    enabled,
    details: Object.freeze({
      value: enabled,
      variant: enabled ? 'on' : 'off',
      reason: enabled ? 'STATIC' : 'DISABLED',
      flagMetadata: Object.freeze({ cause: enabled ? 'default' : 'flag-disabled', environment, version: provenance.version })
    })
  })
  return () => outcome
}
