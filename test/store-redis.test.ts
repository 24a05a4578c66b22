import t from 'tap'
import { storeContract } from '../src/store/contract.js'
import { RedisStore } from '../src/store/redis.js'
import { emptyNamespace, startRedis } from './helpers/redis.js'

t.test('the contract of all stores', async (t) => {
  for (const { name, run } of storeContract(async () => {
    const { url, namespace, client } = await startRedis(t)
    return {
      open: ({ history }) => new RedisStore({ redis: url, namespace, history }),
      empty: () => emptyNamespace(client, namespace)
    }
  })) await t.test(name, run)
})
