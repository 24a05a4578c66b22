import { mkdir } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { errors, textOf } from '../errors.js'
import type { Experiment } from '../model/experiment.js'
import { appendFile, look, readFrom, removeStrays, replaceFile, truncateFile } from '../store/file-disk.js'
import { FileLock } from '../store/file-lock.js'
import type { Counts } from './counts.js'
import type { Addition, Batch, Claim, Ledger, Range, Sums } from './ledger.js'
import { Tallies, type Kept } from './memory.js'
import type { AdditionLine, ClaimLine } from './sums.js'
import type { Hashed, UnitLine } from './tally.js'

/** A line of the file: an experiment begins, a batch, an addition or a claim as it came, or what earlier lines came to. */
type Line =
  | { experiment: Kept['experiment'], salt: string, shares: Record<string, number> | null, since?: number | null, last?: number, ignored?: { unexposed: number, goals: number } }
  | ({ of: string, batch: string, shares?: null } & Hashed)
  | { of: string, units: UnitLine[] }
  | { of: string, reads: Array<[variant: string, day: string, count: number]> }
  | AdditionLine
  | ClaimLine

const unitsInALine = 1000
/** The file is written anew when so many bytes were appended since, or as many as it then had. */
const rewriteAfter = 1_000_000

/**
 * Experiments beside a file of flags, counted by one process, which is the one that writes the flags: a guard that counts must be
 * able to act. Others have their batches refused with READ_ONLY, keep them as long as they can, and take over when it is gone. Lines are appended, and now and then the file is
 * written anew with what they come to.
 */
export class FileLedger implements Ledger {
  readonly settlesAfter = 0
  readonly #path: string
  readonly #follows: () => boolean
  readonly #lock: FileLock
  #tallies: Tallies | undefined
  #size = 0
  #rewrittenSize = 0
  /** One thing at a time happens to the file. */
  #turn: Promise<unknown> = Promise.resolve()

  /** `follows`: whether another process writes the flags. */
  constructor (path: string, follows = () => false) {
    this.#path = resolve(path)
    this.#follows = follows
    this.#lock = new FileLock(this.#path + '.lock')
  }

