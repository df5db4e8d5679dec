import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.setTimeout(240_000)

t.test('the model of the directory of holders: nothing stale in any state, and something in one without each of its rules', async (t) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('../spec/holders.js', import.meta.url))], { encoding: 'utf8' })
  t.comment(stdout)
  t.equal(status, 0, stderr)
})
