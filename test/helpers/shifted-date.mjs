// A process whose clock is wrong by SHIFT milliseconds.
const shift = Number(process.env.SHIFT)
const { now } = Date
Date.now = () => now() + shift
globalThis.Date = class extends Date {
  constructor (...parts) {
    if (parts.length === 0) super(Date.now())
    else super(...parts)
  }
}
