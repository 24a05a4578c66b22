import type { Test } from 'tap'

/**
 * True when a test can have what it needs. Otherwise the test is skipped with a hint how to get it, or, where `REQUIRE_ALL`
 * is set, fails: there no skip may hide.
 */
export function requireOrSkip (t: Test, found: unknown, need: string, hint: string): boolean {
  if (found) return true
  if (process.env.REQUIRE_ALL) t.fail(`${need} is missing and REQUIRE_ALL is set: ${hint}`)
  else t.pass(`${need} is missing`, { skip: hint })
  return false
}
