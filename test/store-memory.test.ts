import t from 'tap'
import { storeContract } from '../src/store/contract.js'
import { Memory, MemoryStore } from '../src/store/memory.js'

function memoryPlace () {
  let memory: Memory | undefined
  return {
    open: ({ history }: { history: number }) => new MemoryStore(memory ??= new Memory({ history })),
    empty: async () => memory?.clear()
  }
}
for (const { name, run } of storeContract(memoryPlace)) t.test(name, run)