  async record (batch: Batch): Promise<void> {
    await this.#inTurn(async () => {
      const tallies = await this.#own()
      if (!tallies.batches.add(batch.id, batch.time)) return
      const { experiment } = batch
      const isNew = !tallies.kept.has(experiment.id)
      const before = tallies.kept.get(experiment.id)?.tally.shares
      const { salt, tally } = tallies.open(experiment)
      const hashed = tallies.hash(batch, salt)
      const lines: Line[] = [{ of: experiment.id, batch: batch.id, ...hashed }]
      if (isNew) lines.unshift(beginning(experiment, salt))
      else if (before !== tally.shares) Object.assign(lines[0]!, { shares: null })
      await this.#append(lines)
      tally.add(hashed)
      await this.#tidy(tallies, batch.time)
    })
  }

  async read (experiment: Experiment, range: Range = {}): Promise<Counts> {
    return await this.#inTurn(async () => (await this.#known()).read(experiment, range))
  }

  async add (addition: Addition): Promise<Sums> {
    return await this.#inTurn(async () => {
      const { id: batch, of, numbers, time } = addition
      const tallies = await this.#own()
      if (!tallies.sums.knows(addition)) {
        const line = { sums: of, batch, numbers, time }
        await this.#append([line])
        tallies.sums.add(line)
        await this.#tidy(tallies, time)
      }
      return tallies.sums.of(of)
    })
  }

  async sums (of: string): Promise<Sums> {
    return await this.#inTurn(async () => (await this.#known()).sums.of(of))
  }

  async claim (claim: Claim): Promise<Set<string>> {
    return await this.#inTurn(async () => {
      const tallies = await this.#own()
      const { fresh: ids, own } = tallies.sums.ask(claim)
      if (ids.length > 0) {
        const line = { claimed: claim.of, by: claim.id, ids, time: claim.time }
        await this.#append([line])
        tallies.sums.take(line)
        await this.#tidy(tallies, claim.time)
      }
      return own
    })
  }

  async close (): Promise<void> {
    await this.#inTurn(async () => await this.#lock.release())
  }

  async #append (lines: Line[]): Promise<void> {
    try {
      this.#size = await appendFile(this.#path, written(lines), false)
    } catch (error) {
      this.#tallies = undefined // what stands in the file counts: it is read again, and a line cut off goes
      throw new errors.STORE_UNAVAILABLE(`the experiments in ${this.#path} cannot be written: ${textOf(error)}`, { cause: error })
    }
  }

  async #tidy (tallies: Tallies, now: number): Promise<void> {
    if (this.#size - this.#rewrittenSize > Math.max(rewriteAfter, this.#rewrittenSize)) await this.#rewrite(tallies, now)
  }

  /** What is counted, whoever counts. */
  async #known (): Promise<Tallies> {
    return this.#tallies ?? (await this.#load()).tallies
  }

  /** What is counted, once this process is the one that counts. */
  async #own (): Promise<Tallies> {
    if (this.#follows()) {
      this.#tallies = undefined
      await this.#lock.release() // of one that slept, and no longer writes the flags
      throw new errors.READ_ONLY(`the experiments in ${this.#path} are counted by the process that writes the flags`)
    }
    if (this.#tallies !== undefined && await this.#lock.isOurs()) return this.#tallies
    this.#tallies = undefined
    await mkdir(dirname(this.#path), { recursive: true })
    if (!await this.#lock.take()) throw new errors.READ_ONLY(`the experiments in ${this.#path} are counted by ${await this.#lock.holder()}`)
    await removeStrays(dirname(this.#path), [basename(this.#path)])
    const { tallies, size, whole } = await this.#load()
    if (whole < size) await truncateFile(this.#path, whole) // a last line that was being written when its process was ended
    this.#size = this.#rewrittenSize = whole
    return (this.#tallies = tallies)
  }

  async #load (): Promise<{ tallies: Tallies, size: number, whole: number }> {
    const tallies = new Tallies()
    const bytes = await look(this.#path) === undefined ? Buffer.alloc(0) : await readFrom(this.#path, 0)
    const whole = bytes.lastIndexOf(10) + 1
    let number = 0
    for (const line of bytes.subarray(0, whole).toString().split('\n')) {
      number++
      if (line === '') continue
      try {
        take(JSON.parse(line) as Line, tallies)
      } catch (error) {
        throw new errors.STORE_DAMAGED(`The experiments in ${this.#path} cannot be read at line ${number}; restore the file, or remove it to count anew`, { cause: error })
      }
    }
    return { tallies, size: bytes.length, whole }
  }

  async #rewrite (tallies: Tallies, now: number): Promise<void> {
    tallies.forget(now)
    const lines: Line[] = []
    for (const { experiment, salt, tally } of tallies.kept.values()) {
      lines.push({ experiment, salt, shares: tally.shares, since: tally.since, last: tally.lastTime, ignored: tally.ignored }, { of: experiment.id, reads: [...tally.readLines()] })
      let units: UnitLine[] = []
      for (const line of tally.unitLines()) {
        if (units.length === 0) lines.push({ of: experiment.id, units })
        if (units.push(line) === unitsInALine) units = []
      }
    }
    for (const line of tallies.sums.lines(now)) lines.push(line)
    const looks = await replaceFile(this.#path, lines.map((line) => written([line])), () => this.#lock.isOurs())
    if (looks !== undefined) this.#size = this.#rewrittenSize = looks.size
  }

  async #inTurn<T> (action: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(action)
    this.#turn = result.catch(() => {})
    return await result
  }
}

function beginning ({ id, flag, environment, variants, shares }: Experiment, salt: string): Line {
  return { experiment: { id, flag, environment, variants }, salt, shares }
}

function written (lines: Line[]): string {
  return lines.map((line) => JSON.stringify(line) + '\n').join('')
}

function take (line: Line, tallies: Tallies): void {
  if ('experiment' in line) {
    const { tally } = tallies.open({ ...line.experiment, shares: line.shares, control: '', by: undefined }, line.salt)
    tally.since = line.since ?? null
    tally.lastTime = line.last ?? 0
    Object.assign(tally.ignored, line.ignored)
    return
  }
  if ('sums' in line) return tallies.sums.add(line)
  if ('claimed' in line) return tallies.sums.take(line)
  const { tally } = tallies.kept.get(line.of)!
  if ('batch' in line) {
    tallies.batches.add(line.batch, line.time)
    for (const event of line.events) tallies.events.add(`${line.of} ${event}`, line.time)
    if (line.shares === null) tally.shares = null
    tally.add(line)
  } else if ('units' in line) {
    for (const unit of line.units) tally.addUnit(unit)
  } else {
    for (const [variant, day, count] of line.reads) tally.addReads(variant, day, count)
  }
}
