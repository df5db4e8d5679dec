import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { redisServer, temporaryFolder, uniqueName } from './helpers/index.ts'
import { Fleet } from './mixed-release/fleet.ts'
import { clean, Traffic } from './mixed-release/traffic.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const CLI = fileURLToPath(new URL('../packages/redis-link/dist/cli.js', import.meta.url))

t.test('every package works as the user that the printed ACL makes, and asks for nothing that it lacks', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const printed = execFileSync(process.execPath, [CLI, 'acl', '--site', siteId, '--env', 'mixed', '--user', 'app'], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [acl = '', ...args] = printed.trim().split(' ')
  t.notMatch(args, ['+@all'])
  await redis.client.call(acl, ...args)
  await redis.client.call('ACL', 'SETUSER', 'app', '>pw', '<PASSWORD')
  await redis.client.call('ACL', 'LOG', 'RESET')
  const fleet = await Fleet.start(t, { ...redis, url: `redis://app:pw@127.0.0.1:${redis.port}` }, siteId, [ROOT, ROOT])
  const traffic = new Traffic(fleet)
  await traffic.begin(t, [ROOT])
  await traffic.round()
  await fleet.replace(0, ROOT)
  await traffic.round()
  t.same(traffic.end(), clean())
  t.same(await redis.client.call('ACL', 'LOG'), [], 'nothing was refused')
})

t.test('where no package is installed nobody is printed who may do nothing', async (t) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, 'acl', '--site', 'shop'], { cwd: temporaryFolder(t), encoding: 'utf8' })
  t.same([status, stdout], [1, ''])
  t.match(stderr, /folder of the application/)
})
