import { redisSessions } from '@jpulse/redis-sessions'
import { makeApp, newRef, SECRET, SESSION, stored } from './app.js'
import { options, serve } from './children.js'
import { many } from './numbers.js'

// Makes the sessions of carry.js, each of a user of its own, and reads some.

const app = makeApp(options().redis)
app.register(redisSessions, { secret: SECRET })
app.post('/login', (request) => app.sessions.login(request, 'user-1', SESSION).then(() => 'in'))
await app.ready()
const { store } = app.sessions
const { payload, notice } = await stored(app)
/** Every hundredth. @type {ReturnType<typeof newRef>[]} */
const some = []

serve({
  make: (/** @type {number} */ count) => many(count, (index) => {
    const ref = newRef()
    if (index % 100 === 0) some.push(ref)
    return store.create(ref, payload, undefined, undefined, notice)
  }, 500).then(() => null),
  read: async (/** @type {number} */ count) => {
    const times = []
    for (let index = 0; index < count; index++) {
      const begin = performance.now()
      const found = await store.read(/** @type {typeof some[number]} */ (some[(index * 7919) % some.length]))
      times.push(performance.now() - begin)
      if (found === null) throw new Error('a session is missing')
    }
    return times
  },
  count: async () => {
    const begin = performance.now()
    await store.count()
    return performance.now() - begin
  }
}, () => app.close())
